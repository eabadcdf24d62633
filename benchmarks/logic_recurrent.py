"""One training step of the recurrent logic network and of learnable wiring on the CPU: our kernels and plain torch.

    python benchmarks/logic_recurrent.py                    both, and the plain network that they are made of
    python benchmarks/logic_recurrent.py --rounds 15 --steps 10 --width 8000 --batch 256

All variants take turns in one process with one thread; times are those of the process on the CPU, medians over the
rounds, and a ratio is the median over the rounds of (plain torch / kernel in that round). A step is forward,
cross-entropy and backward. "plain" is a dense network of the same width and depth on one frame.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from difflogic_tonic.nets.logic import LogicNetwork, RecurrentLogicNetwork

IN_FEATURES, LAYERS, CLASSES, TAU = 2312, 4, 10, 10.0


def variants(arguments: argparse.Namespace) -> dict[str, Callable[[], float]]:
    """Name to a function that trains one step and returns its seconds."""
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(CLASSES, (arguments.batch,), generator=generator)
    frames = (torch.rand(arguments.steps, arguments.batch, IN_FEATURES, generator=generator) < 0.15).float()
    lengths = torch.randint(1, arguments.steps + 1, (arguments.batch,), generator=generator)
    lengths[0] = arguments.steps
    found: dict[str, Callable[[], float]] = {}
    for name, backend in (("kernel", "cpu"), ("plain torch", "eager")):
        plain = LogicNetwork(IN_FEATURES, arguments.width, LAYERS, CLASSES, TAU, backend=backend)
        found[f"plain, {name}"] = timed(plain, labels, frames[0])
        recurrent = RecurrentLogicNetwork(
            IN_FEATURES, arguments.state, arguments.width, LAYERS, CLASSES, TAU, backend=backend
        )
        found[f"recurrent, {name}"] = timed(recurrent, labels, frames, lengths)
        learnable = LogicNetwork(
            IN_FEATURES,
            arguments.width,
            LAYERS,
            CLASSES,
            TAU,
            backend=backend,
            wiring="learnable",
            wiring_candidates=arguments.candidates,
        )
        found[f"learnable, {name}"] = timed(learnable, labels, frames[0])
    return found


def timed(network: nn.Module, labels: Tensor, *inputs: Tensor) -> Callable[[], float]:
    def step() -> float:
        started = time.process_time()
        for weight in network.parameters():
            weight.grad = None
        F.cross_entropy(network(*inputs), labels).backward()
        return time.process_time() - started

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("width", 4000), ("batch", 64), ("steps", 7), ("state", 300), ("candidates", 8)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    steps = variants(arguments)
    for step in steps.values():
        step()
    rounds = [{name: step() for name, step in steps.items()} for _ in range(arguments.rounds)]
    sizes = ", ".join(
        f"{name} {getattr(arguments, name)}" for name in ("width", "batch", "steps", "state", "candidates")
    )
    print(f"{LAYERS} layers, {sizes}; milliseconds, median of {arguments.rounds}")
    for kind in ("plain", "recurrent", "learnable"):
        kernel, torch_only = f"{kind}, kernel", f"{kind}, plain torch"
        ratio = statistics.median(one[torch_only] / one[kernel] for one in rounds)
        times = [1e3 * statistics.median(one[name] for one in rounds) for name in (kernel, torch_only)]
        print(f"{kind:10} kernel {times[0]:8.1f}   plain torch {times[1]:8.1f}   ratio {ratio:5.1f}")


if __name__ == "__main__":
    main()
