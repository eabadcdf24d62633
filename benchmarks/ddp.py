"""A training step of one process and of several that share its batch, and what the sums over them cost.

    python benchmarks/ddp.py                                1 and 2 processes of one thread, on loopback
    python benchmarks/ddp.py --processes 1 2 4 --steps 50 --only CNN

Every model sees the same batches. `sums` is the share of a step that rank 0 spends in exchanges, waiting for slower
processes included; `add` is the time of adding up as many gradients and nothing else, which is what an overlap of sums
and backward pass could save at most. Medians over the steps, of rank 0, after three to warm
up. Where other programs use the machine, only the time on the processor means something.
"""

import argparse
import os
import socket
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from difflogic_tonic import models
from difflogic_tonic.config import RankPlace, TrainConfig
from difflogic_tonic.data import Batch
from difflogic_tonic.data.batch import Part
from difflogic_tonic.nets.shared_norm import share_batch_norm
from difflogic_tonic.runs.signals import StopRequest
from difflogic_tonic.train.losses import Loss
from difflogic_tonic.train.optimizer import build_optimizer
from difflogic_tonic.train.precision import Precision
from difflogic_tonic.train.ranks import Ranks
from difflogic_tonic.train.rendezvous import connect, meet
from difflogic_tonic.train.step import train_step

SHAPE, CLASSES, CPU, WARM_UP = (2, 34, 34), 10, torch.device("cpu"), 3
MODELS: dict[str, dict[str, Any]] = {
    "CNN": {"model_type": "CNN"},
    "MLP": {"model_type": "MLP"},
    "SNN": {"model_type": "SNN", "snn": {"architecture": "12C5-BN-MP2-32C5-BN-MP2-FC10", "dropout": 0.1}},
    "DiffLogic": {"model_type": "DiffLogic", "difflogic": {"num_neurons": 16_000, "num_layers": 4}},
}


def batch_of(config: TrainConfig, n: int, part: Part) -> Batch:
    """The own part of one batch of `n` samples."""
    generator = torch.Generator().manual_seed(0)
    steps = (7,) if config.view == "sequence" else ()
    inputs = (torch.rand(n, *steps, 2 * 34 * 34, generator=generator) < 0.1).to(torch.uint8)
    rows = slice(part.first, part.first + part.own)
    labels, lengths = torch.arange(n) % CLASSES, torch.full((n,), steps[0] if steps else 1)
    return Batch(inputs[rows], labels[rows], lengths[rows], labels[rows], False, SHAPE, config.view, part=part)


def time_sums(ranks: Ranks, seconds: list[float]) -> None:
    """From now on `seconds` gets the time of every exchange."""

    def timed(call: Callable[..., None]) -> Callable[..., None]:
        def measured(*given: Any) -> None:
            began = time.perf_counter()
            call(*given)
            seconds.append(time.perf_counter() - began)

        return measured

    for name in ("add", "add_all"):
        setattr(ranks, name, timed(getattr(ranks, name)))


def measure(name: str, ranks: Ranks | None, arguments: argparse.Namespace) -> tuple[float, ...]:
    """Milliseconds of a step, on the processor, of its exchanges, and of adding as many numbers; number of weights."""
    config = TrainConfig.model_validate({"data": {"name": "NMNIST"}, "model": MODELS[name]})
    model = models.build(config.network, SHAPE, CLASSES, 0).train()
    rank, world = (0, 1) if ranks is None else (ranks.rank, ranks.world)
    first, end = rank * arguments.batch // world, (rank + 1) * arguments.batch // world
    batch = batch_of(config, arguments.batch, Part(first, end - first, arguments.batch))
    optimizer, seconds = build_optimizer(config.training, model), list[float]()
    n_weights = sum(parameter.numel() for parameter in model.parameters())
    steps, sums, adding, busy = [], [], [0.0], []
    if ranks is not None:
        share_batch_norm(model)
        numbers = torch.zeros(n_weights)
        for _ in range(arguments.steps):
            began = time.perf_counter()
            ranks.add(numbers)
            adding.append(time.perf_counter() - began)
        time_sums(ranks, seconds)
    for step in range(arguments.steps + WARM_UP):
        seconds.clear()
        began, busy_before = time.perf_counter(), time.process_time()
        train_step(model, optimizer, [batch], Precision("off", CPU), Loss(), config.training, step + 1, 0, ranks)
        steps.append(time.perf_counter() - began)
        busy.append(time.process_time() - busy_before)
        sums.append(sum(seconds))
    found = [1e3 * statistics.median(times) for times in (steps[WARM_UP:], busy[WARM_UP:], sums[WARM_UP:], adding)]
    return *found, n_weights


def together(name: str, world: int, arguments: argparse.Namespace) -> None:
    """Measure in `world` forked processes; rank 0, which is this one's child too, prints."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    children = []
    for rank in range(world):
        if pid := os.fork():
            children.append(pid)
            continue
        ranks = None
        if world > 1:
            place = RankPlace(rank, world, rank, world, "127.0.0.1", port)
            ranks = meet(place, StopRequest())
            connect(ranks, place, CPU)
        step, busy, sums, adding, n_weights = measure(name, ranks, arguments)
        if rank == 0:
            print(
                f"{name:10} {n_weights:10,.0f} weights  {world} processes: {step:8.2f} ms a step, "
                f"{busy:8.2f} ms on the processor, sums {sums:7.2f} ms ({sums / step:4.0%}), add {adding:6.2f} ms",
                flush=True,
            )
        if ranks is not None:
            ranks.leave()
        os._exit(0)
    for pid in children:
        os.waitpid(pid, 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--only", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=20)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name in arguments.only:
        for world in arguments.processes:
            together(name, world, arguments)


if __name__ == "__main__":
    main()
