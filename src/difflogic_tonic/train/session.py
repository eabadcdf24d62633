"""A whole run: open everything, train, save, say what came out."""

import logging
import os
import socket
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from difflogic_tonic.config import StoragePaths, TrainConfig
from difflogic_tonic.errors import CheckpointMissing, ConfigError, StorageError, UserError
from difflogic_tonic.models import describe
from difflogic_tonic.nets.logic import has_hard_mode, logic_report
from difflogic_tonic.runs.checkpoint import Checkpoints
from difflogic_tonic.runs.environment import describe_environment
from difflogic_tonic.runs.folder import RunFolder, Start, lease, open_run, remove_leftovers, write_start
from difflogic_tonic.runs.log import log_to_console, log_to_file, stop_logging
from difflogic_tonic.runs.metrics import MetricsLog
from difflogic_tonic.runs.model_file import ModelFile, save_model
from difflogic_tonic.runs.signals import StopRequest
from difflogic_tonic.runs.writer import CheckpointWriter
from difflogic_tonic.storage import Storage, open_storage, write_json
from difflogic_tonic.train import lines, preflight
from difflogic_tonic.train.fit import Plan, fit
from difflogic_tonic.train.inputs import (
    Inputs,
    build_model,
    choose_device,
    evaluation_phases,
    find_or_prepare,
    open_inputs,
)
from difflogic_tonic.train.optimizer import build_optimizer
from difflogic_tonic.train.precision import Precision
from difflogic_tonic.train.resume import check_same
from difflogic_tonic.train.saving import Saver
from difflogic_tonic.train.state import Best, Identity, TrainingState, copied_weights, seed_everything

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """What the command line asked for."""

    config: TrainConfig
    start: Start
    argv: Sequence[str]
    places: StoragePaths


def train(request: Request, stop: StopRequest) -> int:
    """Train as asked. 0 when finished, `stop.exit_code` when stopped and saved; raises `UserError` otherwise.

    Until the first step a stop is immediate (`StopNow`): there is nothing to save then.
    """
    log_to_console()
    job_id = request.config.base.job_id
    if job_id is None:
        raise ConfigError(f"{request.config.source}: no job id; give one after the config, or set base.job_id")
    with stop.interruptible():
        storage = open_storage(request.places)
        device = choose_device(request.config.train.device)
        make_deterministic(device)
        state, inputs = build_state(request.config, storage, device)
    with lease(storage, job_id):
        checkpoints = Checkpoints(storage, job_id)
        found = checkpoints.load_newest() if request.start in ("resume", "auto") else None
        if found is None and request.start == "resume":
            looked = ", ".join(str(checkpoints.folder(place)) for place in storage.places)
            raise CheckpointMissing(
                f"job {job_id} has no checkpoint in {looked}; "
                f"start it without --resume, or with --resume=auto, which resumes only if there is one"
            )
        if found is not None:
            check_same(found[0], state.identity)
        folder = open_run(storage, job_id, request.start)
        with run_log(folder):
            write_start(folder, request.config, request.argv, describe_environment(str(device)))
            seed_everything(request.config.base.seed)
            if found is not None:
                state.restore(found[0])
                log.info(
                    "resumed from %s (epoch %d, step %d)", found[1].path, state.progress.epoch + 1, state.progress.step
                )
            remove_leftovers(storage, job_id)
            return Run(request.config, storage, folder, state, inputs, checkpoints, device).train(stop)


def build_state(config: TrainConfig, storage: Storage, device: torch.device) -> tuple[TrainingState, Inputs]:
    """A fresh state, and what it will train on."""
    precision = Precision(config.train.amp, device)
    variant = find_or_prepare(config, storage)
    inputs = open_inputs(config, variant.path, variant.place_name, device)
    if config.train.early_stopping is not None and "val" not in inputs.evaluated:
        raise ConfigError(
            f"train.early_stopping needs a validation split, and {variant.path} has none; "
            f"prepare one with data.val_fraction > 0, or leave train.early_stopping out"
        )
    model = build_model(config, inputs, device)
    identity = Identity(
        config.to_dict(),
        inputs.manifest.fingerprint,
        list(inputs.manifest.classes),
        inputs.manifest.frame_shape,
        torch.get_num_threads(),
    )
    return TrainingState(model, build_optimizer(config.train, model), precision, identity), inputs


def make_deterministic(device: torch.device) -> None:
    """On a CPU the same run gives the same bits. On a GPU some kernels have no deterministic version: not promised."""
    if device.type == "cpu":
        # What use_deterministic_algorithms(True) sets, without its import of the compiler, which takes seconds.
        torch.set_deterministic_debug_mode("error")
        # Filling what will be overwritten costs time and hides nothing here.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


@contextmanager
def run_log(folder: RunFolder) -> Iterator[None]:
    """Log to the run folder inside the block, and leave the reason of a failure in `status.json`."""
    handler = log_to_file(folder.log)
    try:
        yield
    except BaseException as error:
        code = error.exit_code if isinstance(error, UserError) else 1
        if not isinstance(error, UserError):
            logging.getLogger("difflogic_tonic.traceback").debug("%s", traceback.format_exc())
        write_status(folder, state="failed", exit_code=code, reason=f"{type(error).__name__}: {error}")
        raise
    finally:
        stop_logging(handler)


def write_status(folder: RunFolder, **facts: object) -> None:
    """Replace `status.json`. A full disk is a warning: the run has more important files."""
    requeue = facts.get("exit_code") == 75
    try:
        write_json(
            folder.status,
            {
                **facts,
                "requeue": requeue,
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "time": round(time.time(), 3),
            },
        )
    except StorageError as error:
        log.warning("%s", error)


@dataclass(frozen=True)
class Run:
    """A run with everything open."""

    config: TrainConfig
    storage: Storage
    folder: RunFolder
    state: TrainingState
    inputs: Inputs
    checkpoints: Checkpoints
    device: torch.device

    def train(self, stop: StopRequest) -> int:
        """Train to the end or until asked to stop, and save either way."""
        plan = self.plan()
        self._say_start(plan)
        if self.state.progress.best is not None:
            self.save_best(self.state.progress.best)  # the file may come from after the checkpoint
        metrics = MetricsLog(self.folder.metrics, self.folder.tensorboard, self.state.progress.n_rows)
        self.state.progress.n_rows = metrics.n_rows
        writer = CheckpointWriter(self.checkpoints, self.storage)
        saver = Saver(self.state, metrics, writer, stop, 60 * self.config.train.checkpoint_interval_minutes)
        self._status("running")
        try:
            finished = fit(self.state, plan, metrics, saver)
            saver.save_and_wait()
        except StorageError as error:
            raise type(error)(f"{error} (with --resume added)") from error
        except (RuntimeError, MemoryError) as error:
            memory = preflight.out_of_memory(error, self.config.train)
            if memory is None:
                raise
            raise memory from error
        finally:
            writer.close()
        self.save("last", self._last())
        if not finished:
            return self._stopped(stop)
        self._finish()
        return 0

    def plan(self) -> Plan:
        return Plan(
            config=self.config.train,
            classes=len(self.inputs.manifest.classes),
            view=self.config.view,
            device=self.device,
            train=self.inputs.train,
            evaluated=dict(self.inputs.evaluated),
            phases=evaluation_phases(self.state.model, self.inputs),
            subset=self.inputs.subset,
            on_better=self.save_best,
            on_epoch=lambda: self._status("running"),
        )

    def model_path(self, which: str) -> Path:
        return self.storage.project.models_dir(self.folder.job_id) / f"{which}.pt"

    def save_best(self, best: Best) -> None:
        """Write `best.pt`. It is in every checkpoint as well, so a full disk is a warning until the end."""
        try:
            self.save("best", best)
        except StorageError as error:
            log.warning("%s", error)

    def save(self, which: str, trained: Best) -> None:
        identity = self.state.identity
        save_model(
            self.model_path(which),
            ModelFile(
                job_id=self.folder.job_id,
                config=identity.config,
                classes=identity.classes,
                frame_shape=identity.frame_shape,
                fingerprint=identity.fingerprint,
                epoch=trained.epoch,
                step=trained.step,
                model=trained.model,
                metrics=trained.metrics,
            ),
        )

    def _last(self) -> Best:
        progress = self.state.progress
        metrics = {} if progress.batch else progress.measured
        return Best(progress.epoch, progress.step, [], metrics, copied_weights(self.state.model))

    def _stopped(self, stop: StopRequest) -> int:
        progress = self.state.progress
        self._status("stopped", exit_code=stop.exit_code, reason=stop.reason)
        log.info(
            "stopped by %s and saved in epoch %d at step %d; continue with --resume",
            *(stop.reason, progress.epoch + 1, progress.step),
        )
        return stop.exit_code

    def _finish(self) -> None:
        best = self.state.progress.best
        assert best is not None, self.state.progress
        self.save("best", best)
        summary = self.summary(best)
        write_json(self.folder.summary, summary)
        self._status("finished", exit_code=0)
        for line in lines.final_lines(best.metrics, self.inputs.subset):
            log.info("%s", line)
        log.info("model: %s", self.model_path("best"))
        self._say_folder()

    def summary(self, best: Best) -> dict[str, Any]:
        """The content of `summary.json`. What the model does not have is absent."""
        progress, model = self.state.progress, self.state.model
        summary: dict[str, Any] = {
            "job_id": self.folder.job_id,
            "tag": self.config.base.tag,
            "dataset": self.inputs.manifest.dataset,
            "fingerprint": self.inputs.manifest.fingerprint,
            "subset": self.inputs.subset,
            "model_type": self.config.model.model_type,
            **describe(model, self.inputs.sample_shape),
            "epochs": progress.epoch,
            "steps": progress.step,
            "best_epoch": best.epoch,
            "seconds": round(progress.seconds, 1),
            **best.metrics,
        }
        if has_hard_mode(model):
            model.load_state_dict(best.model)
            summary["logic"] = logic_report(model)
        return summary

    def _status(self, state: str, **facts: object) -> None:
        progress = self.state.progress
        write_status(
            self.folder, state=state, epoch=progress.epoch, epochs=self.config.train.epochs, step=progress.step, **facts
        )

    def _say_start(self, plan: Plan) -> None:
        log.info("run folder: %s", self.folder.path)
        self._say_tensorboard()
        manifest, train = self.inputs.manifest, self.inputs.train
        tested = ", ".join(f"{name} {self.inputs.n_recordings[name]:,}" for name in self.inputs.evaluated)
        log.info(
            "%s from %s storage: %s training samples of %s recordings, %s recordings on %s%s",
            *(manifest.dataset, self.inputs.place_name, f"{train.n_samples:,}", f"{train.n_recordings:,}", tested),
            *(self.device, f"  [subset: {self.inputs.subset}]" if self.inputs.subset else ""),
        )
        if not plan.chooses_on_validation:
            log.info("no validation split: the best model is the last one")
        with closing(train.iterate(0)) as batches:
            sample = next(batches)
        found = preflight.estimate(self.state.model, sample, self.config.train, self.device)
        for line in preflight.report(found, self.storage, self.device):
            log.info("%s", line)

    def _say_folder(self) -> None:
        log.info("run folder: %s", self.folder.path)
        self._say_tensorboard()

    def _say_tensorboard(self) -> None:
        log.info("curves: tensorboard --logdir %s", self.folder.tensorboard)
