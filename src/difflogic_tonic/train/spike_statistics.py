"""Spikes of an evaluation, counted in every so many of its batches, and what is said of them."""

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from difflogic_tonic.data import Batch
from difflogic_tonic.models import logits
from difflogic_tonic.nets.spiking.spikes import BUSY, SpikeCounts, counting
from difflogic_tonic.train.ranks import Ranks

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
                with counting(model, found):
                    logits(model, batch)
                found.n_samples = batch.place.own
            for part in [found] if ranks is None else ranks.collect(found):
                counts.add(part)

    return look


def metrics_of(counts: SpikeCounts | None, split: str) -> dict[str, Any]:
    """The counts under names like `test_spikes_global_rate`; empty without any."""
    return {} if counts is None else {f"{split}_{name}": value for name, value in counts.metrics().items()}


def warn_of_busy_layers(counts: SpikeCounts, split: str) -> None:
    """Say which layers are no longer sparse."""
    for name, rate in counts.busy_layers().items():
        log.warning(
            "%s: layer %s spikes %.2f times per neuron and step, above %g: not sparse; fewer steps, a smaller learning "
            "rate or a higher threshold make it quieter",
            *(split, name, rate, BUSY),
        )


def spike_lines(metrics: dict[str, Any], split: str) -> list[str]:
    """The counts of one evaluation in two lines; none where nothing was counted."""
    head = f"{split}_spikes_rate_"
    if f"{split}_spikes_global_rate" not in metrics:
        return []
    layers = [f"{name.removeprefix(head)} {rate:.4f}" for name, rate in metrics.items() if name.startswith(head)]
    return [
        f"{split} spikes: {metrics[f'{split}_spikes_global_rate']:.4f} per neuron and step, "
        f"{metrics[f'{split}_spikes_per_sample']:,.0f} per sample; "
        f"{metrics[f'{split}_synops_per_sample']:,.0f} SynOps and {metrics[f'{split}_macs_per_sample']:,.0f} MACs per "
        f"sample (mean of {metrics[f'{split}_spikes_samples']:,})",
        f"{split} spikes by layer: {', '.join(layers)}",
    ]
