"""Batches of one split in one view, in an order that can be entered at any batch."""

from collections.abc import Generator
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from difflogic_tonic.data.batch import Batch
from difflogic_tonic.data.order import Rows, choose_recordings, epoch_order
from difflogic_tonic.data.prefetch import read_ahead

if TYPE_CHECKING:
    from difflogic_tonic.cache import SplitReader

View = Literal["frames", "sequence", "stacked"]


class Batches:
    """The samples of a split, batch by batch.

    View `frames`: every frame is a sample. `sequence`: a recording is a sample, padded to the longest of its batch.
    `stacked`: a recording is a sample of exactly `max_frames` frames, zero where it is shorter. `max_frames` cuts
    recordings to their first frames in every view. `subset` keeps a seeded stratified part of the recordings
    (`order.choose_recordings`). The last batch of an epoch may be smaller; none is dropped.

    The order is a pure function of (seed, epoch) and, inside an epoch, of the position: two objects with the same
    arguments yield the same batches, whichever batch they start at and however many threads read.
    """

    def __init__(
        self,
        split: "SplitReader",
        view: View,
        batch_size: int,
        seed: int,
        shuffle: bool,
        workers: int = 0,
        subset: float | int | None = None,
        max_frames: int | None = None,
        pin_memory: bool = False,
    ) -> None:
        """`workers` reader threads (0: one); `pin_memory` for a CUDA device. Raises `ConfigError` for a bad subset."""
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
        order = epoch_order(self.n_samples, self._seed, epoch, self._shuffle)
        cuts = range(start * self.batch_size, len(order), self.batch_size)
        return read_ahead(self._read, (order[cut : cut + self.batch_size] for cut in cuts), self._threads)

    def _read(self, samples: Rows) -> Batch:
        rows = self._sample_rows[samples]
        nbytes = self._split.frame_nbytes
        if self.view == "frames":
            lengths = np.ones(len(rows), np.int64)
            inputs = torch.empty((len(rows), nbytes), dtype=torch.uint8, pin_memory=self._pin_memory)
            self._split.read_frames(self._sample_frames[samples], inputs.numpy())
        else:
            lengths = self._lengths[rows]
            stacked = self._max_frames if self.view == "stacked" else None
            steps = stacked or int(lengths.max())
            inputs = torch.empty((len(rows), steps, nbytes), dtype=torch.uint8, pin_memory=self._pin_memory)
            self._split.read_recordings(rows, inputs.numpy())
        return Batch(
            inputs=inputs,
            labels=torch.from_numpy(self._split.labels[rows].astype(np.int64)),
            lengths=torch.from_numpy(lengths),
            rows=torch.from_numpy(rows),
            packed=self._split.storage == "bits",
            frame_shape=self._split.frame_shape,
            view=self.view,
        )


def _frames_of(recordings: Rows, offsets: Rows, lengths: Rows) -> tuple[Rows, Rows]:
    """The first `lengths[row]` frames of each recording: their numbers in the split, and their recordings' rows."""
    counts = lengths[recordings]
    rows = np.repeat(recordings, counts)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    return offsets[rows] + within, rows
