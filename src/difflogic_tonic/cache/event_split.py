"""Frames of a variant that keeps events: sliced when they are read, as `data.slice` says.

How many frames a recording has follows from the index alone, except for a function of one's own, which is then called
once for every recording when the split is opened. Of a recording no more is read than the asked frames need.
"""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from difflogic_tonic.cache.manifest import again
from difflogic_tonic.cache.reader import SplitReader, runs
from difflogic_tonic.config import SensorSize
from difflogic_tonic.config.slicing import Slice, Slicing
from difflogic_tonic.errors import CacheCorrupt, ConfigError
from difflogic_tonic.events.custom import count_custom
from difflogic_tonic.events.framing import BY_TIME, as_stored
from difflogic_tonic.events.packed import (
    DamagedEvents,
    check_counts,
    columns_of,
    fill_frames,
    frames_in,
    slices_of,
    time_words,
    times_of,
)
from difflogic_tonic.events.recipe import EVENTS_ROW_BYTES, position_words, recipe_from_slicing

I64 = npt.NDArray[np.int64]
Frames = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.unsignedinteger]

KEPT_BYTES = 64 << 20
"""Memory for first and last events of frames: what has no room there is looked for again every time."""

ENTRY_BYTES = 256
"""What Python takes to keep one array."""

WIDTHS: dict[int, "np.dtype[Any]"] = {1: np.dtype("<u2"), 2: np.dtype("<u4")}
"""Words of a number → its type."""

CUSTOM_KEY = f"{Slice.section}.custom_slicing"

log = logging.getLogger(__name__)


class EventSplit:
    """The recordings of one split and their frames, which are made when they are read.

    The same fields and methods as a `SplitReader` of the frames that preparing with this slicing would have stored, bit
    for bit. Threads may share it; it can be pickled and survives a fork.
    """

    def __init__(self, packed: SplitReader, slicing: Slicing, paths: Sequence[str]) -> None:
        """`paths` are those of all recordings of the variant. For errors see `CacheReader.split`."""
        polarities, height, width = packed.frame_shape
        self._sensor = SensorSize(width, height, polarities)
        self._recipe = recipe_from_slicing(slicing, self._sensor)
        self._packed = packed
        self.frame_shape, self.storage = self._recipe.frame_shape, self._recipe.storage
        self.frame_nbytes = self._recipe.frame_nbytes
        self.labels, self.recording_ids, self.n_events = packed.labels, packed.recording_ids, packed.n_events
        self.spans_us = packed.spans_us
        self._paths = [paths[recording] for recording in self.recording_ids.tolist()]
        self._position = WIDTHS[position_words(self._sensor)]
        try:
            self._time_words = time_words(np.diff(packed.offsets), self.n_events, self._sensor)
        except DamagedEvents as error:
            raise self._damaged(str(error)) from None
        self._forget()
        counts = self._count()
        self.offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    @property
    def n_recordings(self) -> int:
        return len(self.labels)

    @property
    def n_frames(self) -> int:
        return int(self.offsets[-1])

    def read_frames(self, frames: np.ndarray, out: np.ndarray) -> None:
        """Make the frames i64[B] in out u8[B, frame_nbytes] (C-contiguous), neighbours of a recording together."""
        assert out.shape == (len(frames), self.frame_nbytes), (out.shape, len(frames), self.frame_nbytes)
        if not len(frames):
            return
        for row, first, last in runs(frames, self.offsets):
            self._make(row, int(frames[first] - self.offsets[row]), out[first:last])

    def read_recordings(self, rows: np.ndarray, out: np.ndarray) -> None:
        """Make the frames of the recordings rows i64[B] in out u8[B, Tmax, frame_nbytes] (C-contiguous).

        What a shorter recording leaves of its row is zeroed; of a longer one only the first Tmax frames are made.
        """
        assert (len(out), out.shape[2]) == (len(rows), self.frame_nbytes), (out.shape, len(rows), self.frame_nbytes)
        lengths = self.offsets[np.asarray(rows) + 1] - self.offsets[rows]
        for made, row, length in zip(out, rows.tolist(), lengths.tolist(), strict=True):
            self._make(row, 0, made[:length])
            made[length:] = 0

    def close(self) -> None:
        """Close this process's descriptors. They open again when needed."""
        self._packed.close()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_kept": {}, "_room": KEPT_BYTES}

    def _forget(self) -> None:
        self._kept: dict[int, I64] = {}
        self._room = KEPT_BYTES

    def _count(self) -> I64:
        """Frames of every recording, i64[R]."""
        if not self._recipe.custom:
            counts = frames_in(self.n_events, self._packed.spans_us, self._recipe)
            check_counts(counts, self._recipe, self._paths)
            return counts
        log.info("counting the frames that %s makes of %d recordings", self._recipe.custom, self.n_recordings)
        counts = np.empty(self.n_recordings, np.int64)
        for row, path in enumerate(self._paths):
            try:
                counts[row] = len(self._custom(row))
            except DamagedEvents as error:
                raise self._damaged(f"{path}: {error}") from None
        return counts

    def _make(self, row: int, first: int, frames: Frames) -> None:
        """Make frames of a recording, from number `first` on, in frames u8[T, frame_nbytes]."""
        if not len(frames):
            return
        try:
            self._make_unchecked(row, first, frames)
        except DamagedEvents as error:
            raise self._damaged(f"{self._paths[row]}: {error}") from None

    def _damaged(self, problem: str) -> CacheCorrupt:
        return CacheCorrupt(f"{self._packed.path} is damaged: {problem}; {again(self._packed.path)}")

    def _make_unchecked(self, row: int, first: int, frames: Frames) -> None:
        if self._recipe.custom:
            frames[:] = self._custom(row)[first : first + len(frames)]
        elif self._recipe.slice_by in BY_TIME and self._time_words[row] == 2:
            self._make_of_wide_times(row, first, frames)
        else:
            slices = self._slices(row)[first : first + len(frames)]
            begin, end = int(slices[0, 0]), int(slices[-1, 1])
            fill_frames(self._positions(row, begin, end), begin, slices, frames, self._recipe)

    def _make_of_wide_times(self, row: int, first: int, frames: Frames) -> None:
        """`_make` where events may be out of order: then those of a frame are anywhere in the recording."""
        positions, times = self._positions(row, 0, int(self.n_events[row])), self._times(row)
        order = np.argsort(times, kind="stable")
        slices = slices_of(len(times), times[order], self._recipe)[first : first + len(frames)]
        fill_frames(positions[order], 0, slices, frames, self._recipe)

    def _slices(self, row: int) -> I64:
        """First event and end of every frame, i64[T, 2]; kept for the next time as far as there is room."""
        kept = self._kept.get(row)
        if kept is None:
            times = self._times(row) if self._recipe.slice_by in BY_TIME else np.empty(0, np.int64)
            kept = slices_of(int(self.n_events[row]), times, self._recipe)
            needed = kept.nbytes + ENTRY_BYTES
            if needed <= self._room:  # threads may both count here, which costs a little room and nothing else
                self._room -= needed
                self._kept[row] = kept
        return kept

    def _positions(self, row: int, begin: int, end: int) -> Numbers:
        return self._read(int(self._packed.offsets[row]), begin, end, self._position)

    def _times(self, row: int) -> I64:
        """When the events of a recording were, i64[n] in µs, in the order that they are stored in."""
        n_events, width = int(self.n_events[row]), WIDTHS[int(self._time_words[row])]
        at = int(self._packed.offsets[row]) + n_events * (self._position.itemsize // EVENTS_ROW_BYTES)
        return times_of(self._read(at, 0, n_events, width), self._packed.spans_us[row])

    def _read(self, at: int, begin: int, end: int, kind: "np.dtype[Any]") -> Numbers:
        """Numbers `begin` to `end` of the column that starts at word `at`."""
        numbers = np.empty(max(0, end - begin), kind)
        words = kind.itemsize // EVENTS_ROW_BYTES
        self._packed.read_span(at + begin * words, numbers.view(np.uint8).reshape(-1, EVENTS_ROW_BYTES))
        return numbers

    def _custom(self, row: int) -> Frames:
        """All frames of a recording as one's own function makes them."""
        events = columns_of(self._positions(row, 0, int(self.n_events[row])), self._times(row), self._sensor)
        counted = count_custom(events, self._recipe, self._paths[row], CUSTOM_KEY)
        made = as_stored(*counted, len(events), self._recipe).frames
        expected = int(self.offsets[row + 1] - self.offsets[row]) if hasattr(self, "offsets") else len(made)
        if len(made) != expected:
            raise ConfigError(
                f"{CUSTOM_KEY}: {self._recipe.custom}: made {len(made)} frames of {self._paths[row]}; "
                f"expected {expected}, as before"
            )
        return made
