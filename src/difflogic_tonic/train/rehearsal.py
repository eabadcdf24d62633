"""`--debug`: a few batches through every stage, with autograd's anomaly checks, leaving nothing behind.

Training, evaluation, a stop signal, its checkpoint, a resume, the final files and the evaluation of the saved model all
run as in a real run, in temporary storage places; only the dataset is read from the real ones.
"""

import dataclasses
import itertools
import logging
import tempfile
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path

import torch

from difflogic_tonic.config import TrainConfig
from difflogic_tonic.data import Batch
from difflogic_tonic.errors import STOPPED, ConfigError
from difflogic_tonic.runs.checkpoint import Checkpoints
from difflogic_tonic.runs.folder import open_run
from difflogic_tonic.runs.log import log_to_console
from difflogic_tonic.runs.model_file import load_model
from difflogic_tonic.runs.signals import StopRequest
from difflogic_tonic.storage import Place, Storage, open_storage
from difflogic_tonic.train.evaluation import measure
from difflogic_tonic.train.fit import BatchSource
from difflogic_tonic.train.inputs import Inputs, choose_device
from difflogic_tonic.train.resume import check_config, check_data
from difflogic_tonic.train.run import Run
from difflogic_tonic.train.session import Request, build_state, make_deterministic
from difflogic_tonic.train.state import seed_everything
from difflogic_tonic.train.temperature import set_temperature_after

STEPS = 4
"""Optimizer steps, and evaluation batches of each split."""

JOB_ID = "debug"

log = logging.getLogger(__name__)


class FirstBatches:
    """The first `n` batches of another source; `on_batch` is told the position of each."""

    def __init__(self, batches: BatchSource, n: int, on_batch: Callable[[int], None] = lambda position: None) -> None:
        self._batches = batches
        self._n = min(n, len(batches))
        self._on_batch = on_batch
        self.n_recordings = batches.n_recordings

    def __len__(self) -> int:
        return self._n

    @property
    def n_samples(self) -> int:
        return min(self._batches.n_samples, self._n * self._batches.batch_size)

    @property
    def batch_size(self) -> int:
        return self._batches.batch_size

    def iterate(self, epoch: int, start: int = 0) -> Generator[Batch, None, None]:
        with closing(self._batches.iterate(epoch, start)) as batches:
            for position, batch in enumerate(itertools.islice(batches, self._n - start), start):
                self._on_batch(position)
                yield batch


def rehearse(request: Request, stop: StopRequest) -> int:
    """Run every stage on a few batches. 0 if all of them work; the error of the stage that does not otherwise."""
    log_to_console()
    if request.ranks is not None:
        raise ConfigError("--debug is for one process; leave out torchrun or srun")
    config = request.config.model_copy(update={"train": request.config.train.model_copy(update={"epochs": 2})})
    device = choose_device(config.train.device)
    make_deterministic(device)
    storage = open_storage(request.places)
    with (
        stop.interruptible(),
        tempfile.TemporaryDirectory(prefix="difflogic-debug-") as folder,
        torch.autograd.set_detect_anomaly(True),
    ):
        places = Storage(Place("scratch", Path(folder) / "scratch"), Place("project", Path(folder) / "project"))
        halted = StopRequest()

        def halt(position: int) -> None:
            if position == config.train.accumulate:  # the first batch of the second step
                halted.request("SIGUSR1")

        log.info("debug: training, until a stop signal in the second step")
        code = _run(config, storage, places, device, halted, halt)
        if halted:
            assert code == STOPPED, code
            log.info("debug: resuming from its checkpoint, then evaluating, saving and finishing")
            code = _run(config, storage, places, device, StopRequest())
        assert code == 0, code
        log.info("debug: evaluating the saved model again")
        _evaluate_again(config, storage, places, device)
    log.info("debug: every stage works; nothing was kept")
    return 0


def _run(
    config: TrainConfig,
    storage: Storage,
    places: Storage,
    device: torch.device,
    stop: StopRequest,
    on_batch: Callable[[int], None] = lambda position: None,
) -> int:
    state, inputs = build_state(config, storage, device)
    shortened = _shortened(inputs, config, on_batch)
    checkpoints = Checkpoints(places, JOB_ID)
    found = checkpoints.load_newest()
    folder = open_run(places, JOB_ID, "auto")
    seed_everything(config.base.seed)
    if found is not None:
        check_config(found[0], state.identity.config)
        check_data(found[0], state.identity)
        state.restore(found[0])
    return Run(config, places, folder, state, shortened, checkpoints, device).train(stop)


def _shortened(inputs: Inputs, config: TrainConfig, on_batch: Callable[[int], None] = lambda position: None) -> Inputs:
    return dataclasses.replace(
        inputs,
        train=FirstBatches(inputs.train, STEPS * config.train.accumulate, on_batch),
        evaluated={name: FirstBatches(batches, STEPS) for name, batches in inputs.evaluated.items()},
    )


def _evaluate_again(config: TrainConfig, storage: Storage, places: Storage, device: torch.device) -> None:
    saved = load_model(places.project.models_dir(JOB_ID) / "best.pt")
    state, inputs = build_state(config, storage, device)
    state.model.load_state_dict(saved.model)
    inputs = _shortened(inputs, config)
    set_temperature_after(state.model, config, saved.step, len(inputs.train))
    measured = measure(state.model, inputs, config, device)
    differing = {name: value for name, value in measured.items() if saved.metrics[name] != value}
    if device.type == "cpu":
        assert not differing, (differing, saved.metrics)
