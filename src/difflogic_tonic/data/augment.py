"""Augmentation of training batches: what happens to each sample, drawn from (seed, epoch, sample), and doing it.

A sample is one draw: all frames of a recording move alike. What is drawn depends on nothing else, so batch size,
number of threads and a resume change nothing. The order: mirror, turn, move, leave frames out, empty pixels and noise,
and then mix with another sample that has been through the same.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

from difflogic_tonic.config.augment import Augment
from difflogic_tonic.data import augment_kernels as kernels
from difflogic_tonic.data.augment_device import Pending, Raw, stacked_mixes, stacked_moves
from difflogic_tonic.data.draws import Words, integers, keys, uniform

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

ONE = kernels.ONE

# One constant per purpose, so that two purposes never share a stream; they must not change.
_FLIP, _RIGHT, _DOWN, _ANGLE, _TIME, _PIXELS, _KIND, _PARTNER, _WEIGHT, _BOX_X, _BOX_Y, _ROUND = range(12)


@dataclass(frozen=True)
class Moves:
    """What `augment_kernels.move` does to each of B samples, and the keys of their pixels' draws.

    flip bool[B]; right, down i64[B] pixels; cosine, sine i64[B] in units of 1/65536; skip, kept i64[B] frames left out
    at the beginning and kept after them; pixels u64[B].
    """

    flip: npt.NDArray[np.bool_]
    right: I64
    down: I64
    cosine: I64
    sine: I64
    skip: I64
    kept: I64
    pixels: Words


@dataclass(frozen=True)
class Mixes:
    """Which M samples of a batch are mixed with which other one.

    into i64[M], positions in the batch; partners i64[M], positions among all samples of the epoch; boxed bool[M]:
    a rectangle (cutmix) instead of a blend (mixup); weights i64[M], the share of the own sample in units of 1/65536;
    boxes i64[M, 4] top, left, bottom, right; rounding u64[M], the keys of the blend's draws.
    """

    into: I64
    partners: I64
    boxed: npt.NDArray[np.bool_]
    weights: I64
    boxes: I64
    rounding: Words


class Augmenter:
    """Draws for the samples of one training split. `highest` is what noise sets a pixel to, besides 0."""

    def __init__(self, config: Augment, seed: int, highest: int) -> None:
        self.config = config
        self.highest = highest
        self._seed = seed

    def moves(self, epoch: int, samples: I64, lengths: I64) -> Moves:
        """Draws for the samples i64[B] (numbers that no two samples share) of `lengths` i64[B] frames."""
        config = self.config
        still = np.zeros(len(samples), np.int64)
        right = down = still
        if config.shift:
            right = integers(self._words(epoch, _RIGHT, samples), -config.shift, config.shift)
            down = integers(self._words(epoch, _DOWN, samples), -config.shift, config.shift)
        flip = self._words(epoch, _FLIP, samples) >> np.uint64(63) == 1 if config.flip else still.astype(bool)
        cosine, sine = still + ONE, still
        if config.rotate:
            angle = np.deg2rad(config.rotate) * (2 * uniform(self._words(epoch, _ANGLE, samples)) - 1)
            cosine, sine = (np.rint(ONE * part).astype(np.int64) for part in (np.cos(angle), np.sin(angle)))
        lost = still
        if config.time_jitter:
            most = np.minimum(config.time_jitter, lengths - 1)
            lost = integers(self._words(epoch, _TIME, samples), -most, most)
        pixels = self._words(epoch, _PIXELS, samples)
        return Moves(flip, right, down, cosine, sine, np.maximum(lost, 0), lengths - np.abs(lost), pixels)

    def mixes(self, epoch: int, samples: I64, n_samples: int, height: int, width: int) -> Mixes:
        """Which of the samples i64[B] are mixed, each with one of all `n_samples`, and how."""
        config = self.config
        kind = uniform(self._words(epoch, _KIND, samples))
        into = np.flatnonzero(kind < config.mixup + config.cutmix)
        chosen = samples[into]
        boxed = kind[into] >= config.mixup
        # Uniform, as with the parameter 1 of both methods; at least half, so that the own label is the larger one.
        share = 0.5 + uniform(self._words(epoch, _WEIGHT, chosen)) / 2
        side = np.sqrt(1 - share)
        rows, columns = (np.floor(side * size).astype(np.int64) for size in (height, width))
        top = integers(self._words(epoch, _BOX_Y, chosen), 0, height - rows)
        left = integers(self._words(epoch, _BOX_X, chosen), 0, width - columns)
        uncovered = ONE - ONE * rows * columns // (height * width)
        return Mixes(
            into=into,
            partners=integers(self._words(epoch, _PARTNER, chosen), 0, n_samples - 1),
            boxed=boxed,
            weights=np.where(boxed, uncovered, np.rint(ONE * share).astype(np.int64)),
            boxes=np.stack([top, left, top + rows, left + columns], axis=1),
            rounding=self._words(epoch, _ROUND, chosen),
        )

    def thresholds(self) -> tuple[int, int]:
        """Below the first 16-bit draw a pixel becomes 0, from the second on `highest`: see `kernels.disturb`."""
        drop, noise = self.config.drop, self.config.noise
        return round(ONE * (noise / 2 + (1 - noise) * drop)), ONE - round(ONE * noise / 2)

    def pending(
        self, steps: int, moves: Moves, others: Tensor | None, other_moves: Moves | None, mixes: Mixes | None
    ) -> Pending:
        """The same as `move` and `mix`, to be done on the device. `others` u8[M, T, bytes]: partners as stored."""
        raw = None if others is None or other_moves is None else Raw(others, stacked_moves(other_moves))
        both = None if raw is None or mixes is None else stacked_mixes(mixes)
        return Pending(stacked_moves(moves), steps, (*self.thresholds(), self.highest), raw, both)

    def _words(self, epoch: int, purpose: int, samples: I64) -> Words:
        return keys(samples, self._seed, epoch, purpose)

    def unpack(self, packed: U8, out: U8) -> None:
        """Bits u8[B, T, ceil(n/8)] to 0 and 1 in out u8[B, T, n]."""
        kernels.unpack(packed.reshape(-1, packed.shape[-1]), out.reshape(-1, out.shape[-1]))

    def move(self, frames: U8, moves: Moves, out: U8) -> None:
        """`frames` u8[B, T, P, H, W] moved into `out`, which may have another T >= `moves.kept`; pixels disturbed."""
        kernels.move(frames, out, moves.flip, moves.right, moves.down, moves.cosine, moves.sine, moves.skip, moves.kept)
        zero_below, highest_from = self.thresholds()
        if zero_below or highest_from < ONE:
            flat = out.reshape(*out.shape[:2], -1)
            kernels.disturb(flat, moves.kept, moves.pixels, zero_below, highest_from, self.highest)

    def mix(self, frames: U8, kept: I64, others: U8, mixes: Mixes) -> None:
        """Mix `others` u8[M, T, P, H, W] into the samples `mixes.into` of `frames` u8[B, T, P, H, W], in place."""
        for boxed in (False, True):
            here = np.flatnonzero(mixes.boxed == boxed)
            if not len(here):
                continue
            into, rest = mixes.into[here], others[here]
            if boxed:
                kernels.paste(frames, kept, rest, into, mixes.boxes[here])
            else:
                flat, rest = (array.reshape(*array.shape[:2], -1) for array in (frames, rest))
                kernels.blend(flat, kept, rest, into, mixes.weights[here], mixes.rounding[here])
