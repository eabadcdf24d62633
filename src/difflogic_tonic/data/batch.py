"""A batch as it travels to the device (bytes as on disk), and its expansion to numbers there.

Turning u8 into f32 on the host costs more than reading it, and the bus would carry four times the bytes: the expansion
is the first thing the device does.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from difflogic_tonic.data.augment_device import Pending


@dataclass(frozen=True)
class Mixed:
    """A second label for each of B samples, i64[B], and the share of its own label, f32[B] in [0.5, 1]."""

    labels: Tensor
    weights: Tensor


@dataclass(frozen=True)
class Part:
    """The samples of a batch that one of several processes has: `own` from place `first` on, of `total`.

    `own` 0, where there are fewer samples than processes: the batch holds one that counts nothing, so that networks
    need not know of empty batches.
    """

    first: int
    own: int
    total: int


@dataclass(frozen=True)
class Batch:
    """B samples with their frames as stored: u8 counts, or `packed` bits (ceil(P*H*W/8) bytes a frame, low bit first).

    `inputs` is u8[B, bytes] for single frames and u8[B, T, bytes] otherwise, zero beyond a recording's last frame.
    `labels` i64[B]; `lengths` i64[B], the number of true frames; `rows` i64[B], the recording's row in its split.
    `mixed`: the second labels of a batch that augmentation mixed with other samples.
    `keys` i64[B] decide what a network draws for each sample, such as random spikes; None if none does.
    `pending`: augmentation that `to` does on its way; until then `inputs` are as stored.
    `part`: which samples of a batch these are, where several processes share it; None for all.
    """

    inputs: Tensor
    labels: Tensor
    lengths: Tensor
    rows: Tensor
    packed: bool
    frame_shape: tuple[int, int, int]
    view: str
    mixed: Mixed | None = None
    keys: Tensor | None = None
    pending: "Pending | None" = None
    part: Part | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def place(self) -> Part:
        """`part`, or that of all samples."""
        return self.part or Part(0, len(self), len(self))

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch with its tensors on `device`; a copy from pinned memory does not block."""
        inputs, labels, lengths, rows = (
            tensor.to(device, non_blocking=True) for tensor in (self.inputs, self.labels, self.lengths, self.rows)
        )
        mixed = self.mixed and Mixed(*(part.to(device) for part in (self.mixed.labels, self.mixed.weights)))
        keys = None if self.keys is None else self.keys.to(device, non_blocking=True)
        there = replace(
            self, inputs=inputs, labels=labels, lengths=lengths, rows=rows, mixed=mixed, keys=keys, pending=None
        )
        return there if self.pending is None else self.pending.apply(there, device)

    def mask(self) -> Tensor:
        """bool[T, B], the first two axes of a sequence in `expand`: True where a frame is the recording's own."""
        steps = self.inputs.shape[1] if self.inputs.dim() == 3 else 1
        return torch.arange(steps, device=self.lengths.device).unsqueeze(1) < self.lengths

    def targets(self, classes: int) -> Tensor:
        """What a loss compares with: the labels i64[B], or the shares of all classes f32[B, classes] if mixed."""
        if self.mixed is None:
            return self.labels
        own, other = (F.one_hot(labels, classes) for labels in (self.labels, self.mixed.labels))
        weights = self.mixed.weights.unsqueeze(1)
        return weights * own + (1 - weights) * other


def expand(batch: Batch, dtype: torch.dtype = torch.float32) -> Tensor:
    """Frames as numbers on the batch's device: counts as they are, bits as 0 and 1.

    [B, P, H, W] for view `frames`, [T, B, P, H, W] for `sequence`, [B, T*P, H, W] for `stacked`.
    """
    frames = batch.inputs
    polarities, height, width = batch.frame_shape
    if batch.view == "sequence":
        frames = frames.transpose(0, 1)  # as bytes, where the copy is smallest
    values = unpack_bits(frames, polarities * height * width, dtype) if batch.packed else frames.to(dtype)
    if batch.view == "stacked":
        return values.reshape(len(batch), -1, height, width)
    return values.reshape(*frames.shape[:-1], polarities, height, width)


def unpack_bits(packed: Tensor, n: int, dtype: torch.dtype) -> Tensor:
    """u8[..., ceil(n/8)] in little bit order to 0/1 in `dtype`[..., n], contiguous."""
    whole_bytes = _eight_values(packed.device).index_select(0, packed.flatten().int())
    values = whole_bytes.view(torch.uint8).view(*packed.shape[:-1], -1)
    return values[..., :n].to(dtype).contiguous()


@lru_cache
def _eight_values(device: torch.device) -> Tensor:
    """The eight 0/1 bytes of every packed byte, as one i64[256]: a table is 3.5 times as fast as shifts on a CPU."""
    bits = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little")
    return torch.from_numpy(bits).view(torch.int64).flatten().to(device)
