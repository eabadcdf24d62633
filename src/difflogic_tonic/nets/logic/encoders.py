"""Event counts, or pixels of an image, to bits: thermometer codes, one bit per threshold that the count reaches."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

BRIGHTEST = 255

SORTED_AT_ONCE = 2**24
"""Counts; sorting takes more than 12 bytes for each."""


class Thermometer(nn.Module):
    """Counts [batch, ...], features = product of the rest -> bool[batch, levels * features], level by level.

    Bit (l, f) says whether count f is at least `thresholds[l]` (float[levels], for all features) or `thresholds[l, f]`
    (float[levels, features]). The thresholds are a buffer: they travel with the weights.
    """

    thresholds: Tensor

    def __init__(self, thresholds: Tensor) -> None:
        super().__init__()
        assert thresholds.dim() in (1, 2), thresholds.shape
        assert float(thresholds.min()) > 0, thresholds
        self.register_buffer("thresholds", thresholds.float().reshape(len(thresholds), -1))

    @property
    def levels(self) -> int:
        return self.thresholds.shape[0]

    def forward(self, counts: Tensor) -> Tensor:
        counts = counts.flatten(1).unsqueeze(1)
        if counts.dtype == torch.uint8:
            # Bytes with bytes: a quarter of the time of floats. At least t is more than t - 1, and no byte is more
            # than 255, so thresholds that no byte reaches stay out of reach.
            return (counts > (self.thresholds.ceil() - 1).clamp(0, BRIGHTEST).to(torch.uint8)).flatten(1)
        return (counts >= self.thresholds).flatten(1)

    def extra_repr(self) -> str:
        return f"levels={self.levels}"


def fixed_thresholds(levels: int) -> Tensor:
    """1, 2, ..., levels: the first bit is "at least one event"."""
    return torch.arange(1.0, levels + 1)


def even_thresholds(levels: int) -> Tensor:
    """For pixels from 0 to 255: the l-th of L, counted from 1, is l / (L + 1) of 256, rounded up."""
    return torch.tensor([-(-(BRIGHTEST + 1) * level // (levels + 1)) for level in range(1, levels + 1)]).float()


def listed_thresholds(thresholds: Sequence[int]) -> Tensor:
    """Thresholds of one's own."""
    return torch.tensor(list(thresholds)).float()


def distributive_thresholds(counts: Tensor, levels: int) -> Tensor:
    """Thresholds [levels, features] that split the positive counts of each feature into equal shares.

    counts: whole numbers [samples, features], a sample of the training set. The first threshold is the smallest
    positive count seen; the l-th of L is the quantile l / L of the positive ones, and at least 1 above the one before
    it, so that no bit repeats another. A feature that never fired gets 1, 2, ..., L.
    """
    counts = counts.flatten(1)
    parts = counts.split(max(1, SORTED_AT_ONCE // len(counts)), 1)
    return torch.cat([_quantiles(part.float(), levels) for part in parts], 1)


def _quantiles(counts: Tensor, levels: int) -> Tensor:
    ordered = counts.masked_fill(counts <= 0, torch.inf).sort(0).values  # positive ones first, ascending
    positive = (counts > 0).sum(0)
    rows = torch.empty(levels, counts.shape[1])
    below = torch.zeros(counts.shape[1])
    for level in range(levels):
        rank = (positive * level // levels).clamp(max=len(counts) - 1)
        quantile = ordered.gather(0, rank.unsqueeze(0))[0]
        wanted = torch.where(positive > 0, quantile, torch.zeros_like(quantile))
        below = torch.maximum(wanted, below + 1)
        rows[level] = below
    return rows
