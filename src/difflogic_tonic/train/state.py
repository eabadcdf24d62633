"""Everything that a resume needs, in one place. A local of the loop that must survive and is not here is a bug."""

import dataclasses
import random
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from difflogic_tonic.nets.spiking.spikes import SpikeCounts
from difflogic_tonic.runs.checkpoint import FORMAT, Position
from difflogic_tonic.runs.metrics import Row
from difflogic_tonic.train.precision import Precision
from difflogic_tonic.train.tally import Tally


@dataclass
class Sums:
    """Training loss and right answers since they were last reset."""

    loss: float = 0.0
    n_correct: int = 0
    n_samples: int = 0

    def add(self, loss_sum: float, n_correct: int, n_samples: int) -> None:
        self.loss += loss_sum
        self.n_correct += n_correct
        self.n_samples += n_samples


@dataclass
class Best:
    """The best epoch so far: `score` is what it was chosen by, `metrics` its evaluation, `model` its state dict."""

    epoch: int
    step: int
    score: list[float]
    metrics: dict[str, Any]
    model: dict[str, Any]


@dataclass
class Progress:
    """How far a run has come.

    `epoch` epochs are finished, the last with the evaluation `measured`. Of the current one, `batch` batches are
    trained on, then `phase` evaluations are finished, with `results` so far; `tally` and
    `spikes` are of the one under way, `train_spikes` of the epoch's training steps. `step`
    counts optimizer steps, `evaluated` the evaluation batches since the last of them, and one for the epoch's end.
    `window` holds sums since the last `step` row, `n_rows` is the length of metrics.jsonl, `unwritten` are the rows
    that wait for it. `seconds` is over all epochs and starts, that of the three parts is of the current epoch. Of the
    steps, `skipped` updated nothing (fp16 met infinite gradients); `rate` was the learning rate of the last one.
    `flat`: steps in a row that told no samples apart. `maxima`: the largest test accuracies of any epoch, each with its
    epoch.
    """

    epoch: int = 0
    batch: int = 0
    phase: int = 0
    step: int = 0
    skipped: int = 0
    rate: float = 0.0
    flat: int = 0
    evaluated: int = 0
    epoch_sums: Sums = field(default_factory=Sums)
    window: Sums = field(default_factory=Sums)
    tally: Tally | None = None
    spikes: SpikeCounts | None = None
    train_spikes: SpikeCounts | None = None
    results: dict[str, Any] = field(default_factory=dict)
    measured: dict[str, Any] = field(default_factory=dict)
    best: Best | None = None
    maxima: dict[str, list[float]] = field(default_factory=dict)
    epochs_without_better: int = 0
    n_rows: int = 0
    unwritten: list[Row] = field(default_factory=list)
    seconds: float = 0.0
    train_seconds: float = 0.0
    val_seconds: float = 0.0
    test_seconds: float = 0.0

    @property
    def position(self) -> Position:
        return Position(self.step, self.evaluated)


@dataclass(frozen=True)
class Identity:
    """What a run is made of. `config` is the resolved config as plain data; the others must stay the same.

    `code`: SHA-256 of the source of each function of one's own, by the config key that names it.
    """

    config: dict[str, Any]
    fingerprint: str
    classes: list[str]
    frame_shape: tuple[int, int, int]
    threads: int
    code: dict[str, str] = field(default_factory=dict)


@dataclass
class TrainingState:
    """A run at one moment: live network, optimizer and scaler, and the progress."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    precision: Precision
    identity: Identity
    progress: Progress = field(default_factory=Progress)

    def snapshot(self, over: dict[str, Any] | None = None) -> dict[str, Any]:
        """A copy on the CPU that later steps do not change: tensors and plain values only.

        `over` is an earlier one that nobody needs any more: its memory is used again, which takes a third of the time
        of memory that the system must hand out first.
        """
        before = over or {}
        scaler, best = self.precision.scaler, self.progress.best
        progress = _copied(_plain(dataclasses.replace(self.progress, best=None)))
        # The best weights are never written to again, so they can be shared.
        progress["best"] = None if best is None else _plain(best)
        return {
            "format": FORMAT,
            **dataclasses.asdict(self.identity),
            "progress": progress,
            "model": _copied(self.model.state_dict(), before.get("model")),
            "optimizer": _copied(self.optimizer.state_dict(), before.get("optimizer")),
            "scaler": None if scaler is None else dict(scaler.state_dict()),
            "amp": self.precision.amp,
            "skipped_in_a_row": self.precision.skipped_in_a_row,
            "random": random_states(),
        }

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Continue where `snapshot` was taken. The model must be the same; check that first (`resume.check_data`)."""
        self.progress = _progress(snapshot["progress"])
        self.model.load_state_dict(snapshot["model"])
        # Moments from the checkpoint, learning rate and the like from the config, which may have changed.
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": snapshot["optimizer"]["state"], "param_groups": groups})
        if self.precision.scaler is not None and snapshot["scaler"] is not None:
            self.precision.scaler.load_state_dict(snapshot["scaler"])
        self.precision.skipped_in_a_row = snapshot["skipped_in_a_row"]
        set_random_states(snapshot["random"])


def random_states() -> dict[str, Any]:
    """The states of all global generators, as tensors and plain values."""
    legacy = np.random.get_state(legacy=True)
    assert isinstance(legacy, tuple), type(legacy)
    kind, keys, position, has_gauss, gauss = legacy
    return {
        "torch": torch.get_rng_state(),
        # Of the one that is used: how many others there are must not matter to a resume.
        "cuda": [torch.cuda.get_rng_state()] if torch.cuda.is_available() else [],
        "python": list(random.getstate()),
        "numpy": [str(kind), torch.from_numpy(keys.astype(np.int64)), int(position), int(has_gauss), float(gauss)],
    }


def set_random_states(states: dict[str, Any]) -> None:
    torch.set_rng_state(states["torch"])
    if states["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"][0])
    version, internal, gauss_next = states["python"]
    random.setstate((version, tuple(internal), gauss_next))
    kind, keys, position, has_gauss, gauss = states["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, gauss))


def seed_everything(seed: int) -> None:
    """Seed the global generators, for modules of one's own; loaders, initial weights and layers have their own."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)


def copied_weights(model: nn.Module) -> dict[str, Any]:
    """The state dict, copied to the CPU."""
    copy: dict[str, Any] = _copied(model.state_dict())
    return copy


def _plain(value: Any) -> Any:
    """Dataclasses as dicts, inside out; unlike `dataclasses.asdict`, tensors are not copied."""
    if dataclasses.is_dataclass(value):
        return {item.name: _plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    return value


def _progress(plain: dict[str, Any]) -> Progress:
    tally, best = plain["tally"], plain["best"]
    spikes = {name: plain.get(name) for name in ("spikes", "train_spikes")}  # older checkpoints have none
    return Progress(
        **plain
        | {
            "epoch_sums": Sums(**plain["epoch_sums"]),
            "window": Sums(**plain["window"]),
            "tally": None if tally is None else Tally(**tally),
            **{name: None if counts is None else SpikeCounts(**counts) for name, counts in spikes.items()},
            "best": None if best is None else Best(**best),
        }
    )


def _copied(value: Any, over: Any = None) -> Any:
    """`value` with every tensor copied to the CPU; containers become plain dicts, lists and tuples.

    Where `over` has a tensor like it in the same place, it is copied into that one.
    """
    if isinstance(value, Tensor):
        if isinstance(over, Tensor) and (over.shape, over.dtype) == (value.shape, value.dtype):
            return over.copy_(value.detach())
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        found = over if isinstance(over, dict) else {}
        return {key: _copied(item, found.get(key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        places = over if isinstance(over, list | tuple) and len(over) == len(value) else [None] * len(value)
        return type(value)(_copied(item, place) for item, place in zip(value, places, strict=True))
    return value
