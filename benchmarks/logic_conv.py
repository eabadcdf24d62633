"""One training step of convolutional logic trees on the CPU: our kernel, plain torch and torchlogix.

    python benchmarks/logic_conv.py                32-64-128 channels on 2x34x34, batch 64, 1 and 2 threads
    python benchmarks/logic_conv.py --case 16-32x64 --rounds 15 --variants kernel,eager

A case is the channels of the layers and the batch. All variants have the same trees (3x3, depth 3, padding 1, 2x2
OR-pooling after every layer), weights and input of 0 and 1; a step is forward, a weighted sum, and backward, without
the dense layers. They take turns in one process: a ratio is the median over the rounds of (its time / the kernel's in
that round). With one thread the time is that of the process on the CPU, with two it is wall time. torchlogix is used
where Python finds it (PYTHONPATH is enough) and left out with a note where not.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from logic_train import Unavailable, import_peer, status_bytes

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from difflogic_tonic.nets.logic import LogicConv
from difflogic_tonic.nets.logic.conv_cpu import run_trees

SHAPE = (2, 34, 34)
Forward = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Case:
    channels: tuple[int, ...]
    batch: int

    @classmethod
    def read(cls, text: str) -> "Case":
        channels, batch = text.split("x")
        return cls(tuple(int(count) for count in channels.split("-")), int(batch))

    def __str__(self) -> str:
        return f"{'-'.join(map(str, self.channels))}x{self.batch}"


def our_layers(case: Case) -> nn.ModuleList:
    generator = torch.Generator().manual_seed(1)
    layers, shape = nn.ModuleList(), SHAPE
    for channels in case.channels:
        layers.append(LogicConv(shape, channels, init="random", generator=generator))
        shape = layers[-1].output_shape
    return layers


def build_kernel(case: Case) -> tuple[Forward, list[nn.Parameter]]:
    layers = our_layers(case)
    return lambda x: run_trees(layers, list(layers), x), list(layers.parameters())


def build_eager(case: Case) -> tuple[Forward, list[nn.Parameter]]:
    layers = nn.Sequential(*our_layers(case))
    return layers, list(layers.parameters())


def build_torchlogix(case: Case) -> tuple[Forward, list[nn.Parameter]]:
    torchlogix = import_peer("torchlogix", "torchlogix.layers", stand_in="torchlogix.circuit")
    modules: list[nn.Module] = []
    for layer in our_layers(case):
        peer = torchlogix.LogicConv2d(
            in_dim=layer.input_shape[1:],
            channels=layer.input_shape[0],
            num_kernels=layer.out_channels,
            tree_depth=layer.tree_depth,
            receptive_field_size=layer.kernel_size,
            padding=layer.padding,
            parametrization="raw",
        )
        pairs = layer.taps.long()[..., [1, 2, 0]].unflatten(1, (-1, 2)).permute(2, 0, 1, 3)
        peer.connections.indices = peer.connections._get_indices_from_kernel_tensor(pairs)
        weight, first = layer.weight.data.unflatten(0, (layer.out_channels, -1)), 0
        for level in peer.tree_weights:
            level.data.copy_(weight[:, first : first + len(level)].transpose(0, 1))
            first += len(level)
        modules += [peer, torchlogix.OrPooling2d(kernel_size=2, stride=2)]
    network = nn.Sequential(*modules)
    return lambda x: network(x.float()), list(network.parameters())


VARIANTS = {"kernel": build_kernel, "eager": build_eager, "torchlogix": build_torchlogix}


@dataclass(frozen=True)
class Contender:
    forward: Forward
    weights: list[nn.Parameter]
    x: Tensor
    along: Tensor
    """Gradient of the outputs."""

    def step(self) -> Tensor:
        for weight in self.weights:
            weight.grad = None
        output = self.forward(self.x)
        output.backward(self.along)
        return output.detach()


def contender(name: str, case: Case) -> Contender:
    forward, weights = VARIANTS[name](case)
    generator = torch.Generator().manual_seed(3)
    x = torch.rand(case.batch, *SHAPE, generator=generator) < 0.15
    along = torch.randn(case.batch, *our_layers(case)[-1].output_shape, generator=generator)
    return Contender(forward, weights, x, along)


def check_same(contenders: dict[str, Contender]) -> None:
    """The variants compute the same thing, or the comparison means nothing."""
    output = contenders["kernel"].step()
    total = sum(float(weight.grad.square().sum()) for weight in contenders["kernel"].weights)
    for name, other in contenders.items():
        torch.testing.assert_close(other.step(), output, rtol=1e-4, atol=1e-5, msg=name)
        squares = sum(float(weight.grad.square().sum()) for weight in other.weights)
        assert abs(squares / total - 1) < 1e-2, (name, squares, total)  # cells that are as good as equal may differ


def peak_extra_bytes(one: Contender) -> int:
    """Memory that three steps take on top of the network and the batch, in this process."""
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts again
    status = Path("/proc/self/status")
    before = status_bytes(status.read_text(), "VmRSS")
    for _ in range(3):
        one.step()
    return status_bytes(status.read_text(), "VmHWM") - before


def run_case(case: Case, names: list[str], rounds: int, threads: int) -> None:
    torch.set_num_threads(threads)
    contenders: dict[str, Contender] = {}
    for name in names:
        try:
            contenders[name] = contender(name, case)
        except Unavailable as note:
            print(f"  {name}: left out, {note}")
    check_same(contenders)
    clock = time.process_time if threads == 1 else time.perf_counter
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, one in contenders.items():
            started = clock()
            one.step()
            times[name].append(clock() - started)
    print(f"\n{case}, {threads} thread(s), {'CPU' if threads == 1 else 'wall'} ms per step")
    print("  variant        median      min   ratio   samples/s   peak extra MB")
    for name, own in times.items():
        ratio = statistics.median(a / b for a, b in zip(own, times["kernel"], strict=True))
        command = [sys.executable, __file__, "--peak", name, "--case", str(case)]
        peak = subprocess.run(command, capture_output=True, text=True, check=True).stdout if threads == 1 else "0"
        print(
            f"  {name:12} {1e3 * statistics.median(own):8.1f} {1e3 * min(own):8.1f} {ratio:7.1f}"
            f" {case.batch / min(own):11.0f} {int(peak) / 1e6 if threads == 1 else float('nan'):15.0f}"
        )


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", help="CHANNELSxBATCH, repeatable; default 32-64-128x64")
    parser.add_argument("--variants", default=",".join(VARIANTS), help="comma-separated; the kernel is always in")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", default="1,2", help="comma-separated numbers of threads")
    parser.add_argument("--peak", choices=list(VARIANTS), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    cases = [Case.read(text) for text in options.case or ["32-64-128x64"]]
    if options.peak:
        torch.set_num_threads(1)
        print(peak_extra_bytes(contender(options.peak, cases[0])))
        return 0
    names = ["kernel", *(name for name in options.variants.split(",") if name != "kernel")]
    for threads in (int(number) for number in options.threads.split(",")):
        for case in cases:
            run_case(case, names, options.rounds, threads)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
