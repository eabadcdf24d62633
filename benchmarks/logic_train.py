"""One training step of a logic network on the CPU: our kernel, plain torch, torch.compile, difflogic and torchlogix.

    python benchmarks/logic_train.py                        all four sizes, 1 and 2 threads
    python benchmarks/logic_train.py --case 4000x64 --rounds 15 --variants kernel,eager

All variants live in one process with the same weights, wiring and batch, and take turns: a round times each of them
once, and a ratio is the median over the rounds of (its time / the kernel's in that round). With one thread the time
is that of the process on the CPU, with two it is wall time (only worth reading on a quiet machine). A step is forward,
cross-entropy and backward; the column "with Adam" adds zero_grad and torch's fused Adam.

The peers are used where Python finds them and left out with a note where not: neither has to be installed as a package,
PYTHONPATH is enough. difflogic cannot be imported without its CUDA module, torchlogix 0.2.2 not on Python below 3.12
because of its export code; neither is needed here, so an empty module stands in for each.
"""

import argparse
import contextlib
import importlib
import io
import json
import statistics
import subprocess
import sys
import time
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from difflogic_tonic.nets.logic import LogicNetwork

IN_FEATURES, LAYERS, CLASSES, TAU = 2312, 4, 10, 10.0
VALUES_PER_NEURON_SAMPLE = 9  # moved: two reads and a write forward, four reads and two writes backward


@dataclass(frozen=True)
class Case:
    """One size: neurons per layer, samples per batch."""

    width: int
    batch: int

    def __str__(self) -> str:
        return f"{LAYERS}x{self.width} B{self.batch}"


@dataclass(frozen=True)
class Contender:
    """A variant made ready for one case."""

    loss: Callable[[], Tensor]
    weights: list[nn.Parameter]
    optimizer: torch.optim.Optimizer

    def step(self) -> None:
        for weight in self.weights:
            weight.grad = None
        self.loss().backward()

    def step_with_adam(self) -> None:
        self.step()
        self.optimizer.step()


class Unavailable(Exception):
    """A peer that is not installed; the message is the note to print."""


def our_network(case: Case, backend: str, storage: str = "float32") -> LogicNetwork:
    return LogicNetwork(IN_FEATURES, case.width, LAYERS, CLASSES, TAU, seed=1, backend=backend, storage=storage)


def batch_of(case: Case) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    x = (torch.rand(case.batch, IN_FEATURES, generator=generator) < 0.15).float()
    return x, torch.randint(CLASSES, (case.batch,), generator=generator)


def build_ours(
    case: Case, backend: str, compiled: bool = False, storage: str = "float32"
) -> tuple[Callable[[Tensor], Tensor], list[nn.Parameter]]:
    network = our_network(case, backend, storage)
    return (torch.compile(network, dynamic=False) if compiled else network), list(network.parameters())


def build_difflogic(case: Case) -> tuple[Callable[[Tensor], Tensor], list[nn.Parameter]]:
    difflogic = import_peer("difflogic", "difflogic.difflogic", stand_in="difflogic_cuda")
    ours = our_network(case, "eager")
    layers = []
    for layer in ours.layers:
        peer = difflogic.LogicLayer(layer.in_features, layer.out_features, device="cpu")
        peer.indices = (layer.wiring[0].long(), layer.wiring[1].long())
        peer.weights.data.copy_(layer.weight.data)
        layers.append(peer)
    network = nn.Sequential(*layers, difflogic.GroupSum(CLASSES, TAU, device="cpu"))

    def silent(x: Tensor) -> Tensor:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints two dtypes per layer and call
            return network(x)

    return silent, [layer.weights for layer in layers]


def build_torchlogix(case: Case) -> tuple[Callable[[Tensor], Tensor], list[nn.Parameter]]:
    torchlogix = import_peer("torchlogix", "torchlogix.layers", stand_in="torchlogix.circuit")
    ours = our_network(case, "eager")
    layers = []
    for layer in ours.layers:
        peer = torchlogix.LogicDense(
            layer.in_features,
            layer.out_features,
            device="cpu",
            parametrization="raw",
            parametrization_kwargs={"weight_init": "random"},
        )
        peer.connections.indices.copy_(layer.wiring)
        peer.weight.data.copy_(layer.weight.data)
        layers.append(peer)
    return nn.Sequential(*layers, torchlogix.GroupSum(CLASSES, TAU)), [layer.weight for layer in layers]


def import_peer(package: str, module: str, stand_in: str) -> Any:
    if importlib.util.find_spec(package) is None:
        raise Unavailable(f"{package} is not installed")
    try:
        return importlib.import_module(module)
    except (ModuleNotFoundError, SyntaxError):
        for name in [name for name in sys.modules if name.split(".")[0] == package]:
            del sys.modules[name]
        sys.modules[stand_in] = types.ModuleType(stand_in)
        sys.modules[stand_in].Circuit = None  # type: ignore[attr-defined]
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise Unavailable(f"{package} does not import: {error}") from error


VARIANTS: dict[str, Callable[[Case], tuple[Callable[[Tensor], Tensor], list[nn.Parameter]]]] = {
    "kernel": lambda case: build_ours(case, "cpu"),
    "kernel-fp16": lambda case: build_ours(case, "cpu", storage="float16"),
    "eager": lambda case: build_ours(case, "eager"),
    "compile": lambda case: build_ours(case, "eager", compiled=True),
    "difflogic": build_difflogic,
    "torchlogix": build_torchlogix,
}


def contender(name: str, case: Case) -> Contender:
    forward, weights = VARIANTS[name](case)
    x, labels = batch_of(case)
    return Contender(
        lambda: F.cross_entropy(forward(x), labels), weights, torch.optim.Adam(weights, lr=0.01, fused=True)
    )


def check_same(contenders: dict[str, Contender]) -> None:
    """The variants compute the same thing, or the comparison means nothing."""
    reference = contenders["kernel"]
    reference.step()
    for name, other in contenders.items():
        other.step()
        loss_error, gradient_error = (1e-3, 2e-3) if name == "kernel-fp16" else (1e-4, 1e-4)
        assert abs(float(other.loss().detach() - reference.loss().detach())) < loss_error, name
        for ours, theirs in zip(reference.weights, other.weights, strict=True):
            assert ours.grad is not None
            assert theirs.grad is not None
            assert float((ours.grad - theirs.grad).abs().max()) < gradient_error * float(ours.grad.abs().max()), name


def seconds_per_call(call: Callable[[], None], clock: Callable[[], float], repeats: int) -> float:
    started = clock()
    for _ in range(repeats):
        call()
    return (clock() - started) / repeats


def time_rounds(
    contenders: dict[str, Contender], rounds: int, clock: Callable[[], float], adam: bool
) -> dict[str, list]:
    """Seconds per step of each variant, one value per round."""
    calls = {name: one.step_with_adam if adam else one.step for name, one in contenders.items()}
    repeats = {name: max(1, min(20, int(0.05 / seconds_per_call(call, clock, 1)))) for name, call in calls.items()}
    times: dict[str, list] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(seconds_per_call(call, clock, repeats[name]))
    return times


def bytes_moved(name: str, case: Case) -> int:
    """By a model that counts the values of neurons and nothing else."""
    return (2 if name == "kernel-fp16" else 4) * VALUES_PER_NEURON_SAMPLE * LAYERS * case.width * case.batch


def copy_rate(buffer_bytes: int) -> float:
    """Bytes read and written per second of CPU time by copying a buffer of this size over and over."""
    source = np.ones(buffer_bytes, np.uint8)
    target = np.empty_like(source)
    repeats = max(2, (1 << 30) // buffer_bytes)
    best = min(seconds_per_call(lambda: np.copyto(target, source), time.process_time, repeats) for _ in range(5))
    return 2 * buffer_bytes / best


def peak_extra_bytes(name: str, case: Case) -> int:
    """Memory that three steps take on top of the network and the batch, in this process."""
    one = contender(name, case)
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts again
    status = Path("/proc/self/status")
    before = status_bytes(status.read_text(), "VmRSS")
    for _ in range(3):
        one.step()
    return status_bytes(status.read_text(), "VmHWM") - before


def status_bytes(status: str, key: str) -> int:
    line = next(line for line in status.splitlines() if line.startswith(key))
    return int(line.split()[1]) * 1024


def peak_in_new_process(name: str, case: Case) -> int | None:
    command = [sys.executable, __file__, "--peak", name, "--case", f"{case.width}x{case.batch}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return int(done.stdout) if done.returncode == 0 else None


def run_case(case: Case, names: list[str], rounds: int, threads: int, memory: bool) -> list[dict[str, Any]]:
    torch.set_num_threads(threads)
    contenders: dict[str, Contender] = {}
    for name in names:
        try:
            contenders[name] = contender(name, case)
        except Unavailable as note:
            print(f"  {name}: left out, {note}")
    check_same(contenders)
    clock = time.process_time if threads == 1 else time.perf_counter
    plain = time_rounds(contenders, rounds, clock, adam=False)
    adam = time_rounds(contenders, rounds, clock, adam=True)
    rows = []
    for name in contenders:
        rows.append(
            {
                "case": str(case),
                "threads": threads,
                "variant": name,
                "ms": 1e3 * statistics.median(plain[name]),
                "ms_min": 1e3 * min(plain[name]),
                "ratio": statistics.median(a / b for a, b in zip(plain[name], plain["kernel"], strict=True)),
                "ms_adam": 1e3 * statistics.median(adam[name]),
                "ratio_adam": statistics.median(a / b for a, b in zip(adam[name], adam["kernel"], strict=True)),
                "gb_per_s": bytes_moved(name, case) / min(plain[name]) / 1e9,
                "peak_extra_mb": None,
            }
        )
        if memory and threads == 1:
            peak = peak_in_new_process(name, case)
            rows[-1]["peak_extra_mb"] = None if peak is None else peak / 1e6
    return rows


def scaling(case: Case, rounds: int) -> float:
    """Wall time of our kernel with one thread over that with two: median of interleaved rounds."""
    one = contender("kernel", case)
    ratios = []
    for _ in range(rounds + 1):
        times = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            one.step()
            repeats = max(1, int(0.1 / seconds_per_call(one.step, time.perf_counter, 1)))
            times.append(seconds_per_call(one.step, time.perf_counter, repeats))
        ratios.append(times[0] / times[1])
    return statistics.median(ratios[1:])


def print_rows(rows: list[dict[str, Any]]) -> None:
    unit = "CPU" if rows[0]["threads"] == 1 else "wall"
    print(f"\n{rows[0]['case']}, {rows[0]['threads']} thread(s), {unit} ms per step")
    print("  variant        median     min   ratio   with Adam   ratio   GB/s (9 values)   peak extra MB")
    for row in rows:
        peak = "-" if row["peak_extra_mb"] is None else f"{row['peak_extra_mb']:.0f}"
        print(
            f"  {row['variant']:12} {row['ms']:8.2f} {row['ms_min']:7.2f} {row['ratio']:7.1f} {row['ms_adam']:11.2f}"
            f" {row['ratio_adam']:7.1f} {row['gb_per_s']:17.1f} {peak:>15}"
        )


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--case", action="append", help="WIDTHxBATCH, repeatable; default 4000x64 4000x256 16000x64 16000x256"
    )
    parser.add_argument("--variants", default=",".join(VARIANTS), help="comma-separated; the kernel is always in")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", default="1,2", help="comma-separated numbers of threads")
    parser.add_argument("--no-memory", action="store_true", help="leave the peak memory out (it takes a process each)")
    parser.add_argument("--json", type=Path, help="also write the rows here")
    parser.add_argument("--peak", choices=list(VARIANTS), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    texts = options.case or ["4000x64", "4000x256", "16000x64", "16000x256"]
    cases = [Case(*(int(number) for number in text.split("x"))) for text in texts]
    if options.peak:
        torch.set_num_threads(1)
        print(peak_extra_bytes(options.peak, cases[0]))
        return 0
    names = ["kernel", *(name for name in options.variants.split(",") if name != "kernel")]
    torch.set_num_threads(1)
    print(f"copy, read + write: {copy_rate(1 << 17) / 1e9:.0f} GB/s in L2, {copy_rate(1 << 27) / 1e9:.0f} GB/s in DRAM")
    rows = []
    for threads in (int(number) for number in options.threads.split(",")):
        for case in cases:
            rows.append(run_case(case, names, options.rounds, threads, not options.no_memory))
            print_rows(rows[-1])
    for case in cases:
        print(f"{case}, kernel, two threads: {scaling(case, options.rounds):.2f} times as fast as one (wall)")
    if options.json:
        options.json.write_text(json.dumps([row for group in rows for row in group], indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
