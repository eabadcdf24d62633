"""Sequences of unequal length without their padding.

Samples are ordered from the longest to the shortest, and the steps laid one after the other: step t holds the first
`counts[t]` samples. Layers without memory see one batch of true frames (so that padding costs nothing and does not
enter a batch normalisation), and a neuron finds its own past at the same place in the step before.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class PackedSteps:
    """`counts[t]` samples in step t, never increasing; `order[i]` is the place in the batch of sample i."""

    counts: list[int]
    order: Tensor

    def pack(self, frames: Tensor) -> Tensor:
        """[T, B, ...] to [sum(counts), ...]."""
        return torch.cat([frames[t].index_select(0, self.order[:n]) for t, n in enumerate(self.counts)])

    def sum(self, values: Tensor) -> Tensor:
        """[sum(counts), N] summed over each sample's steps: [B, N], in the order of the batch."""
        n_samples = self.counts[0]
        total = values.new_zeros(n_samples, values.shape[1])
        for step in values.split(self.counts):
            total = total + F.pad(step, (0, 0, 0, n_samples - len(step)))
        return total[torch.argsort(self.order)]

    def repeat(self, values: Tensor) -> Tensor:
        """[B, ...], one value per sample from the longest to the shortest, to [sum(counts), ...]."""
        return torch.cat([values[:n] for n in self.counts])


def pack_steps(n_steps: int, n_samples: int, lengths: Tensor | None, device: torch.device) -> PackedSteps:
    """How a batch [n_steps, n_samples, ...] is packed. Raises `ValueError` for lengths outside 1 … n_steps."""
    if lengths is None:
        return PackedSteps([n_samples] * n_steps, torch.arange(n_samples, device=device))
    on_host = lengths.cpu()  # the number of samples in each step decides shapes
    if int(on_host.min()) < 1 or int(on_host.max()) > n_steps:
        raise ValueError(f"lengths from {on_host.min()} to {on_host.max()} in a batch of {n_steps} steps")
    counts = (on_host > torch.arange(int(on_host.max())).unsqueeze(1)).sum(dim=1).tolist()
    return PackedSteps(counts, torch.argsort(on_host, descending=True, stable=True).to(device))
