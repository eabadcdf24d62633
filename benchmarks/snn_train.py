"""One training step of spiking networks: ours in fp32 and bf16, SpikingJelly (multi- and single-step) and snnTorch.

    python benchmarks/snn_train.py                                   all cases; 1 thread (CPU time), 2 threads (wall)
    python benchmarks/snn_train.py --case fmnist32,mnist --rounds 11 --threads 1
    python benchmarks/snn_train.py --case resnet18 --batch 4 --variants ours,ours-bf16,sj,sj-bf16

Cases, every one with the firing rate read out and compared with the one-hot label (ResNet: the mean current):

    fmnist32, fmnist128   the Fashion-MNIST network with 32 and 128 channels, IF, T 4, an image shown at every step
    mnist                 12C5-MP2-64C5-MP2-FC10, LIF, T 25, an image shown at every step
    nmnist                the same on N-MNIST-like spikes, T 25
    resnet18              spiking ResNet-18 for small images, IF, T 4

All variants live in one process with the same weights and the same batch, and take turns: a round times each of them
once, and a speed-up is the median over the rounds of (SpikingJelly's multi-step fp32 / the variant in that round). With
one thread the time is that of the process on the CPU, with more it is wall time (only worth reading on a quiet
machine), and threads that wait sleep, as under the project's commands (OMP_WAIT_POLICY=PASSIVE, unless it is set).
A step is forward, loss and backward; "with optimizer" adds zero_grad and SGD with momentum (fused). "saved" is what
autograd keeps for the backward pass, counted once per storage, weights not included: it is the same with any number of
threads. Peers are used where Python finds them, with a note where it does not; SpikingJelly's ResNet imports
torchvision for a download that is not needed here, so an empty module stands in where that is missing.

`--device cuda` uses wall time after a synchronisation. It was never run: take its first numbers with care.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # is read when torch is imported

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from snn_cases import CASES, Case, batch_of, our_network
from snn_peers import Network, Unavailable, build_snntorch, build_spikingjelly

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from difflogic_tonic.nets.spiking.heads import RATE_GAIN

REFERENCE = "sj"
OURS = ("ours", "ours-bf16")
FLOORS: dict[str, dict[str, float]] = {
    "fmnist32": {"sj": 1.8},
    "fmnist128": {"sj": 2.2},
    "mnist": {"sj": 3.2},
    "nmnist": {"sj": 1.6, "snntorch": 1.6},
    "resnet18": {"sj": 1.6},
}
"""What the faster of ours should reach at least, as a speed-up over these."""

LESS_SAVED = {"fmnist32": 1 / 3, "fmnist128": 1 / 3, "mnist": 1 / 3}
"""How much less ours in fp32 should keep for the backward pass than SpikingJelly."""

CHAOTIC = ("resnet18",)
"""Where one spike more or less changes all gradients: weights that differ by 1e-7 do, and torch's own convolutions in
another layout. Of these only the loss is compared, roughly."""

WARM_UP = 2


@dataclass
class Contender:
    """A variant made ready for one case: `forward` gives rates (or mean currents) f32[B, classes]."""

    forward: Callable[[], Tensor]
    network: nn.Module
    labels: Tensor
    autocast: torch.dtype | None
    device: torch.device
    optimizer: torch.optim.Optimizer = field(init=False)

    def __post_init__(self) -> None:
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=1e-4, momentum=0.9, fused=True)

    def loss(self) -> Tensor:
        context = nullcontext() if self.autocast is None else torch.autocast(self.device.type, self.autocast)
        with context:
            scores = self.forward()
        return F.mse_loss(scores.float(), F.one_hot(self.labels, scores.shape[1]).float())

    def step(self) -> None:
        for weight in self.network.parameters():
            weight.grad = None
        self.loss().backward()

    def step_with_optimizer(self) -> None:
        self.step()
        self.optimizer.step()


def build_ours(case: Case, device: torch.device) -> Network:
    network = our_network(case).to(device).train()
    gain = RATE_GAIN if case.spiking else 1.0
    return network, lambda x: network(x) / gain


Builder = Callable[[Case, torch.device], Network]
VARIANTS: dict[str, tuple[Builder, torch.dtype | None]] = {
    "ours": (build_ours, None),
    "ours-bf16": (build_ours, torch.bfloat16),
    "sj": (build_spikingjelly, None),
    "sj-bf16": (build_spikingjelly, torch.bfloat16),
    "sj-single": (lambda case, device: build_spikingjelly(case, device, "s"), None),
    "snntorch": (build_snntorch, None),
}


def contender(name: str, case: Case, device: torch.device) -> Contender:
    builder, autocast = VARIANTS[name]
    network, forward = builder(case, device)
    x, labels = batch_of(case, device)
    return Contender(lambda: forward(x), network, labels, autocast, device)


def check_same(contenders: dict[str, Contender], chaotic: bool) -> None:
    """Ours and SpikingJelly's in fp32 compute the same thing, or the comparison means nothing.

    Step by step it does not: batch normalisation then takes its statistics at every step by itself.
    """
    same = {name: one for name, one in contenders.items() if name in ("ours", "sj")}
    if "ours" not in same:
        return
    reference = same.pop("ours")
    reference.step()
    for name, other in same.items():
        other.step()
        gap = abs(float(other.loss().detach()) - float(reference.loss().detach()))
        assert gap < (2e-2 if chaotic else 1e-3), (name, gap)
        if chaotic:
            continue
        for ours, theirs in zip(reference.network.parameters(), other.network.parameters(), strict=True):
            assert ours.grad is not None
            assert theirs.grad is not None
            distance = float((ours.grad - theirs.grad).norm()) / max(float(ours.grad.norm()), 1e-12)
            assert distance < 0.05, (name, tuple(ours.shape), distance)


def saved_bytes(one: Contender) -> int:
    """Bytes that autograd keeps between forward and backward."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in one.network.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = one.loss()
    found = sum(kept.values())
    loss.backward()
    return found


def seconds_of(call: Callable[[], None], clock: Callable[[], float], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    started = clock()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return clock() - started


def time_rounds(
    contenders: dict[str, Contender], rounds: int, clock: Callable[[], float], with_optimizer: bool
) -> dict[str, list[float]]:
    """Seconds per step of each variant, one value per round; the first rounds warm up."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(WARM_UP + rounds):
        for name, one in contenders.items():
            call = one.step_with_optimizer if with_optimizer else one.step
            seconds = seconds_of(call, clock, one.device)
            if number >= WARM_UP:
                times[name].append(seconds)
    return times


def median_ratio(times: list[float], others: list[float]) -> float:
    """The median over the rounds of `times` / `others`."""
    return statistics.median(a / b for a, b in zip(times, others, strict=True))


def run_case(name: str, case: Case, variants: list[str], options: argparse.Namespace, threads: int) -> list[dict]:
    torch.set_num_threads(threads)
    device = torch.device(options.device)
    contenders: dict[str, Contender] = {}
    for variant in variants:
        try:
            contenders[variant] = contender(variant, case, device)
        except Unavailable as note:
            print(f"  {name}, {variant}: left out, {note}")
    check_same(contenders, name in CHAOTIC)
    clock = time.process_time if threads == 1 and device.type == "cpu" else time.perf_counter
    saved = {variant: saved_bytes(one) / 2**20 for variant, one in contenders.items()}
    plain = time_rounds(contenders, options.rounds, clock, with_optimizer=False)
    whole = time_rounds(contenders, options.rounds, clock, with_optimizer=True)
    base = REFERENCE if REFERENCE in contenders else next(iter(contenders))
    return [
        {
            "case": name,
            "batch": case.batch,
            "threads": threads,
            "device": options.device,
            "variant": variant,
            "samples_per_s": case.batch / statistics.median(plain[variant]),
            "ms": 1e3 * statistics.median(plain[variant]),
            "ms_min": 1e3 * min(plain[variant]),
            "speed_up": median_ratio(plain[base], plain[variant]),
            "over": {peer: median_ratio(plain[peer], plain[variant]) for peer in FLOORS[name] if peer in plain},
            "ms_optimizer": 1e3 * statistics.median(whole[variant]),
            "speed_up_optimizer": median_ratio(whole[base], whole[variant]),
            "saved_mib": saved[variant],
        }
        for variant in contenders
    ]


def print_rows(rows: list[dict]) -> None:
    first = rows[0]
    unit = "CPU" if first["threads"] == 1 and first["device"] == "cpu" else "wall"
    print(f"\n{first['case']}, batch {first['batch']}, {first['threads']} thread(s), {unit} ms per step")
    print("  variant      samples/s   median      min  speed-up   with optimizer  speed-up   saved MiB")
    for row in rows:
        print(
            f"  {row['variant']:12} {row['samples_per_s']:9.1f} {row['ms']:8.1f} {row['ms_min']:8.1f}"
            f" {row['speed_up']:8.2f} x {row['ms_optimizer']:15.1f} {row['speed_up_optimizer']:8.2f} x"
            f" {row['saved_mib']:11.1f}"
        )


def print_floors(rows: list[dict]) -> None:
    """The faster of ours beside the floors, and what it keeps."""
    by_name = {row["variant"]: row for row in rows}
    case, ours = rows[0]["case"], [row for row in rows if row["variant"] in OURS]
    if not ours:
        return
    best = min(ours, key=lambda row: row["ms"])
    for peer, ratio in best["over"].items():
        floor = FLOORS[case][peer]
        missed = "" if ratio >= floor else "  MISSED"
        print(f"  {best['variant']} over {peer}: {ratio:.2f} x (floor {floor:g}){missed}")
    if case in LESS_SAVED and {"ours", "sj"} <= by_name.keys():
        less = 1 - by_name["ours"]["saved_mib"] / by_name["sj"]["saved_mib"]
        missed = "" if less >= LESS_SAVED[case] else "  MISSED"
        print(f"  ours keeps {less:.0%} less than sj (floor {LESS_SAVED[case]:.0%}){missed}")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", default=",".join(CASES), help=f"comma-separated; default {','.join(CASES)}")
    parser.add_argument("--variants", default=",".join(VARIANTS), help=f"comma-separated; default {','.join(VARIANTS)}")
    parser.add_argument("--batch", type=int, help="samples in a batch; default 64, ResNet 8")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", default="1,2", help="comma-separated numbers of threads")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (never run)")
    parser.add_argument("--json", type=Path, help="also write the rows here")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.case.split(",") if name not in CASES]
    unknown += [name for name in options.variants.split(",") if name not in VARIANTS]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}")
    rows = []
    for threads in (int(number) for number in options.threads.split(",")):
        for name in options.case.split(","):
            case = CASES[name]
            if options.batch:
                case = Case(**{**vars(case), "batch": options.batch})
            rows.append(run_case(name, case, options.variants.split(","), options, threads))
            print_rows(rows[-1])
            print_floors(rows[-1])
    if options.json:
        options.json.write_text(json.dumps([row for group in rows for row in group], indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
