"""A whole training on tensors in memory: real models, checkpoints and metrics, frames of 2 × 8 × 12."""

import dataclasses
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from difflogic_tonic import models
from difflogic_tonic.config.train import TrainConfig
from difflogic_tonic.data import Batch
from difflogic_tonic.data.order import epoch_order
from difflogic_tonic.nets.logic import has_hard_mode
from difflogic_tonic.runs.checkpoint import Checkpoints
from difflogic_tonic.runs.metrics import MetricsLog
from difflogic_tonic.runs.signals import StopRequest
from difflogic_tonic.runs.writer import CheckpointWriter
from difflogic_tonic.storage import Place, Storage
from difflogic_tonic.train.fit import Phase, Plan, fit
from difflogic_tonic.train.losses import evaluation_loss, training_loss
from difflogic_tonic.train.optimizer import build_optimizer
from difflogic_tonic.train.precision import Precision, choose_amp
from difflogic_tonic.train.saving import Saver
from difflogic_tonic.train.state import Identity, TrainingState, seed_everything

SHAPE = (2, 8, 12)
CLASSES = 3
FRAMES = 2  # of every recording
NEVER = 1e9


class TinyBatches:
    """`n_recordings` recordings of two frames whose events lie in a third of the columns that depends on the class."""

    def __init__(self, n_recordings: int, view: str, batch_size: int, seed: int, shuffle: bool) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.labels = torch.arange(n_recordings) % CLASSES
        noise = torch.rand(n_recordings, FRAMES, *SHAPE, generator=generator)
        column = torch.arange(SHAPE[2]) // (SHAPE[2] // CLASSES)
        lit = (column == self.labels.view(-1, 1)).view(n_recordings, 1, 1, 1, SHAPE[2])
        self.frames = ((noise < 0.15) | ((noise < 0.5) & lit)).to(torch.uint8).flatten(2)
        self.view, self.batch_size, self.seed, self.shuffle = view, batch_size, seed, shuffle
        self.n_recordings = n_recordings

    @property
    def n_samples(self) -> int:
        return self.n_recordings * (FRAMES if self.view == "frames" else 1)

    def __len__(self) -> int:
        return -(-self.n_samples // self.batch_size)

    def iterate(self, epoch: int, start: int = 0) -> Generator[Batch, None, None]:
        order = torch.from_numpy(epoch_order(self.n_samples, self.seed, epoch, self.shuffle))
        for samples in order.split(self.batch_size)[start:]:
            if self.view == "frames":
                rows, inputs = samples // FRAMES, self.frames.flatten(0, 1)[samples]
                lengths = torch.ones_like(rows)
            else:
                rows, inputs = samples, self.frames[samples]
                lengths = torch.full_like(rows, FRAMES)
            yield Batch(inputs, self.labels[rows], lengths, rows, False, SHAPE, self.view)


class StopAfter(StopRequest):
    """Asks for a stop at the `looks`-th look of the loop, which looks once after every batch."""

    def __init__(self, looks: float) -> None:
        super().__init__()
        self.left = looks

    def __bool__(self) -> bool:
        self.left -= 1
        if self.left <= 0:
            self.request("SIGUSR1")
        return self.reason is not None


MODELS: dict[str, dict[str, Any]] = {
    "DiffLogic": {"difflogic": {"num_neurons": 120, "num_layers": 2}},
    "CNN": {"cnn": {"hidden": 8, "dropout": 0.3}},
    "MLP": {"mlp": {"hidden": (16,), "dropout": 0.3}},
    "SNN": {"snn": {"architecture": f"4C3-MP2-FC{CLASSES}", "dropout": 0.2}},
}


@dataclasses.dataclass
class Outcome:
    finished: bool
    state: TrainingState
    rows: list[dict[str, Any]]
    looks: int


class Workshop:
    """Trains tiny models in `root`; calling `train` again with `resume` goes on from the newest checkpoint."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.storage = Storage(Place("scratch", root / "scratch"), Place("project", root / "project"))

    def config(self, model_type: str = "MLP", **train: Any) -> TrainConfig:
        batch_size = train.pop("batch_size", 7)
        train = {"epochs": 2, "schedule": "cosine", "learning_rate": 0.02, **train}
        # Sizes are checked against the dataset named here, but the frames of these tests are smaller.
        model = MODELS[model_type]
        config = TrainConfig.model_validate(
            {"model": {"model_type": model_type}, "train": train | {"dataloader": {"batch_size": batch_size}}}
        )
        sections = {name: getattr(config.model, name).model_copy(update=values) for name, values in model.items()}
        return config.model_copy(update={"model": config.model.model_copy(update=sections)})

    def checkpoints(self) -> Checkpoints:
        return Checkpoints(self.storage, "job")

    def state(self, config: TrainConfig) -> TrainingState:
        model = models.build(config.network, SHAPE, CLASSES, config.base.seed)
        identity = Identity(config.to_dict(), "f" * 64, ["a", "b", "c"], SHAPE, torch.get_num_threads())
        device = torch.device("cpu")
        precision = Precision(choose_amp(config.train.amp, config.model.model_type, device), device)
        return TrainingState(model, build_optimizer(config.training, model), precision, identity)

    def plan(self, config: TrainConfig, state: TrainingState, splits: tuple[str, ...] = ("val", "test")) -> Plan:
        size, hard = config.train.dataloader.batch_size, has_hard_mode(state.model)
        evaluated = {name: TinyBatches(8, config.view, size, 5 + len(name), False) for name in splits}
        return Plan(
            config=config.training,
            classes=CLASSES,
            view=config.view,
            device=torch.device("cpu"),
            loss=training_loss(config),
            evaluation_loss=evaluation_loss(config),
            counts_skipped=state.precision.scaler is not None,
            train=TinyBatches(20, config.view, size, 3, True),
            evaluated=evaluated,
            phases=tuple(Phase(name, kind, 8) for name in splits for kind in ((False, True) if hard else (False,))),
            logic=config.model.difflogic if hard else None,
        )

    @contextmanager
    def opened(self, config: TrainConfig, resume: bool = False, **plan: Any) -> Iterator[tuple[Any, ...]]:
        """State, plan, metrics log and writer, restored from the newest checkpoint if `resume`."""
        state = self.state(config)
        seed_everything(config.base.seed)
        checkpoints = self.checkpoints()
        if resume and (found := checkpoints.load_newest()):
            state.restore(found[0])
        folder = self.storage.project.run_dir("job")
        (folder / "tensorboard").mkdir(parents=True, exist_ok=True)
        metrics = MetricsLog(folder / "metrics.jsonl", folder / "tensorboard", state.progress.n_rows)
        writer = CheckpointWriter(checkpoints, self.storage)
        try:
            yield state, self.plan(config, state, **plan), metrics, writer
        finally:
            writer.close()

    def train(
        self, config: TrainConfig, stop_after: float = NEVER, resume: bool = False, interval: float = NEVER, **plan: Any
    ) -> Outcome:
        """Train until `stop_after` looks at the stop flag or to the end, then save as a run does."""
        stop = StopAfter(stop_after)
        with self.opened(config, resume, **plan) as (state, made, metrics, writer):
            saver = Saver(state, metrics, writer, stop, interval)
            finished = fit(state, made, metrics, saver)
            saver.save_and_wait()
        from difflogic_tonic.runs.metrics import read_metrics

        rows = read_metrics(self.storage.project.run_dir("job") / "metrics.jsonl")
        return Outcome(finished, state, rows, int(stop_after - stop.left))


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


@pytest.fixture
def another_workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path / "another")


@pytest.fixture(autouse=True)
def deterministic() -> Iterator[None]:
    """As a run on a CPU computes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the tensors are too small to share, and other tests may be running
    torch.set_deterministic_debug_mode("error")
    yield
    torch.set_num_threads(threads)
    torch.set_deterministic_debug_mode("default")
