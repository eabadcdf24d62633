"""Batches of one split in one view, in an order that can be entered at any batch."""

import math
import threading
from collections.abc import Callable, Generator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
import torch

from difflogic_tonic.data.batch import Batch, Mixed, Part
from difflogic_tonic.data.order import Rows, bucketed_order, choose_recordings, epoch_order
from difflogic_tonic.data.prefetch import read_ahead

if TYPE_CHECKING:
    from difflogic_tonic.cache import FrameSplit
    from difflogic_tonic.data.augment import Augmenter, Mixes, Moves
    from difflogic_tonic.data.augment_device import Pending

Frames = npt.NDArray[np.uint8]
View = Literal["frames", "sequence", "stacked"]


class Batches:
    """The samples of a split, batch by batch.

    View `frames`: every frame is a sample. `sequence`: a recording is a sample, padded to the longest of its batch.
    `stacked`: a recording is a sample of exactly `max_frames` frames, zero where it is shorter. `max_frames` cuts
    recordings to their first frames in every view. `subset` keeps a seeded stratified part of the recordings
    (`order.choose_recordings`). The last batch of an epoch may be smaller; none is dropped.

    The order is a pure function of (seed, epoch) and, inside an epoch, of the position: two objects with the same
    arguments yield the same batches, whichever batch they start at and however many threads read. Augmentation
    is a pure function of (seed, epoch) and the sample, so a sample is the same in batches of another size as well.
    """

    def __init__(
        self,
        split: "FrameSplit",
        view: View,
        batch_size: int,
        seed: int,
        shuffle: bool,
        workers: int = 0,
        subset: float | int | None = None,
        max_frames: int | None = None,
        pin_memory: bool = False,
        augmenter: "Augmenter | None" = None,
        bucketed: bool = False,
        keyed: bool = False,
        share: tuple[int, int] | None = None,
    ) -> None:
        """`workers` reader threads (0: one); `pin_memory` for a CUDA device; `augmenter` for training batches;
        `bucketed`: a shuffled order in which a batch has recordings of similar lengths (`order.bucketed_order`);
        `keyed`: batches have the keys of their samples; `share` (k, n): of every batch only the k-th (from 0) of n
        parts, as equal as they can be.
        Raises `ConfigError` for a bad subset.
        """
        if view == "stacked" and max_frames is None:
            raise ValueError("view stacked needs max_frames: the number of channels must not depend on the split")
        self.view: View = view
        self.batch_size = batch_size
        self.recordings = choose_recordings(split.labels, subset, seed)
        self._split = split
        self._seed = seed
        self._shuffle = shuffle
        self._threads = max(1, workers)
        self._pin_memory = pin_memory
        self._augmenter = augmenter
        self._bucketed = bucketed
        self._keyed = keyed
        self._share = share
        self._of_thread = threading.local()
        self._max_frames = max_frames
        self._lengths = np.diff(split.offsets)
        if max_frames is not None:
            self._lengths = np.minimum(self._lengths, max_frames)
        if view == "frames":
            self._sample_frames, self._sample_rows = _frames_of(self.recordings, split.offsets, self._lengths)
        else:
            self._sample_rows = self.recordings

    def __len__(self) -> int:
        """Batches in an epoch."""
        return -(-self.n_samples // self.batch_size)

    @property
    def n_samples(self) -> int:
        """Samples in an epoch: frames in view `frames`, recordings otherwise."""
        return len(self._sample_rows)

    @property
    def n_recordings(self) -> int:
        return len(self.recordings)

    def iterate(self, epoch: int, start: int = 0) -> Generator[Batch, None, None]:
        """The batches of `epoch` from position `start` on, read ahead in threads; close the iterator to stop early."""
        read = self._read if self._augmenter is None else partial(self._read_augmented, self._augmenter, epoch)
        if self._keyed:
            read = partial(self._read_keyed, read, epoch)
        if self._share is not None:
            read = partial(_read_part, read, *self._share)
        return read_ahead(read, self._positions(epoch, start), self._threads)

    def _positions(self, epoch: int, start: int) -> Generator[Rows, None, None]:
        """The samples of each batch, as positions among all samples in storage order."""
        if self._bucketed:
            order = bucketed_order(self._lengths[self._sample_rows], self.batch_size, self._seed, epoch)
        else:
            order = epoch_order(self.n_samples, self._seed, epoch, self._shuffle)
        for cut in range(start * self.batch_size, len(order), self.batch_size):
            yield order[cut : cut + self.batch_size]

    def _read_keyed(self, read: Callable[[Rows], Batch], epoch: int, samples: Rows) -> Batch:
        """The keys are decided by (seed, epoch) and the sample, whatever the batch and whoever reads it."""
        from difflogic_tonic.data.draws import CODING, keys  # numba, which takes half a second to load

        found = keys(self._numbers(samples), self._seed, epoch, CODING)
        return replace(read(samples), keys=torch.from_numpy(found.view(np.int64)))

    def _read(self, samples: Rows) -> Batch:
        inputs = self._stored(samples, self._max_frames if self.view == "stacked" else None)
        return self._batch(inputs, samples, self._lengths_of(samples), self._split.storage == "bits", None, None)

    def _stored(self, samples: Rows, steps: int | None = None) -> torch.Tensor:
        """u8[B, T, bytes] as on disk; T is `steps`, or else the most frames of a sample."""
        steps = steps or int(self._lengths_of(samples).max())
        inputs = self._tensor(len(samples), steps, self._split.frame_nbytes)
        self._read_into(inputs.numpy(), samples)
        return inputs

    def _read_augmented(self, augmenter: "Augmenter", epoch: int, samples: Rows) -> Batch:
        """Bits become u8 here or on the device, so that they need not be packed again."""
        moves = self._moves(augmenter, epoch, samples)
        steps = self._max_frames if self.view == "stacked" else int(moves.kept.max())
        assert steps is not None
        mixes, mixed, other_moves = None, None, None
        if augmenter.config.mixes:
            _, height, width = self._split.frame_shape
            mixes = augmenter.mixes(epoch, self._numbers(samples), self.n_samples, height, width)
            mixed = self._mixed(samples, mixes)
            if len(mixes.into):
                other_moves = self._moves(augmenter, epoch, mixes.partners)
                other_moves = replace(other_moves, kept=np.minimum(other_moves.kept, steps))
        if augmenter.config.on_device:
            inputs = self._stored(samples)
            others = self._stored(mixes.partners) if mixes and other_moves else None
            pending = augmenter.pending(steps, moves, others, other_moves, mixes)
            return self._batch(inputs, samples, moves.kept, self._split.storage == "bits", mixed, pending)
        inputs = self._moved(augmenter, samples, moves, steps)
        if mixes and other_moves:
            others = self._moved(augmenter, mixes.partners, other_moves, steps)
            augmenter.mix(inputs.numpy(), moves.kept, others.numpy(), mixes)
        return self._batch(inputs.flatten(2), samples, moves.kept, False, mixed, None)

    def _moves(self, augmenter: "Augmenter", epoch: int, samples: Rows) -> "Moves":
        return augmenter.moves(epoch, self._numbers(samples), self._lengths_of(samples))

    def _moved(self, augmenter: "Augmenter", samples: Rows, moves: "Moves", steps: int) -> torch.Tensor:
        """Frames u8[B, steps, P, H, W] as drawn."""
        shape = (len(samples), int(self._lengths_of(samples).max()))
        frames = self._scratch("stored", *shape, self._split.frame_nbytes)
        self._read_into(frames, samples)
        if self._split.storage == "bits":
            packed, frames = frames, self._scratch("unpacked", *shape, math.prod(self._split.frame_shape))
            augmenter.unpack(packed, frames)
        out = self._tensor(len(samples), steps, *self._split.frame_shape)
        augmenter.move(frames.reshape(*shape, *self._split.frame_shape), moves, out.numpy())
        return out

    def _mixed(self, samples: Rows, mixes: "Mixes") -> Mixed:
        partners, weights = samples.copy(), np.ones(len(samples))
        partners[mixes.into], weights[mixes.into] = mixes.partners, mixes.weights / 2**16
        return Mixed(self._labels_of(partners), torch.from_numpy(weights).float())

    def _scratch(self, name: str, *shape: int) -> Frames:
        """Memory of this thread, not cleared: the system takes longer to hand out new pages than the copy does."""
        size = math.prod(shape)
        held: Frames | None = getattr(self._of_thread, name, None)
        if held is None or held.size < size:
            held = np.empty(size, np.uint8)
            setattr(self._of_thread, name, held)
        return held[:size].reshape(shape)

    def _read_into(self, out: Frames, samples: Rows) -> None:
        """Fill out u8[B, T, bytes] with the frames of the samples, zero behind the last."""
        if self.view == "frames":
            self._split.read_frames(self._sample_frames[samples], out[:, 0])
        else:
            self._split.read_recordings(self._sample_rows[samples], out)

    def _numbers(self, samples: Rows) -> Rows:
        """What tells samples apart in every subset: the number of the frame, or of the recording, in the split."""
        return self._sample_frames[samples] if self.view == "frames" else self._sample_rows[samples]

    def _lengths_of(self, samples: Rows) -> Rows:
        if self.view == "frames":
            return np.ones(len(samples), np.int64)
        return self._lengths[self._sample_rows[samples]]

    def _labels_of(self, samples: Rows) -> torch.Tensor:
        return torch.from_numpy(self._split.labels[self._sample_rows[samples]].astype(np.int64))

    def _tensor(self, *shape: int) -> torch.Tensor:
        return torch.empty(shape, dtype=torch.uint8, pin_memory=self._pin_memory)

    def _batch(
        self,
        inputs: torch.Tensor,
        samples: Rows,
        lengths: Rows,
        packed: bool,
        mixed: Mixed | None,
        pending: "Pending | None",
    ) -> Batch:
        """A batch of inputs u8[B, T, bytes]."""
        return Batch(
            inputs=inputs.squeeze(1) if self.view == "frames" else inputs,
            labels=self._labels_of(samples),
            lengths=torch.from_numpy(lengths),
            rows=torch.from_numpy(self._sample_rows[samples]),
            packed=packed,
            frame_shape=self._split.frame_shape,
            view=self.view,
            mixed=mixed,
            pending=pending,
        )


def _read_part(read: Callable[[Rows], Batch], number: int, parts: int, samples: Rows) -> Batch:
    """Of a batch of `samples` the part `number` (from 0) of `parts`: contiguous, so that the parts are in order."""
    first, end = number * len(samples) // parts, (number + 1) * len(samples) // parts
    own = samples[first:end] if first < end else samples[:1]
    return replace(read(own), part=Part(first, end - first, len(samples)))


def _frames_of(recordings: Rows, offsets: Rows, lengths: Rows) -> tuple[Rows, Rows]:
    """The first `lengths[row]` frames of each recording: their numbers in the split, and their recordings' rows."""
    counts = lengths[recordings]
    rows = np.repeat(recordings, counts)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    return offsets[rows] + within, rows
