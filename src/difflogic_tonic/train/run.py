"""One run with everything open: train, save, say what came out."""

import dataclasses
import logging
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from difflogic_tonic.config import TrainConfig
from difflogic_tonic.errors import CacheError, StorageError
from difflogic_tonic.models import describe
from difflogic_tonic.models.discretise import netlist_report
from difflogic_tonic.nets.logic import has_hard_mode, logic_report
from difflogic_tonic.runs.checkpoint import Checkpoints
from difflogic_tonic.runs.folder import RunFolder, check_present
from difflogic_tonic.runs.metrics import MetricsLog, NoRows, read_metrics
from difflogic_tonic.runs.model_file import ModelFile, save_model
from difflogic_tonic.runs.outage import Outage
from difflogic_tonic.runs.patience import PatientMetrics
from difflogic_tonic.runs.signals import StopNow, StopRequest
from difflogic_tonic.runs.status import write_status
from difflogic_tonic.runs.wandb_sink import sending_rows
from difflogic_tonic.runs.writer import CheckpointWriter
from difflogic_tonic.storage import Storage, storage_errors, write_json
from difflogic_tonic.train import lines, preflight
from difflogic_tonic.train.final import FinalLook, look_at_results
from difflogic_tonic.train.fit import Plan, fit, is_finished
from difflogic_tonic.train.grace import Grace, Kept, save_kept
from difflogic_tonic.train.inputs import Inputs, evaluation_phases
from difflogic_tonic.train.losses import evaluation_loss, training_loss
from difflogic_tonic.train.ranks import Ranks
from difflogic_tonic.train.rows import over_all_epochs
from difflogic_tonic.train.saving import OnlyStops, Saver
from difflogic_tonic.train.spike_statistics import rates_in, spike_lines, warn_of_busy_layers, warn_of_silent_layers
from difflogic_tonic.train.standing import Standing
from difflogic_tonic.train.state import Best, TrainingState, copied_weights

log = logging.getLogger(__name__)

_NAMES = {"off": "fp32", "bf16": "bf16, weights in fp32", "fp16": "fp16, weights in fp32"}


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
    ranks: Ranks | None = None
    outage: Outage = field(default_factory=lambda: Outage("models"))
    standing: Standing = field(default_factory=lambda: Standing(None))

    def train(self, stop: StopRequest) -> int:
        """Train to the end or until asked to stop, and save either way."""
        plan = self.plan()
        self._say_start(plan)
        if self.state.progress.best is not None:
            self.save_best(self.state.progress.best)  # the file may come from after the checkpoint
        progress = self.state.progress
        metrics = PatientMetrics(self.folder.metrics, self.folder.tensorboard, progress.n_rows, progress.unwritten)
        progress.n_rows = metrics.n_rows
        writer = CheckpointWriter(self.checkpoints, self.storage)
        grace = Grace(stop, self.config.train.grace_seconds, lambda kept: self._save_kept(kept, stop, metrics, writer))
        saver = Saver(
            *(self.state, metrics, writer, stop, 60 * self.config.train.checkpoint_interval_minutes),
            grace=grace,
            on_save=self.standing.saved,
            on_minute=lambda: self._status("running"),
        )
        self._let_stop_end_copying(stop)
        self._status("running")
        if not is_finished(self.state.progress, plan.config):
            for path in (self.folder.summary, self.folder.predictions, self.folder.confusion):
                with storage_errors(path):
                    path.unlink(missing_ok=True)  # of an earlier end with fewer epochs
        logging_config = self.config.logging
        with (
            closing(grace),
            sending_rows(
                metrics, logging_config.wandb, logging_config.wandb_project, self.folder, self.config.to_dict()
            ),
        ):
            finished = self._fit(plan, metrics, saver, writer, grace)
            self._save_last(finished)
            if not finished:
                return self._stopped(stop)
            grace.finish()
            metrics.finish()
            self.save("best", self._best())
            seen = self._look_at_best(stop)
            if seen is None and stop:
                return self._stopped(stop)
            self._finish(self._best(), seen)
        return 0

    def _fit(self, plan: Plan, metrics: PatientMetrics, saver: Saver, writer: CheckpointWriter, grace: Grace) -> bool:
        """Train and save. False if asked to stop before the end."""
        try:
            finished = fit(self.state, plan, metrics, saver)
            grace.obey()
            saver.save_and_wait()
        except StopNow:  # while prepared frames were copied again, so between two steps
            finished = False
            grace.obey()
            saver.save_and_wait()
        except (StorageError, CacheError):
            # Scratch may be cleaned under a running job, and one place be full while the other is not. No step was
            # half-done, so nothing need be lost.
            grace.obey()
            self._save_after_failure(saver)
            raise
        finally:
            writer.close()
        return finished

    def _save_kept(self, kept: Kept | None, stop: StopRequest, metrics: MetricsLog, writer: CheckpointWriter) -> None:
        """The run is inside something long and will be killed there: write what was kept of the boundary before it."""
        if kept is not None:
            self.standing.saved()
        safe = save_kept(kept, writer, metrics.sync, self.checkpoints)
        self._status("stopped", exit_code=stop.exit_code, reason=stop.reason, step=0 if safe is None else safe.step)

    def follow(self, stop: StopRequest) -> int:
        """`train` as a process of several that writes nothing."""
        plan = dataclasses.replace(self.plan(), on_better=lambda best: None, on_epoch=lambda: None)
        if not fit(self.state, plan, NoRows(), OnlyStops(stop)):
            return stop.exit_code
        seen = self._look_at_best(stop)
        return stop.exit_code if seen is None and stop else 0

    def _look_at_best(self, stop: StopRequest) -> FinalLook | None:
        """Load the chosen weights into the network and see what it does with the test data; None if asked to stop."""
        best = self._best()
        self.state.model.load_state_dict(best.model)
        try:
            return look_at_results(self.state.model, self.inputs, self.config, self.device, best.step, stop, self.ranks)
        except StopNow:  # while prepared frames were copied again
            return None

    def _best(self) -> Best:
        best = self.state.progress.best
        assert best is not None, self.state.progress
        return best

    def _let_stop_end_copying(self, stop: StopRequest) -> None:
        """A stop also ends the waiting for frames that are copied again after they went away, with `StopNow`."""

        def watch() -> None:
            if stop:
                raise StopNow(stop.reason)

        if self.inputs.returning is not None and self.ranks is None:  # several stop together, between two steps
            self.inputs.returning.watch = watch

    def plan(self) -> Plan:
        return Plan(
            config=self.config.training,
            classes=len(self.inputs.manifest.classes),
            view=self.config.view,
            device=self.device,
            loss=training_loss(self.config),
            evaluation_loss=evaluation_loss(self.config),
            train=self.inputs.train,
            evaluated=dict(self.inputs.evaluated),
            phases=evaluation_phases(self.state.model, self.inputs),
            counts_skipped=self.state.precision.scaler is not None,
            logic=self.config.model.difflogic if self.config.model.model_type == "DiffLogic" else None,
            subset=self.inputs.subset,
            seed=self.config.base.seed,
            ranks=self.ranks,
            on_better=self.save_best,
            on_epoch=self._after_epoch,
        )

    def _after_epoch(self) -> None:
        self._status("running")
        self.standing.compare(self.state.progress, self.config.train.epochs)

    def model_path(self, which: str) -> Path:
        return self.storage.project.models_dir(self.folder.job_id) / f"{which}.pt"

    def save_best(self, best: Best) -> None:
        """Write `best.pt`. It is in every checkpoint as well, so a full disk is a warning until the end."""
        try:
            self.save("best", best)
        except StorageError as error:
            self.outage.failed(f"{error}; the best model waits, in every checkpoint too, and training goes on")
        else:
            self.outage.over()

    def save(self, which: str, trained: Best) -> None:
        check_present(self.folder)
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
                code=identity.code,
            ),
        )

    def _save_after_failure(self, saver: Saver) -> None:
        try:
            saver.save_and_wait()
        except StorageError as error:
            log.warning("%s", error)

    def _save_last(self, finished: bool) -> None:
        """Write `last.pt`. A run that was stopped has its checkpoint, which is what a requeued job needs."""
        try:
            self.save("last", self._last())
        except StorageError as error:
            if finished:
                raise
            log.warning("%s", error)

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

    def _finish(self, best: Best, seen: FinalLook | None) -> None:
        summary = self.summary(best)
        if seen is not None:
            seen.predictions.save(self.folder.predictions)
            seen.predictions.save_confusion(self.folder.confusion)
            summary |= seen.metrics
        summary |= over_all_epochs(read_metrics(self.folder.metrics))
        if self.state.progress.epoch < self.config.train.epochs:
            summary["stopped_early"] = True
            log.info("early stopping: no better validation for %d epochs", self.state.progress.epochs_without_better)
        write_json(self.folder.summary, summary)
        self._status("finished", exit_code=0)
        for line in lines.final_lines(best.metrics, self.inputs.subset):
            log.info("%s", line)
        for split in lines.EVALUATED:
            for line in spike_lines(summary, split):
                log.info("%s", line)
            warn_of_busy_layers(rates_in(summary, split), split)
            warn_of_silent_layers(rates_in(summary, split), split)
        if maxima := lines.maxima_line(self.state.progress):
            log.info("%s", maxima)
        if "netlist" in summary:
            log.info("%s", lines.gate_line(summary["netlist"]))
        log.info("model: %s", self.model_path("best"))
        self._say_folder()

    def summary(self, best: Best) -> dict[str, Any]:
        """The content of `summary.json`, of the model with the weights of `best`. What it does not have is absent."""
        progress, model = self.state.progress, self.state.model
        summary: dict[str, Any] = {
            "job_id": self.folder.job_id,
            "tag": self.config.base.tag,
            "dataset": self.inputs.manifest.dataset,
            "fingerprint": self.inputs.manifest.fingerprint,
            "subset": self.inputs.subset,
            "model_type": self.config.model.model_type,
            "view": self.config.view,
            **describe(model, self.inputs.sample_shape),
            "learning_rate": self.config.training.rate,
            "epochs": progress.epoch,
            "steps": progress.step,
            "best_epoch": best.epoch,
            "seconds": round(progress.seconds, 1),
            **best.metrics,
            "amp": self.state.precision.amp,
        }
        if self.state.identity.code:
            summary["code"] = self.state.identity.code
        if self.state.precision.scaler is not None:
            summary["amp_skipped"] = progress.skipped
        for name, (accuracy, epoch) in progress.maxima.items():
            summary[f"{name}_max"], summary[f"{name}_max_epoch"] = accuracy, epoch
        if has_hard_mode(model):
            summary["logic"] = logic_report(model)
            summary["netlist"] = netlist_report(model)
        return summary

    def _status(self, state: str, **facts: object) -> None:
        where = self.standing.facts(self.state.progress, self.config.train.epochs)
        write_status(self.folder, state=state, **(where | facts))

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
        log.info("learning rate %g%s", plan.config.rate, "" if self.config.train.learning_rate else " (the default)")
        log.info("computes in %s (train.amp: %s)", _NAMES[self.state.precision.amp], self.config.train.amp)
        if not plan.chooses_on_validation:
            log.info("no validation split: the best model is the last one")
        with closing(train.iterate(0)) as batches:
            sample = next(batches)
        world = 1 if self.ranks is None else self.ranks.world
        share = -(-self.config.train.dataloader.batch_size // world)
        found = preflight.estimate(
            *(self.state.model, sample, self.config.train, self.device, self.state.precision), samples=share
        )
        for line in preflight.report(found, self.storage, self.device, self.checkpoints):
            log.info("%s", line)

    def _say_folder(self) -> None:
        log.info("run folder: %s", self.folder.path)
        self._say_tensorboard()

    def _say_tensorboard(self) -> None:
        log.info("curves: %s", lines.tensorboard_command(self.folder.tensorboard))
