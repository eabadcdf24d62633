"""Augmentation on the device of the training, in integers as in `augment_kernels`: the result is the same bytes."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from difflogic_tonic.data.augment_kernels import ONE
from difflogic_tonic.data.batch import unpack_bits
from difflogic_tonic.data.draws import sixteen_bits

if TYPE_CHECKING:
    from difflogic_tonic.data.augment import Mixes, Moves
    from difflogic_tonic.data.batch import Batch


@dataclass(frozen=True)
class Raw:
    """Frames as stored, u8[B, T, bytes], and the fields of `Moves` for them, i64[8, B]: see `stacked_moves`."""

    frames: Tensor
    moves: Tensor

    def to(self, device: torch.device | str) -> "Raw":
        return Raw(self.frames.to(device, non_blocking=True), self.moves.to(device, non_blocking=True))


@dataclass(frozen=True)
class Pending:
    """What is still to be done to a batch, drawn on the host.

    `steps`: frames of a sample afterwards; `noise`: see `Augmenter.thresholds`, and the highest value. `others` are the
    M samples to be mixed in and `mixes` i64[8, M]: see `stacked_mixes`.
    """

    moves: Tensor
    steps: int
    noise: tuple[int, int, int]
    others: Raw | None
    mixes: Tensor | None

    def apply(self, batch: "Batch", device: torch.device | str) -> "Batch":
        """`batch`, which is on `device`, with augmented frames of one byte a pixel."""
        own = Raw(batch.inputs if batch.inputs.dim() == 3 else batch.inputs.unsqueeze(1), self.moves).to(device)
        frames = self._moved(own, batch)
        if self.others is not None and self.mixes is not None:
            others = self._moved(self.others.to(device), batch)
            _mix(frames, batch.lengths, others, self.mixes.to(device, non_blocking=True))
        inputs = frames.flatten(2)
        return replace(
            batch, inputs=inputs.squeeze(1) if batch.view == "frames" else inputs, packed=False, pending=None
        )

    def _moved(self, raw: Raw, batch: "Batch") -> Tensor:
        """u8[B, steps, P, H, W]."""
        polarities, height, width = batch.frame_shape
        n = polarities * height * width
        flip, right, down, cosine, sine, skip, kept, keys = raw.moves
        values = unpack_bits(raw.frames, n, torch.uint8) if batch.packed else raw.frames
        time = torch.arange(self.steps, device=values.device)
        own = (time < kept.unsqueeze(1)).unsqueeze(2)
        taken = (time + skip.unsqueeze(1)).clamp(max=values.shape[1] - 1)
        values = values[torch.arange(len(values), device=values.device).unsqueeze(1), taken]
        source, inside = _sources(height, width, flip, right, down, cosine, sine)
        planes = values.unflatten(2, (polarities, height * width))
        moved = planes.gather(3, source[:, None, None].expand_as(planes)) * inside[:, None, None]
        frames = moved.flatten(2)
        zero_below, highest_from, highest = self.noise
        if zero_below or highest_from < ONE:
            draws = sixteen_bits(keys, self.steps, n)
            frames = frames.masked_fill(draws < zero_below, 0).masked_fill(draws >= highest_from, highest)
        return (frames * own).unflatten(2, batch.frame_shape)


def stacked_moves(moves: "Moves") -> Tensor:
    """i64[8, B]; keys keep their bits."""
    fields = (moves.flip, moves.right, moves.down, moves.cosine, moves.sine, moves.skip, moves.kept)
    return torch.from_numpy(np.stack([*(field.astype(np.int64) for field in fields), moves.pixels.view(np.int64)]))


def stacked_mixes(mixes: "Mixes") -> Tensor:
    """i64[8, M]: into, boxed, weights, the four sides of the box, rounding."""
    fields = (mixes.into, mixes.boxed.astype(np.int64), mixes.weights, *mixes.boxes.T, mixes.rounding.view(np.int64))
    return torch.from_numpy(np.stack(fields))


def _sources(
    height: int, width: int, flip: Tensor, right: Tensor, down: Tensor, cosine: Tensor, sine: Tensor
) -> tuple[Tensor, Tensor]:
    """Where each pixel comes from, i64[B, H*W], and u8[B, H*W] whether that is in the frame: see `augment_kernels`."""
    flip, right, down, cosine, sine = (each[:, None, None] for each in (flip, right, down, cosine, sine))
    across = 2 * (torch.arange(width, device=flip.device) - right) - (width - 1)
    along = 2 * (torch.arange(height, device=flip.device).unsqueeze(1) - down) - (height - 1)
    column = (cosine * across + sine * along + width * ONE) >> 17
    row = (cosine * along - sine * across + height * ONE) >> 17
    column = torch.where(flip > 0, width - 1 - column, column)
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    return torch.where(inside, row * width + column, 0).flatten(1), inside.to(torch.uint8).flatten(1)


def _mix(frames: Tensor, kept: Tensor, others: Tensor, mixes: Tensor) -> None:
    """In place: others u8[M, T, P, H, W] into u8[B, T, P, H, W]."""
    into, boxed, weights, top, left, bottom, right, rounding = mixes
    steps, height, width = frames.shape[1], *frames.shape[3:]
    own = frames[into]
    share = weights.int()[:, None, None]
    draws = sixteen_bits(rounding, steps, own[0, 0].numel())
    blend = share * own.flatten(2).int() + (ONE - share) * others.flatten(2).int() + draws
    blended = (blend >> 16).to(torch.uint8).view_as(own)
    y, x = torch.arange(height, device=own.device).unsqueeze(1), torch.arange(width, device=own.device)
    top, left, bottom, right = (side[:, None, None] for side in (top, left, bottom, right))
    box = ((y >= top) & (y < bottom) & (x >= left) & (x < right))[:, None, None]
    mixed = torch.where(boxed.bool()[:, None, None, None, None], torch.where(box, others, own), blended)
    true = torch.arange(steps, device=own.device) < kept[into].unsqueeze(1)
    frames[into] = torch.where(true[:, :, None, None, None], mixed, own)
