"""One training step of a logic network on a CUDA device: our Triton kernels, plain torch, difflogic and torchlogix.

    python benchmarks/logic_train_cuda.py                       4x64000 B256 and 4x4000 B64, all storages
    python benchmarks/logic_train_cuda.py --case 4000x64 --rounds 15 --storages float16
    python benchmarks/logic_train_cuda.py --tilings             also ours with other blocks, to choose by

All variants live in one process and take turns: a round times each of them once with CUDA events over several steps,
and a ratio is the median over the rounds of (its time / ours in that round). A step is forward, cross-entropy and
backward; "Adam" is the same with torch's fused Adam behind it. "graph" replays the step as one CUDA graph; the peers
run as they come, because difflogic synchronises the device inside its step and cannot be captured.

Bytes are what the kernels have to move where every matrix passes once per kernel (rows that two neurons read are
counted once: the second read should hit the L2 cache), over the step time, next to the rate of a plain copy on the
same card. The peers are used where Python finds them and left out with a note where not; difflogic has to be built with
its CUDA extension, and draws its own wiring, so it is timed only.
"""

import argparse
import importlib
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from difflogic_tonic.nets.logic import LogicNetwork, gpu
from difflogic_tonic.nets.logic.gpu_stack import tiling_of

IN_FEATURES, LAYERS, CLASSES, TAU = 2312, 4, 10, 10.0
CASES = ("64000x256", "4000x64")
COPY_BYTES = 1 << 30
MEASURED_MS = 20.0  # one timing runs about this long


@dataclass(frozen=True)
class Case:
    """One size: neurons per layer, samples per batch."""

    width: int
    batch: int

    def __str__(self) -> str:
        return f"{LAYERS}x{self.width} B{self.batch}"


@dataclass
class Contender:
    """A variant made ready for one case: `run` is a step, `with_adam` the same and an update, None where not asked."""

    name: str
    run: Callable[[], None]
    with_adam: Callable[[], None] | None = None
    bytes_moved: int | None = None


class Unavailable(Exception):
    """A peer that cannot run here; the message is the note to print."""


def bytes_of_step(case: Case, storage: torch.dtype) -> int:
    """Every matrix once per kernel that reads or writes it, and the parameters."""
    matrix = case.width * case.batch * storage.itemsize
    bits = IN_FEATURES * case.batch // 8
    forward = bits + (2 * LAYERS - 2) * matrix  # each but the last writes its outputs, each but the first reads them
    backward = bits + (3 * LAYERS - 3) * matrix  # as much again, and the gradient of each hidden matrix is read
    per_neuron = 64 + 16 + 24 + 16 + 16 + 16 + 64 + 16 + 64  # logits, coefficients, wiring, edges, their gradients
    return forward + backward + LAYERS * case.width * per_neuron


def batch_of(case: Case) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    x = torch.rand(case.batch, IN_FEATURES, generator=generator) < 0.15
    return x.cuda(), torch.randint(CLASSES, (case.batch,), generator=generator).cuda()


def our_network(case: Case) -> LogicNetwork:
    return LogicNetwork(IN_FEATURES, case.width, LAYERS, CLASSES, TAU, seed=1, backend="eager").cuda()


def our_forward(
    network: LogicNetwork, kernels: ModuleType, storage: torch.dtype, tiling: gpu.Tiling | None = None
) -> Callable[[Tensor], Tensor]:
    wirings = [layer.wiring for layer in network.layers]
    stack = gpu.Stack(kernels, IN_FEATURES, wirings, CLASSES, TAU, tiling=tiling)
    weights = [layer.weight for layer in network.layers]
    return lambda x: gpu.run_with_logits(stack, x, weights, 1.0, storage=storage)


def difflogic_network() -> Callable[[Case], nn.Module]:
    library = import_peer("difflogic")

    def build(case: Case) -> nn.Module:
        sizes = [IN_FEATURES, *[case.width] * LAYERS]
        layers = [
            library.LogicLayer(sizes[i], sizes[i + 1], device="cuda", implementation="cuda") for i in range(LAYERS)
        ]
        return nn.Sequential(*layers, library.GroupSum(CLASSES, TAU, device="cuda"))

    return build


def torchlogix_network() -> Callable[[Case], nn.Module]:
    library = import_peer("torchlogix.layers")
    options = {"device": "cuda", "parametrization": "raw", "parametrization_kwargs": {"weight_init": "random"}}

    def build(case: Case) -> nn.Module:
        sizes = [IN_FEATURES, *[case.width] * LAYERS]
        layers = [library.LogicDense(sizes[i], sizes[i + 1], **options) for i in range(LAYERS)]
        return nn.Sequential(*layers, library.GroupSum(CLASSES, TAU)).cuda()

    return build


PEERS = {"difflogic": difflogic_network, "torchlogix": torchlogix_network}


def import_peer(module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except (ImportError, SyntaxError) as error:
        raise Unavailable(f"{module.split('.')[0]} does not import: {error}") from error


def contender(
    name: str,
    forward: Callable[[Tensor], Tensor],
    weights: list[nn.Parameter],
    x: Tensor,
    labels: Tensor,
    *,
    graph: bool = False,
    bytes_moved: int | None = None,
) -> Contender:
    optimizer = torch.optim.Adam(weights, lr=0.01, fused=True, capturable=graph)

    def step() -> None:
        for weight in weights:
            weight.grad = None
        F.cross_entropy(forward(x), labels).backward()

    def step_with_adam() -> None:
        step()
        optimizer.step()

    if graph:
        return Contender(f"{name} graph", captured(step), captured(step_with_adam), bytes_moved)
    return Contender(name, step, step_with_adam, bytes_moved)


def captured(step: Callable[[], None]) -> Callable[[], None]:
    """`step` as one CUDA graph, after three ordinary calls on a side stream (they compile, and make Adam's state)."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def milliseconds(step: Callable[[], None], repeats: int) -> float:
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    for _ in range(repeats):
        step()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / repeats


def time_in_turns(steps: list[Callable[[], None]], rounds: int) -> list[list[float]]:
    """Milliseconds per step [steps][rounds]."""
    repeats = []
    for step in steps:
        step()
        torch.cuda.synchronize()
        repeats.append(max(1, round(MEASURED_MS / max(milliseconds(step, 3), 1e-3))))
    times: list[list[float]] = [[] for _ in steps]
    for _ in range(rounds):
        for step, count, row in zip(steps, repeats, times, strict=True):
            row.append(milliseconds(step, count))
    return times


def copy_rate(rounds: int) -> float:
    """Bytes read and written per second by a copy between two large tensors."""
    source = torch.rand(COPY_BYTES // 4, device="cuda")
    target = torch.empty_like(source)
    times = time_in_turns([lambda: target.copy_(source)], rounds)[0]
    return 2 * COPY_BYTES / (statistics.median(times) / 1e3)


def gradient_error(case: Case, kernels: ModuleType, storage: torch.dtype) -> float:
    """Largest error of a gradient over the largest gradient of its layer, against plain torch in float64."""
    x, labels = batch_of(case)
    network, exact = our_network(case), our_network(case).double()
    F.cross_entropy(our_forward(network, kernels, storage)(x), labels).backward()
    F.cross_entropy(exact(x.double()), labels).backward()
    pairs = [(ours.weight.grad, true.weight.grad) for ours, true in zip(network.layers, exact.layers, strict=True)]
    return max(float((ours - true).abs().max() / true.abs().max()) for ours, true in pairs)


def contenders_of(case: Case, kernels: ModuleType, storages: list[torch.dtype], peers: list[str]) -> list[Contender]:
    """Ours first: the graph with the first storage is what the others are compared with."""
    x, labels = batch_of(case)
    made = []
    for storage in storages:
        for graph in (True, False):
            network = our_network(case)
            forward, weights = our_forward(network, kernels, storage), list(network.parameters())
            name, moved = f"triton {_short(storage)}", bytes_of_step(case, storage)
            made.append(contender(name, forward, weights, x, labels, graph=graph, bytes_moved=moved))
    network = our_network(case)
    made.append(contender("plain torch", network, list(network.parameters()), x, labels))
    for name in peers:
        try:
            peer = PEERS[name]()(case).train()
            made.append(contender(name, peer, list(peer.parameters()), x.float(), labels))
            made[-1].run()
        except (Unavailable, RuntimeError) as error:
            made = [one for one in made if one.name != name]
            print(f"left out: {name}: {' '.join(str(error).split())}")
    return made


def print_case(case: Case, kernels: ModuleType, arguments: argparse.Namespace, rate: float) -> None:
    storages = [getattr(torch, name) for name in arguments.storages]
    errors = [f"{_short(storage)} {gradient_error(case, kernels, storage):.1e}" for storage in storages]
    print(f"\n{case}: gradient error against float64: {', '.join(errors)}")
    contenders = contenders_of(case, kernels, storages, arguments.peers)
    times = time_in_turns([one.run for one in contenders], arguments.rounds)
    with_adam = time_in_turns([one.with_adam for one in contenders if one.with_adam], arguments.rounds)
    print(f"{'':24} {'ms':>8} {'min':>8} {'Adam ms':>8} {'ratio':>7} {'GB':>6} {'GB/s':>7} {'of copy':>8}")
    for one, row, adam in zip(contenders, times, with_adam, strict=True):
        middle = statistics.median(row)
        ratio = statistics.median(other / ours for other, ours in zip(row, times[0], strict=True))
        line = f"{one.name:24} {middle:8.3f} {min(row):8.3f} {statistics.median(adam):8.3f} {ratio:7.2f}"
        if one.bytes_moved:
            speed = one.bytes_moved / (middle / 1e3)
            line += f" {one.bytes_moved / 1e9:6.3f} {speed / 1e9:7.0f} {speed / rate:8.0%}"
        print(line)


def print_tilings(case: Case, kernels: ModuleType, arguments: argparse.Namespace) -> None:
    """Graphed step time of ours with other rows, columns and warps per program."""
    x, labels = batch_of(case)
    for storage in (getattr(torch, name) for name in arguments.storages):
        usual = tiling_of(-(-case.batch // 16) * 16, storage)
        tilings = [
            gpu.Tiling(max(1, usual.rows * warps * more // 4 * usual.columns // columns), columns, warps)
            for columns in (usual.columns // 2, usual.columns, usual.columns * 2)
            for warps in (1, 2, 4, 8)
            for more in (1, 2)
        ]
        steps = []
        for tiling in tilings:
            network = our_network(case)
            forward = our_forward(network, kernels, storage, tiling)
            steps.append(contender("", forward, list(network.parameters()), x, labels, graph=True).run)
        medians = [statistics.median(row) for row in time_in_turns(steps, arguments.rounds)]
        print(f"\n{case} {_short(storage)}: graphed step by tiling (the usual one is {usual})")
        for middle, tiling in sorted(zip(medians, tilings, strict=True), key=lambda pair: pair[0]):
            print(f"  {middle:8.3f} ms  {tiling}")


def _short(storage: torch.dtype) -> str:
    return str(storage).removeprefix("torch.")


def _case(text: str) -> Case:
    width, batch = (int(part) for part in text.split("x"))
    return Case(width, batch)


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", dest="cases", type=_case, nargs="+", default=[_case(text) for text in CASES])
    parser.add_argument("--rounds", type=int, default=9)
    names = [_short(storage) for storage in gpu.STORAGES]
    parser.add_argument("--storages", nargs="+", choices=names, default=["float16", "bfloat16", "float32"])
    parser.add_argument("--peers", nargs="*", choices=list(PEERS), default=list(PEERS))
    parser.add_argument("--tilings", action="store_true")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    arguments = parse_arguments(argv)
    if not torch.cuda.is_available():
        print("error: no CUDA device, and this benchmark measures nothing else; on a CPU: benchmarks/logic_train.py")
        return 1
    kernels = gpu.find_kernel(torch.device("cuda", torch.cuda.current_device()))
    if isinstance(kernels, str):
        print(f"error: {kernels}")
        return 1
    rate = copy_rate(arguments.rounds)
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, copy {rate / 1e9:.0f} GB/s")
    for case in arguments.cases:
        print_case(case, kernels, arguments, rate)
        if arguments.tilings:
            print_tilings(case, kernels, arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
