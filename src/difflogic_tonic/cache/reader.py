"""Reading a prepared variant: the index through HDF5 once, the frames by `preadv` straight into the batch.

`event_split` makes frames of what a variant of packed events has.

`preadv` shares no file position and no library state, so one reader serves threads, and forked or spawned workers open
their own descriptors.
"""

import itertools
import os
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from difflogic_tonic.cache.fingerprint import slicing_parameters
from difflogic_tonic.cache.manifest import MANIFEST, Manifest, SplitFacts, load_manifest
from difflogic_tonic.cache.returning import MOST_RETURNS, Returning
from difflogic_tonic.cache.shard import ShardIndex, open_shard
from difflogic_tonic.config.slicing import DEFAULT_EVENTS_PER_FRAME, Slicing
from difflogic_tonic.errors import CacheCorrupt, CacheError, CacheMissing, ConfigError
from difflogic_tonic.events.recipe import recipe_from_slicing

if TYPE_CHECKING:
    from difflogic_tonic.cache.event_split import EventSplit


FrameSplit: TypeAlias = "SplitReader | EventSplit"
"""The frames of one split, stored or made when they are read."""


class CacheReader:
    """One variant on disk. `manifest` says what it is; `split` opens a part of it.

    One of packed events needs a `slicing`, and then reads, and says of itself, as if it was prepared with that.
    """

    def __init__(self, path: Path, slicing: Slicing | None = None, returning: Returning | None = None) -> None:
        """`returning` brings the variant back if it goes away while it is read.

        CacheMissing if there is no variant, CacheCorrupt if its manifest is damaged.

        ConfigError for packed events without a slicing, or a slicing of what is sliced already.
        """
        self.path = Path(path)
        try:
            self._stored = load_manifest(self.path)
        except FileNotFoundError:
            raise CacheMissing(f"{self.path} has no {MANIFEST}, so it is not a complete prepared dataset") from None
        _check_slicing(self.path, self._stored, slicing)
        self._slicing = slicing
        self._returning = returning
        self.manifest: Manifest = sliced_manifest(self._stored, slicing) if slicing else self._stored

    def split(self, name: str) -> "FrameSplit":
        """Open `train`, `val` or `test`. CacheCorrupt if a shard of it is damaged; payload checksums are not read.

        RecordingError or ConfigError if a recording cannot be sliced in this way.
        """
        facts = self._stored.splits.get(name)
        if facts is None:
            raise CacheMissing(f"{self.path} has no split {name!r}, only {', '.join(self._stored.splits)}")
        split = SplitReader(self.path, self._stored, facts, self._returning)
        if self._slicing is None:
            return split
        from difflogic_tonic.cache.event_split import EventSplit  # numba, which takes half a second to load

        return EventSplit(split, self._slicing, self._stored.recordings.paths)


def sliced_manifest(manifest: Manifest, slicing: Slicing) -> Manifest:
    """What the manifest of a variant of packed events would say, had it been prepared with this slicing."""
    recipe = recipe_from_slicing(slicing, manifest.sensor)
    parameters = manifest.parameters | slicing_parameters(slicing) | {"frames": slicing.frames}
    if slicing.levels:
        parameters["levels"] = list(slicing.levels)
    return replace(manifest, parameters=parameters, storage=recipe.storage, sensor=recipe.stored)


def _check_slicing(path: Path, manifest: Manifest, slicing: Slicing | None) -> None:
    if manifest.storage == "events" and slicing is None:
        raise ConfigError(
            f"{path} has events; say how they become frames, e.g. with "
            f"data.slice.events_per_frame={DEFAULT_EVENTS_PER_FRAME}"
        )
    if manifest.storage != "events" and slicing is not None:
        raise ConfigError(
            f"data.slice slices prepared events, and {path} has frames; take it away, "
            "or prepare and name a variant with data.frames: events"
        )


class SplitReader:
    """The recordings of one split and their frames; rows and frames are numbered through all its shards.

    labels i64[R], offsets i64[R+1] (frames of row r: offsets[r]:offsets[r+1]), recording_ids i64[R] (rows of
    `manifest.recordings`), n_events i64[R]. Threads may share it; it can be pickled and survives a fork. Of packed
    events a frame is a word, and there are spans_us i64[R, 2].
    """

    def __init__(self, path: Path, manifest: Manifest, facts: SplitFacts, returning: Returning | None = None) -> None:
        self.path = path
        self._returning, self._generation = returning, 0
        self.frame_shape = manifest.frame_shape
        self.storage = manifest.storage
        self.frame_nbytes = manifest.frame_nbytes
        self._paths = [path / shard.name for shard in facts.shards]
        indices = [open_shard(path / shard.name, manifest.fingerprint, shard.size) for shard in facts.shards]
        self._payload_at = [index.payload_at for index in indices]
        self._starts = np.cumsum([0] + [int(index.offsets[-1]) for index in indices]).astype(np.int64)
        self._first_frames: list[int] = self._starts.tolist()
        self.labels = _joined(indices, "labels")
        self.recording_ids = _joined(indices, "source")
        self.n_events = _joined(indices, "n_events")
        self.offsets = _global_offsets(indices, self._starts)
        self._descriptors: dict[int, int] = {}
        self._left_open: list[int] = []
        self._pid = os.getpid()
        self.spans_us = np.concatenate([np.empty((0, 2), np.int64), *(index.spans_us for index in indices)])
        n_frames = self.n_frames if manifest.storage != "events" else int(self.n_events.sum())
        if (self.n_recordings, n_frames) != (facts.n_recordings, facts.n_frames):
            raise CacheCorrupt(f"{path}: shards and {MANIFEST} disagree on the number of frames")

    @property
    def n_recordings(self) -> int:
        return len(self.labels)

    @property
    def n_frames(self) -> int:
        return int(self.offsets[-1])

    def read_frames(self, frames: np.ndarray, out: np.ndarray) -> None:
        """Copy the frames i64[B] into out u8[B, frame_nbytes] (C-contiguous), neighbours on disk in one read."""
        self._check_out(out, 2, len(frames))
        if not len(frames):
            return
        flat = out.reshape(-1).data
        for shard, first, last in runs(frames, self._starts):
            self._read(shard, int(frames[first]), flat, first * self.frame_nbytes, last - first)

    def read_recordings(self, rows: np.ndarray, out: np.ndarray) -> None:
        """Copy the recordings rows i64[B] into out u8[B, Tmax, frame_nbytes] (C-contiguous).

        What a shorter recording leaves of its row is zeroed; a longer one is cut at Tmax frames.
        """
        self._check_out(out, 3, len(rows))
        rows = np.asarray(rows, np.int64)
        firsts, room = self.offsets[rows], out.shape[1]
        lengths = np.minimum(self.offsets[rows + 1] - firsts, room)
        shards = np.searchsorted(self._starts, firsts, side="right") - 1
        flat, row_nbytes = out.reshape(-1).data, room * self.frame_nbytes
        for place, (shard, first, length) in enumerate(
            zip(shards.tolist(), firsts.tolist(), lengths.tolist(), strict=True)
        ):
            self._read(shard, first, flat, place * row_nbytes, length)
            if length < room:
                out[place, length:] = 0

    def read_span(self, first: int, out: np.ndarray) -> None:
        """Copy the frames from number `first` on, all of one recording, into out u8[B, frame_nbytes] (C-contiguous)."""
        self._check_out(out, 2, len(out))
        if len(out):
            shard = bisect_right(self._first_frames, first) - 1
            self._read(shard, first, out.reshape(-1).data, 0, len(out))

    def close(self) -> None:
        """Close this process's descriptors. They open again when needed."""
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])
        while self._left_open:
            os.close(self._left_open.pop())

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_descriptors": {}, "_left_open": [], "_returning": None}

    def __del__(self, getpid: Callable[[], int] = os.getpid, close: Callable[[int], None] = os.close) -> None:
        # Defaults, because this module's globals may be gone when the interpreter ends.
        if getattr(self, "_pid", None) == getpid():
            for descriptor in (*self._descriptors.values(), *self._left_open):
                close(descriptor)

    def _read(self, shard: int, frame: int, flat: memoryview, at: int, count: int) -> None:
        """Read `count` frames from global frame number `frame` on, all of one shard, into flat[at:…]."""
        for attempt in itertools.count():
            generation = self._generation
            try:
                self._read_once(shard, frame, flat, at, count)
                return
            except CacheError as error:
                if self._returning is None or attempt == MOST_RETURNS:
                    raise
                self._find_again(self._returning, generation, error)

    def _find_again(self, returning: Returning, generation: int, error: CacheError) -> None:
        """Go on with another copy of the same bytes; the copy of `generation` failed with `error`."""
        generation, path = returning.bring_back(generation, error)
        if generation == self._generation:
            return  # another thread has been here
        self._paths = [path / shard.name for shard in self._paths]
        # Other threads may be reading from them: closed, their numbers could become those of other files.
        self._left_open += self._descriptors.values()
        self._descriptors = {}
        self.path, self._generation = path, generation

    def _read_once(self, shard: int, frame: int, flat: memoryview, at: int, count: int) -> None:
        end = at + count * self.frame_nbytes
        position = self._payload_at[shard] + (frame - self._first_frames[shard]) * self.frame_nbytes
        descriptor = self._descriptors.get(shard) if self._pid == os.getpid() else None
        if descriptor is None:
            descriptor = self._open(shard)
        while at < end:  # one turn, but that a read larger than 2 GiB or interrupted comes in parts
            try:
                got = os.preadv(descriptor, (flat[at:end],), position)
            except OSError as error:
                raise CacheMissing(
                    f"{self._paths[shard]} cannot be read any more ({error.strerror}); run the same command again"
                ) from error
            if not got:
                raise CacheCorrupt(f"{self._paths[shard]} became shorter while it was read; run the same command again")
            at, position = at + got, position + got

    def _open(self, shard: int) -> int:
        """Open a shard in this process, which may be a fork of the one that opened the others."""
        if self._pid != os.getpid():
            self._descriptors, self._pid = {}, os.getpid()
        try:
            opened = os.open(self._paths[shard], os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise CacheMissing(
                f"{self._paths[shard]} cannot be opened any more ({error.strerror}); was scratch storage cleaned? "
                "Run the same command again: it is copied from project storage"
            ) from error
        kept = self._descriptors.setdefault(shard, opened)  # another thread may have been faster
        if kept != opened:
            os.close(opened)
        return kept

    def _check_out(self, out: np.ndarray, ndim: int, rows: int) -> None:
        assert out.ndim == ndim, out.shape
        assert (len(out), out.shape[-1]) == (rows, self.frame_nbytes), (out.shape, rows, self.frame_nbytes)
        assert out.dtype == np.uint8, out.dtype
        assert out.flags.c_contiguous, out.strides


def runs(frames: np.ndarray, starts: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """Part, first place and end of each run of neighbours among the frames i64[B >= 1] that are in one part.

    Part i has the frames starts[i]:starts[i+1] of starts i64[parts+1]. IndexError if one is in none.
    """
    if frames.min() < 0 or frames.max() >= starts[-1]:
        raise IndexError(f"frames {frames.min()} to {frames.max()} asked of {starts[-1]}")
    parts = np.searchsorted(starts, frames, side="right") - 1
    breaks = np.flatnonzero((np.diff(frames) != 1) | (np.diff(parts) != 0)) + 1
    edges = [0, *breaks.tolist(), len(frames)]
    for first, last in itertools.pairwise(edges):
        yield int(parts[first]), first, last


def _joined(indices: Sequence[ShardIndex], name: str) -> np.ndarray:
    return np.concatenate([np.empty(0, np.int64), *(getattr(index, name) for index in indices)])


def _global_offsets(indices: Sequence[ShardIndex], starts: np.ndarray) -> np.ndarray:
    parts = [index.offsets[:-1] + start for index, start in zip(indices, starts[:-1], strict=True)]
    return np.concatenate([np.empty(0, np.int64), *parts, starts[-1:]])
