"""Epochs: train, evaluate, choose the best. Every loop can be entered and left between any two batches."""

import itertools
import logging
import math
import time
from collections.abc import Callable, Generator
from contextlib import closing, nullcontext
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

from difflogic_tonic.config.networks import DiffLogic
from difflogic_tonic.config.training import Train
from difflogic_tonic.data import Batch
from difflogic_tonic.errors import StorageError, TrainingDiverged
from difflogic_tonic.models import logits
from difflogic_tonic.nets.logic import hard_mode, set_temperature
from difflogic_tonic.nets.spiking.spikes import SpikeCounts
from difflogic_tonic.runs.metrics import Rows
from difflogic_tonic.train import lines
from difflogic_tonic.train.flat import count_flat_steps
from difflogic_tonic.train.losses import Loss, LossSum
from difflogic_tonic.train.optimizer import learning_rate_at, set_learning_rate
from difflogic_tonic.train.ranks import Ranks
from difflogic_tonic.train.rows import epoch_row, write_step_row
from difflogic_tonic.train.saving import Watch
from difflogic_tonic.train.scores import gaps, larger, score_of
from difflogic_tonic.train.spike_statistics import Look, look_at_spikes, metrics_of, spikes_of_step, warn_of_busy_layers
from difflogic_tonic.train.state import Best, Progress, Sums, TrainingState, copied_weights
from difflogic_tonic.train.step import train_step
from difflogic_tonic.train.tally import Tally
from difflogic_tonic.train.temperature import temperature_at

STEP_ROWS = 20
"""Rows of kind `step` in metrics.jsonl per epoch, at most."""

log = logging.getLogger(__name__)


class BatchSource(Protocol):
    """What `data.Batches` is."""

    def __len__(self) -> int: ...

    @property
    def n_samples(self) -> int: ...

    @property
    def batch_size(self) -> int: ...

    @property
    def n_recordings(self) -> int: ...

    def iterate(self, epoch: int, start: int = 0) -> Generator[Batch, None, None]: ...


@dataclass(frozen=True)
class Phase:
    """One evaluation of an epoch: a split, soft or (logic networks) hard. `n_recordings` are all those of the split."""

    split: str
    hard: bool
    n_recordings: int

    @property
    def name(self) -> str:
        return f"{self.split} (hard)" if self.hard else self.split


@dataclass(frozen=True)
class Plan:
    """What a run does, apart from its state.

    `logic` is the section of a logic network, else None; `counts_skipped`: steps can be skipped, and rows say how many.
    `seed` decides chance in the network. With `ranks`, batches are this process's parts of them.
    """

    config: Train
    classes: int
    view: str
    device: torch.device
    loss: Loss
    evaluation_loss: LossSum
    train: BatchSource
    evaluated: dict[str, BatchSource]
    phases: tuple[Phase, ...]
    counts_skipped: bool = False
    logic: DiffLogic | None = None
    subset: str | None = None
    seed: int = 0
    ranks: Ranks | None = None
    on_better: Callable[[Best], None] = lambda best: None
    on_epoch: Callable[[], None] = lambda: None

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps; the last may accumulate fewer batches."""
        return -(-len(self.train) // self.config.accumulate)

    def rate_at(self, step: int) -> float:
        """Learning rate of optimizer step `step` (from 0), not counting those that were skipped."""
        return learning_rate_at(self.config, step, self.steps_per_epoch)

    def temperature_at(self, step: int) -> float | None:
        """Temperature of optimizer step `step` (from 0); None where there is no logic network."""
        if self.logic is None:
            return None
        return temperature_at(self.logic, step, self.config.epochs * self.steps_per_epoch)

    @property
    def chooses_on_validation(self) -> bool:
        return any(phase.split == "val" for phase in self.phases)


def fit(state: TrainingState, plan: Plan, metrics: Rows, saver: Watch) -> bool:
    """Train until the epochs are over or validation stops getting better. False if asked to stop before that."""
    while not is_finished(state.progress, plan.config):
        started = time.perf_counter()
        if not train_epoch(state, plan, metrics, saver):
            return False
        if not evaluate_epoch(state, plan, saver):
            return False
        finish_epoch(state, plan, metrics)
        saver.after_epoch(time.perf_counter() - started)
    return True


def is_finished(progress: Progress, config: Train) -> bool:
    """Whether nothing is left to train under `config`, which may have changed since the run began."""
    return progress.epoch >= config.epochs or (progress.epoch > 0 and stops_early(progress, config))


def stops_early(progress: Progress, config: Train) -> bool:
    return config.early_stopping is not None and progress.epochs_without_better >= config.early_stopping


def train_epoch(state: TrainingState, plan: Plan, metrics: Rows, saver: Watch) -> bool:
    """The rest of the current epoch's batches. False if asked to stop."""
    progress, config = state.progress, plan.config
    row_every = max(1, plan.steps_per_epoch // STEP_ROWS)
    if progress.window.n_samples and progress.step and progress.step % row_every == 0:
        # The checkpoint is from a run that found no room for this row.
        write_step_row(progress, plan, metrics)
    if progress.batch >= len(plan.train):
        return True
    state.model.train()
    with (
        closing(plan.train.iterate(progress.epoch, progress.batch)) as batches,
        lines.bar(f"epoch {progress.epoch + 1}/{config.epochs}", len(plan.train), progress.batch) as bar,
    ):
        started = time.perf_counter()
        while group := [batch.to(plan.device) for batch in itertools.islice(batches, config.accumulate)]:
            # A skipped step moves neither the weights nor the schedule.
            progress.rate = plan.rate_at(progress.step - progress.skipped)
            set_learning_rate(state.optimizer, progress.rate)
            _set_temperature(state.model, plan, progress.step)
            with spikes_of_step(state.model, progress, config, group, plan.ranks):
                result = train_step(
                    *(state.model, state.optimizer, group, state.precision, plan.loss, config, progress.step + 1),
                    *(plan.seed, plan.ranks),
                )
            progress.batch += len(group)
            progress.step += 1
            progress.skipped += not result.stepped
            progress.evaluated = 0
            count_flat_steps(progress, result, plan.loss, plan.classes)
            for sums in (progress.epoch_sums, progress.window):
                sums.add(result.loss_sum, result.n_correct, result.n_samples)
            now = time.perf_counter()
            progress.train_seconds += now - started
            started = now
            if progress.step % row_every == 0:
                write_step_row(progress, plan, metrics)
            bar.advance(len(group), loss=result.loss_sum / result.n_samples)
            if saver.between_steps():
                return False
    return True


def evaluate_epoch(state: TrainingState, plan: Plan, saver: Watch) -> bool:
    """The rest of the current epoch's evaluations, at the temperature of the last step. False if asked to stop."""
    progress = state.progress
    _set_temperature(state.model, plan, max(0, progress.step - 1))
    while progress.phase < len(plan.phases):
        phase = plan.phases[progress.phase]
        if progress.tally is None:
            progress.tally = Tally.empty(phase.n_recordings, plan.classes)
            progress.spikes = SpikeCounts() if plan.config.measure_spikes and not phase.hard else None
        before = progress.tally.n_batches
        batches = plan.evaluated[phase.split]
        with (
            lines.bar(phase.name, len(batches), before) as bar,
            closing(
                evaluate(
                    *(state.model, batches, progress.tally, phase.hard, plan.device, plan.evaluation_loss),
                    look_at_spikes(state.model, progress.spikes, plan.config.measure_spikes, plan.ranks),
                    plan.ranks,
                )
            ) as counted,
        ):
            for seconds in counted:
                progress.evaluated += 1
                if phase.split == "val":
                    progress.val_seconds += seconds
                else:
                    progress.test_seconds += seconds
                bar.advance(1)
                if saver.between_steps():
                    return False
        if not math.isfinite(progress.tally.loss_sum):
            raise TrainingDiverged(f"step {progress.step}: the {phase.split} loss is {progress.tally.loss_sum}")
        progress.results.update(progress.tally.metrics(phase.split, plan.view, phase.hard))
        progress.results.update(metrics_of(progress.spikes, phase.split))
        if progress.spikes is not None and progress.epoch == 0:
            warn_of_busy_layers(progress.spikes.rates(), phase.split)
        progress.tally = progress.spikes = None
        progress.phase += 1
    return True


@torch.no_grad()
def evaluate(
    model: nn.Module,
    batches: BatchSource,
    tally: Tally,
    hard: bool,
    device: torch.device,
    loss: LossSum,
    look: Look | None = None,
    ranks: Ranks | None = None,
) -> Generator[float, None, None]:
    """Count the rest of `batches` into `tally`, in fp32; yields the seconds of each batch once it is counted.

    `look` is shown each batch, on `device`, after that. With `ranks`, batches are this process's parts of them; every
    process counts the whole.
    """
    model.eval()
    with (
        hard_mode(model) if hard else nullcontext(),
        closing(batches.iterate(0, tally.n_batches)) as rest,
    ):
        started = time.perf_counter()
        for batch in rest:
            there = batch.to(device)
            scores = logits(model, there)
            counted = (scores, batch.labels, batch.rows) if ranks is None else ranks.whole_batch(scores, batch)
            tally.add(*counted, loss)
            if look is not None:
                look(there, tally.n_batches - 1)
            yield time.perf_counter() - started
            started = time.perf_counter()


def finish_epoch(state: TrainingState, plan: Plan, metrics: Rows) -> None:
    """Write the epoch's row and line, keep the model if it is the best, and turn to the next epoch.

    If the row cannot be written, the progress is as before, so that a checkpoint taken then comes here again.
    """
    progress = state.progress
    before = vars(progress).copy()
    progress.epoch += 1
    progress.evaluated += 1  # a position of its own: the newest checkpoint must be told from the one before
    measured = progress.results | gaps(progress.results)
    score = score_of(measured)
    better = progress.best is None or not plan.chooses_on_validation or score > progress.best.score
    if better:
        weights = copied_weights(state.model)
        progress.best = Best(progress.epoch, progress.step, score, measured, weights)
    progress.measured = measured
    progress.maxima = larger(progress.maxima, measured, progress.epoch)
    progress.epochs_without_better = 0 if better else progress.epochs_without_better + 1
    row = epoch_row(state, plan, measured)
    progress.seconds += row["seconds"]
    try:
        metrics.append(row)
    except StorageError:
        vars(progress).update(before)
        raise
    progress.n_rows = metrics.n_rows
    log.info("%s", lines.epoch_line(row, progress, plan.config, plan.subset))
    progress.batch = progress.phase = 0
    progress.epoch_sums, progress.results, progress.train_spikes = Sums(), {}, None
    progress.train_seconds = progress.val_seconds = progress.test_seconds = 0.0
    if better and progress.best is not None:
        plan.on_better(progress.best)
    plan.on_epoch()


def _set_temperature(model: nn.Module, plan: Plan, step: int) -> None:
    temperature = plan.temperature_at(step)
    if temperature is not None:
        set_temperature(model, temperature)
