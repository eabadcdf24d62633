"""Spikes of training and of evaluations, counted in every so many batches, and what is said of them."""

import dataclasses
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from difflogic_tonic.config.training import Train
from difflogic_tonic.data import Batch
from difflogic_tonic.models import logits
from difflogic_tonic.nets.spiking.neurons import Neuron
from difflogic_tonic.nets.spiking.spikes import BUSY, SPARSE, SpikeCounts, counting, counting_spikes
from difflogic_tonic.train.ranks import Ranks
from difflogic_tonic.train.state import Progress

FRAMES_AT_ONCE = 64
"""Samples × steps that a look at an evaluation computes together. Layers that are listened to do without what saves
memory elsewhere, and a run that fits must not fail for its statistics."""

Look = Callable[[Batch, int], None]
"""Told of each batch of an evaluation, and its number from 0."""

log = logging.getLogger(__name__)


def look_at_spikes(model: nn.Module, counts: SpikeCounts | None, every: int, ranks: Ranks | None = None) -> Look | None:
    """What adds every `every`-th batch to `counts`; None for none. A call of its own, so that it changes no result.

    With `ranks`, every process adds what all have counted in their parts.
    """
    if counts is None or every == 0:  # 0: a resume no longer wants what its checkpoint had begun
        return None

    @torch.no_grad()
    def look(batch: Batch, number: int) -> None:
        if number % every == 0:
            found = SpikeCounts()
            if batch.place.own:
                with counting(model, found, together=len(batch)):
                    for part in in_parts(batch, max(1, FRAMES_AT_ONCE // steps_of(model, batch))):
                        logits(model, part)
                found.n_samples = batch.place.own
            for counted in [found] if ranks is None else ranks.collect(found):
                counts.add(counted)

    return look


def steps_of(model: nn.Module, batch: Batch) -> int:
    """How many steps `model` computes for a sample of `batch`."""
    frames = batch.inputs.shape[1] if batch.inputs.dim() == 3 else 1
    inputs = getattr(model, "inputs", None)
    return max(frames, getattr(inputs, "image_steps", None) or 1)


def in_parts(batch: Batch, size: int) -> Iterator[Batch]:
    """`batch`, of an evaluation and on its device, `size` samples at a time."""
    for first in range(0, len(batch), size):
        here = slice(first, first + size)
        yield dataclasses.replace(
            batch,
            inputs=batch.inputs[here],
            labels=batch.labels[here],
            lengths=batch.lengths[here],
            rows=batch.rows[here],
            keys=None if batch.keys is None else batch.keys[here],
            part=None,
        )


@contextmanager
def spikes_of_step(
    model: nn.Module, progress: Progress, config: Train, batches: Sequence[Batch], ranks: Ranks | None = None
) -> Iterator[None]:
    """Count what `batches` cause in the optimizer step inside, if it is one that is looked at: the first of an epoch,
    and every `train.measure_spikes`-th from there.

    They are the spikes that training itself computes, with dropout and with the statistics of the batch. With `ranks`,
    every process adds what all have counted in their parts; one that has no part of a batch counts nothing.
    """
    every = config.measure_spikes
    if not every or progress.batch // config.accumulate % every or not has_neurons(model):
        yield
        return
    found = SpikeCounts(n_samples=sum(batch.place.own for batch in batches))
    with counting_spikes(model, found):
        yield
    if not all(batch.place.own for batch in batches):
        found = SpikeCounts()
    progress.train_spikes = progress.train_spikes or SpikeCounts()
    for part in [found] if ranks is None else ranks.collect(found):
        progress.train_spikes.add(part)


def has_neurons(model: nn.Module) -> bool:
    """Whether there is anything that spikes."""
    return any(isinstance(module, Neuron) for module in model.modules())


def metrics_of(counts: SpikeCounts | None, split: str) -> dict[str, Any]:
    """The counts under names like `test_spikes_global_rate`; empty without any."""
    return {} if counts is None else {f"{split}_{name}": value for name, value in counts.metrics().items()}


def rates_in(metrics: dict[str, Any], split: str) -> dict[str, float]:
    """Layer → spikes per neuron and step, from metrics with names like `test_spikes_rate_<layer>`."""
    head = f"{split}_spikes_rate_"
    return {name.removeprefix(head): rate for name, rate in metrics.items() if name.startswith(head)}


def warn_of_busy_layers(rates: dict[str, float], split: str) -> None:
    """Say which layers are no longer sparse."""
    for name, rate in rates.items():
        if rate > BUSY:
            log.warning(
                "%s: layer %s spikes %.2f times per neuron and step, above %g: not sparse; fewer steps, a smaller "
                "learning rate or a higher threshold make it quieter",
                *(split, name, rate, BUSY),
            )


def warn_of_silent_layers(rates: dict[str, float], split: str) -> None:
    """Say which layers have not spiked at all: what is behind them sees nothing."""
    for name, rate in rates.items():
        if rate == 0:
            log.warning(
                "%s: layer %s never spikes, so the layers behind it learn nothing of their input; a lower threshold, a "
                "larger learning rate or batch normalisation in front of it wake it up",
                *(split, name),
            )


def spike_lines(metrics: dict[str, Any], split: str) -> list[str]:
    """The counts of one evaluation in two lines; none where nothing was counted."""
    if f"{split}_spikes_global_rate" not in metrics:
        return []
    parts = [
        f"{metrics[f'{split}_spikes_global_rate']:.4f} per neuron and step, "
        f"{metrics[f'{split}_spikes_per_sample']:,.0f} per sample"
    ]
    if f"{split}_synops_per_sample" in metrics:
        parts.append(
            f"{metrics[f'{split}_synops_per_sample']:,.0f} SynOps and {metrics[f'{split}_macs_per_sample']:,.0f} MACs "
            "per sample"
        )
    layers = ", ".join(f"{name} {rate:.4f}{_verdict(rate)}" for name, rate in rates_in(metrics, split).items())
    return [
        f"{split} spikes: {'; '.join(parts)} (mean of {metrics[f'{split}_spikes_samples']:,})",
        f"{split} spikes by layer: {layers}",
    ]


def _verdict(rate: float) -> str:
    if rate > BUSY:
        return " (busy)"
    return " (sparse)" if 0 < rate <= SPARSE else ""
