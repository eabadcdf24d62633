"""Frames of a recording that is still going on, exactly those that `frame_recording` makes of the whole of it.

Events come in pieces of any size. A frame is given out as soon as no later event can change it. That needs a rule that
does not ask how long a recording will be: frames of so many events, or of so much time.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from difflogic_tonic.errors import ConfigError, RecordingError
from difflogic_tonic.events import live_kernels
from difflogic_tonic.events.atis import RECORD_BYTES
from difflogic_tonic.events.framing import check_inside, most_frames_of, numbers_of, too_many
from difflogic_tonic.events.kernels import _memory, fill_frames
from difflogic_tonic.events.live_kernels import Sieve
from difflogic_tonic.events.recipe import FrameRecipe
from difflogic_tonic.events.stream import LONG_AGO, Events

LIVE = ("events", "time", "duration")
"""Rules that a recording without an end can be sliced by."""


@dataclass(frozen=True)
class LiveFrames:
    """Some frames: `frames` u8[T, frame_nbytes] as `FrameRecipe` stores them, `ends_us` i64[T] the time of the last
    event of each (of an empty one, of the last event before it), `n_events` i64[T] how many are in it."""

    frames: npt.NDArray[np.uint8]
    ends_us: npt.NDArray[np.int64]
    n_events: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.frames)


class Framer:
    """Events in, frames out. `ConfigError` for a recipe that needs the whole recording.

    `n_seen` counts events that came, `n_kept` those that the filters left.
    """

    def __init__(self, recipe: FrameRecipe) -> None:
        if recipe.slice_by not in LIVE:
            raise ConfigError(
                "frames were prepared by a rule that divides whole recordings, and a stream has no end;"
                " train on data prepared with events_per_frame, time_window or frame_duration"
            )
        if recipe.hot_pixels:
            raise ConfigError("data.hot_pixels looks at whole recordings, and a stream has no end; prepare without it")
        self.recipe = recipe
        self.n_seen = self.n_kept = 0
        width, height, _ = recipe.sensor
        left, top, crop_width, crop_height = recipe.crop or (0, 0, width, height)
        self._sieve = np.array(
            Sieve(
                width, height, recipe.refractory_us, recipe.denoise_us,
                left, top, crop_width, crop_height, recipe.downsample, recipe.counted.polarities,
            ),
            np.int64,
        )  # fmt: skip
        self._until = _memory(width, height, recipe.denoise_us, recipe.denoise_warmup == "keep")
        self._last = np.full(width * height if recipe.refractory_us else 0, LONG_AGO, np.int64)
        self._kind = np.uint16 if recipe.counted.values <= 1 << 16 else np.uint32
        self._positions = np.empty(0, self._kind)
        self._times = np.empty(0, np.int64)
        self._base = 0
        self._next = 0
        self._start_us = self._end_us = 0

    def take(self, events: Events) -> LiveFrames:
        """Frames that these events complete. RecordingError for a pixel off the sensor, and for an event that is
        earlier than the one before where frames are pieces of time."""
        positions, times = np.empty(len(events), self._kind), np.empty(len(events), np.int64)
        columns = events.x, events.y, events.t, events.p
        kept = live_kernels.sift(*columns, self._sieve, self._until, self._last, positions, times)
        if kept < 0:
            check_inside(events, self.recipe.sensor, f"the stream, after {self.n_seen:,} events")
        self.n_seen += len(events)
        positions, times = positions[:kept], times[:kept]
        if kept == 0:
            return self._given_out(np.empty((0, 2), np.int64))
        if self._by_time:
            wrong = live_kernels.first_disorder(times, self._end_us if self.n_kept else int(times[0]))
            if wrong >= 0:
                raise RecordingError(
                    f"the stream: an event at {times[wrong]:,} µs comes after later ones, about event {self.n_seen:,};"
                    " frames of so much time need events in order"
                )
        if self.n_kept == 0:
            self._start_us = int(times[0])
        self.n_kept += int(kept)
        self._end_us = int(times[-1])
        self._positions = np.concatenate((self._positions, positions))
        self._times = np.concatenate((self._times, times))
        return self._given_out(self._slices(self._complete(), rest_to_last=False))

    def finish(self) -> LiveFrames:
        """What is left when no more events come: none, or the frames that only the end of a recording completes."""
        if self.n_kept == 0:
            return self._given_out(np.empty((0, 2), np.int64))
        last = self.recipe.slice_by == "duration"
        return self._given_out(self._slices(self._all(), rest_to_last=last))

    @property
    def _by_time(self) -> bool:
        return self.recipe.slice_by != "events"

    @property
    def _stride(self) -> int:
        return self.recipe.slice_size - int(self.recipe.overlap)

    def _complete(self) -> int:
        """How many frames of the recording no later event can change."""
        size = self.recipe.slice_size
        if self.recipe.slice_by == "events":
            return max(0, (self.n_kept - size) // self._stride + 1)
        span = self._end_us - self._start_us
        if self.recipe.slice_by == "time":
            return max(0, (span - size) // self._stride + 1)
        return max(0, -(-span // size) - 1)  # the last one also has an event at its very end

    def _all(self) -> int:
        """How many frames there are if no event comes any more."""
        size, span = self.recipe.slice_size, self._end_us - self._start_us
        if self.recipe.slice_by == "duration":
            return max(1, -(-span // size))
        whole = self.n_kept if self.recipe.slice_by == "events" else span
        rest = max(0, whole - size)
        return (-(-rest // self._stride) if self.recipe.include_incomplete else rest // self._stride) + 1

    def _slices(self, count: int, rest_to_last: bool) -> npt.NDArray[np.int64]:
        """First event and end of the frames before frame `count` that were not given out yet."""
        if count - self._next > most_frames_of(self.recipe):
            raise too_many(count, self.recipe, "the stream")
        starts = np.arange(self._next, max(self._next, count), dtype=np.int64) * self._stride
        ends = starts + self.recipe.slice_size
        if not self._by_time:
            return np.stack((starts, np.minimum(ends, self.n_kept)), 1)
        first, after = (
            np.searchsorted(self._times, edge + self._start_us).astype(np.int64) + self._base for edge in (starts, ends)
        )
        if rest_to_last and len(after):
            after[-1] = self.n_kept
        return np.stack((first, after), 1)

    def _given_out(self, slices: npt.NDArray[np.int64]) -> LiveFrames:
        frames = np.empty((len(slices), self.recipe.frame_nbytes), np.uint8)
        if not len(slices):
            return LiveFrames(frames, np.empty(0, np.int64), np.empty(0, np.int64))
        numbers, _, ranks = numbers_of(self.recipe)
        assert fill_frames(self._positions, self._base, slices, frames, numbers, ranks), "a position outside a frame"
        ends = self._times[np.clip(slices[:, 1] - 1 - self._base, 0, None)] if len(self._times) else slices[:, 1]
        self._next += len(slices)
        self._forget()
        return LiveFrames(frames, ends, slices[:, 1] - slices[:, 0])

    def _forget(self) -> None:
        """Events before the start of the next frame."""
        start = self._next * self._stride
        if self._by_time:
            gone = int(np.searchsorted(self._times, start + self._start_us))
        else:
            gone = min(start - self._base, len(self._times))
        self._positions, self._times = self._positions[gone:], self._times[gone:]
        self._base += gone


class AtisStream:
    """ATIS records in pieces that may end anywhere, to events; the clock goes on from piece to piece."""

    def __init__(self) -> None:
        self._rest = b""
        self._late = 0

    @property
    def cut_off(self) -> int:
        """Bytes of a record that has not come as a whole."""
        return len(self._rest)

    def take(self, data: bytes) -> Events:
        data = self._rest + data
        whole = len(data) // RECORD_BYTES * RECORD_BYTES
        self._rest = data[whole:]
        records = np.frombuffer(data, np.uint8, whole).reshape(-1, RECORD_BYTES)
        x, y = np.empty((2, len(records)), np.uint16)
        t, p = np.empty(len(records), np.int64), np.empty(len(records), np.uint8)
        n, self._late = live_kernels.columns_of_records(records, self._late, x, y, t, p)
        return Events(x[:n], y[:n], t[:n], p[:n])
