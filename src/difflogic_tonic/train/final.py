"""The last look at a finished run: what its chosen model says of every test recording, and what that costs.

It is computed again from the chosen weights instead of being kept from the epoch that they are of: checkpoints stay
small, and a run that is stopped here does it anew.
"""

import logging
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from difflogic_tonic.config import TrainConfig
from difflogic_tonic.data import Batch
from difflogic_tonic.nets.spiking.spikes import SpikeCounts
from difflogic_tonic.runs.predictions import Answers, Predictions
from difflogic_tonic.runs.signals import StopRequest
from difflogic_tonic.train import lines
from difflogic_tonic.train.fit import evaluate
from difflogic_tonic.train.inputs import Inputs, evaluation_phases
from difflogic_tonic.train.losses import LossSum, evaluation_loss
from difflogic_tonic.train.ranks import Ranks
from difflogic_tonic.train.spike_statistics import look_at_spikes, metrics_of
from difflogic_tonic.train.tally import Tally
from difflogic_tonic.train.temperature import set_temperature_after

LOOKS = 10
"""Batches whose spikes are counted, spread over the split, unless `train.measure_spikes` asks for more."""

log = logging.getLogger(__name__)


@dataclass
class Scores(Tally):
    """A tally that also keeps what it is told of every sample: recordings, labels, probabilities."""

    samples: list[tuple[Tensor, Tensor, Tensor]] = field(default_factory=list)

    def add(self, logits: Tensor, labels: Tensor, rows: Tensor, loss: LossSum) -> None:
        super().add(logits, labels, rows, loss)
        self.samples.append((rows.cpu(), labels.cpu(), logits.double().cpu().softmax(1)))

    def of_recordings(self) -> Answers:
        seen = (self.labels >= 0).nonzero().squeeze(1)
        return Answers.of(seen.numpy(), self.labels[seen].numpy(), self.probabilities[seen].numpy())

    def of_samples(self) -> Answers:
        rows, labels, probabilities = (torch.cat(parts).numpy() for parts in zip(*self.samples, strict=True))
        return Answers.of(rows, labels, probabilities)


@dataclass(frozen=True)
class FinalLook:
    """What was seen. `metrics`: of spikes, with names like `test_spikes_global_rate`, and the frames of a recording."""

    predictions: Predictions
    metrics: dict[str, Any]


def look_at_results(
    model: nn.Module,
    inputs: Inputs,
    config: TrainConfig,
    device: torch.device,
    step: int,
    stop: StopRequest,
    ranks: Ranks | None = None,
) -> FinalLook | None:
    """Evaluate `model`, chosen after optimizer step `step`, on the test split, or without one on validation.

    None if asked to stop, or if there is neither. Spikes of a spiking network are counted in some of the batches.
    With `ranks`, all processes do this together, and each sees all of it.
    """
    split = next((name for name in ("test", "val") if name in inputs.evaluated), None)
    if split is None:
        return None
    set_temperature_after(model, config, step, len(inputs.train))
    batches = inputs.evaluated[split]
    kinds: dict[str, Answers] = {}
    metrics: dict[str, Any] = {}
    for phase in evaluation_phases(model, inputs):
        if phase.split != split:
            continue
        tally = Scores.empty(phase.n_recordings, len(inputs.manifest.classes))
        assert isinstance(tally, Scores)
        counts = SpikeCounts() if config.model.model_type == "SNN" else None
        look = _Look(model, counts, _interval(len(batches), config.train.measure_spikes), ranks)
        with lines.bar(f"predictions, {phase.name}", len(batches)) as bar:
            for _ in evaluate(model, batches, tally, phase.hard, device, evaluation_loss(config), look, ranks):
                bar.advance(1)
                if stop:  # with ranks: agreed on in every batch
                    return None
        assert tally.n_samples == batches.n_samples, (tally.n_samples, batches.n_samples)
        suffix = "_hard" if phase.hard else ""
        kinds[f"recordings{suffix}"] = tally.of_recordings()
        if config.view == "frames":
            kinds[f"frames{suffix}"] = tally.of_samples()
        metrics |= metrics_of(counts, split)
        if config.view == "sequence":
            metrics[f"{split}_frames_per_recording"] = look.all_frames() / tally.n_samples
    return FinalLook(Predictions(split, tuple(inputs.manifest.classes), kinds), metrics)


class _Look:
    """Counts frames in every batch, and spikes in some."""

    def __init__(self, model: nn.Module, counts: SpikeCounts | None, every: int, ranks: Ranks | None) -> None:
        self._spikes = look_at_spikes(model, counts, every, ranks)
        self._ranks = ranks
        self._frames = 0

    def all_frames(self) -> int:
        """Of all batches, in all processes."""
        return self._frames if self._ranks is None else sum(self._ranks.collect(self._frames))

    def __call__(self, batch: Batch, number: int) -> None:
        self._frames += int(batch.lengths[: batch.place.own].sum())
        if self._spikes is not None:
            self._spikes(batch, number)


def _interval(n_batches: int, wanted: int) -> int:
    spread = max(1, n_batches // LOOKS)
    return min(spread, wanted) if wanted else spread
