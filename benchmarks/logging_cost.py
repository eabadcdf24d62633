"""What the records of a run cost: an epoch with all that is written and counted by default, against one without.

    python benchmarks/logging_cost.py                        all cases
    python benchmarks/logging_cost.py --case snn,difflogic --rounds 5

An epoch is that of the N-MNIST part of 10,000 recordings: 112 training steps of 64 samples, then 13 batches of
validation and 32 of test (logic networks: both soft and hard). With logging, rows and TensorBoard events go to files in
a temporary folder, spikes and membranes are counted every `train.measure_spikes` batches (its default), and gates at
the end; without it, nothing of this happens. Both train the same network in the same process and take turns, with one
thread. The cost compares the fastest epoch of each in CPU time, which other programs on the machine disturb least. The
frames are random bits, of which 2 in 100 are set.

    snn        12C5-MP2-64C5-MP2-FC10 on 34 × 34 events, 5 frames
    csnn       the Fashion-MNIST network with 32 channels, images shown 4 times
    difflogic  4 layers of 4,000 gates on 34 × 34 events, single frames
    cnn, mlp   the default networks on 34 × 34 events, single frames
"""

import argparse
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from difflogic_tonic import models
from difflogic_tonic.config import TrainConfig
from difflogic_tonic.data import Batch
from difflogic_tonic.nets.logic import has_hard_mode
from difflogic_tonic.runs.metrics import MetricsLog, NoRows, Rows
from difflogic_tonic.train import rows
from difflogic_tonic.train.fit import Phase, Plan, evaluate_epoch, finish_epoch, train_epoch
from difflogic_tonic.train.losses import evaluation_loss, training_loss
from difflogic_tonic.train.optimizer import build_optimizer
from difflogic_tonic.train.precision import Precision
from difflogic_tonic.train.state import Identity, TrainingState

MOST = 0.03
"""What logging may cost, as a share."""

BATCH = 64
BATCHES = {"train": 112, "val": 13, "test": 32}
EVENTS, IMAGE = (2, 34, 34), (1, 28, 28)
ALIKE = 8
"""Different batches; the others repeat them."""


@dataclass(frozen=True)
class Case:
    """A model section, the shape of a frame, and frames of a sample (0: single frames)."""

    model: dict[str, Any]
    shape: tuple[int, int, int]
    frames: int = 0
    dataset: str = "NMNIST"


CASES = {
    "snn": Case({"model_type": "SNN", "snn": {"architecture": "12C5-MP2-64C5-MP2-FC10"}}, EVENTS, 5),
    "csnn": Case(
        {"model_type": "SNN", "snn": {"architecture": "csnn", "channels": 32}}, IMAGE, 1, dataset="FASHIONMNIST"
    ),
    "difflogic": Case({"model_type": "DiffLogic", "difflogic": {"num_neurons": 4000, "num_layers": 4}}, EVENTS),
    "cnn": Case({"model_type": "CNN"}, EVENTS),
    "mlp": Case({"model_type": "MLP"}, EVENTS),
}


class RandomBatches:
    """`n` batches of random frames, the same in every epoch."""

    def __init__(self, case: Case, n: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        pixels = case.shape[0] * case.shape[1] * case.shape[2]
        shape = (BATCH, case.frames, pixels) if case.frames else (BATCH, pixels)
        self._n, self._view, self._shape = n, "sequence" if case.frames else "frames", case.shape
        self._inputs = [(torch.rand(shape, generator=generator) < 0.02).to(torch.uint8) for _ in range(min(n, ALIKE))]
        self._lengths = torch.full((BATCH,), max(1, case.frames))
        self.batch_size, self.n_samples, self.n_recordings = BATCH, n * BATCH, n * BATCH

    def __len__(self) -> int:
        return self._n

    def iterate(self, epoch: int, start: int = 0) -> Generator[Batch, None, None]:
        for number in range(start, self._n):
            inputs = self._inputs[number % len(self._inputs)]
            rows_of = torch.arange(BATCH) + number * BATCH
            yield Batch(inputs, rows_of % 10, self._lengths, rows_of, False, self._shape, self._view)


class NeverStops:
    """The loop's questions between steps, answered at once: checkpoints are not part of this."""

    def between_steps(self) -> bool:
        return False

    def after_epoch(self, seconds: float) -> None:
        return


class Contender:
    """A training of its own, with logging or without."""

    def __init__(self, case: Case, logs: bool, folder: Path) -> None:
        train: dict[str, Any] = {"epochs": 10_000, "device": "cpu", "amp": "off"}
        if case.model["model_type"] == "SNN" and not logs:
            train["measure_spikes"] = 0
        config = TrainConfig.model_validate({"data": {"name": case.dataset}, "train": train, "model": case.model})
        model = models.build(config.network, case.shape, 10, 0, config.view)
        device = torch.device("cpu")
        identity = Identity(config.to_dict(), "", [], case.shape, torch.get_num_threads())
        self.state = TrainingState(model, build_optimizer(config.training, model), Precision("off", device), identity)
        evaluated = {name: RandomBatches(case, BATCHES[name], 1) for name in ("val", "test")}
        hard = (False, True) if has_hard_mode(model) else (False,)
        self.plan = Plan(
            config=config.training,
            classes=10,
            view=config.view,
            device=device,
            loss=training_loss(config),
            evaluation_loss=evaluation_loss(config),
            train=RandomBatches(case, BATCHES["train"], 0),
            evaluated=evaluated,
            phases=tuple(Phase(name, kind, len(evaluated[name]) * BATCH) for name in evaluated for kind in hard),
            logic=config.model.difflogic if has_hard_mode(model) else None,
        )
        self.logs = logs
        self.metrics: Rows = MetricsLog(folder / "metrics.jsonl", folder) if logs else NoRows()

    def epoch(self) -> None:
        with self._quiet():
            train_epoch(self.state, self.plan, self.metrics, NeverStops())
            evaluate_epoch(self.state, self.plan, NeverStops())
            finish_epoch(self.state, self.plan, self.metrics)

    @contextlib.contextmanager
    def _quiet(self) -> Iterator[None]:
        """Without logging, gates are not counted either."""
        if self.logs:
            yield
            return
        with mock.patch.object(rows, "gate_metrics", return_value={}):
            yield


def cpu_seconds(call: Callable[[], None]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def measure(name: str, rounds: int) -> dict[str, Any]:
    """CPU seconds of the fastest epoch with and without logging, and the share that it adds."""
    with tempfile.TemporaryDirectory() as folder:
        contenders = [Contender(CASES[name], logs, Path(folder)) for logs in (False, True)]
        for contender in contenders:
            contender.epoch()  # compiles kernels, and imports what logging needs
        times = [[cpu_seconds(contender.epoch) for contender in contenders] for _ in range(rounds)]
    before, after = (min(column) for column in zip(*times, strict=True))
    return {"case": name, "seconds": before, "seconds_with_logging": after, "share": after / before - 1}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", default=",".join(CASES), help="which, separated by commas")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the numbers there as well")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = []
    print(f"{'case':<10} {'epoch, s':>9} {'with logging':>13} {'added':>7}")
    for name in arguments.case.split(","):
        one = measure(name, arguments.rounds)
        found.append(one)
        verdict = "" if one["share"] <= MOST else f"  more than {MOST:.0%}"
        print(
            f"{name:<10} {one['seconds']:>9.2f} {one['seconds_with_logging']:>13.2f} {one['share']:>+7.1%}{verdict}",
            flush=True,
        )
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n")
    return 0 if all(one["share"] <= MOST for one in found) else 1


if __name__ == "__main__":
    sys.exit(main())
