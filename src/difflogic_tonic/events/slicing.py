"""Where a frame begins and ends: every rule in plain numpy, one function a rule.

All return the first event and the end of each frame, i64[T, 2] with rows (start, end), for events in order of time.
The rules by count need only the number of events, the rules by time their times `t`, i64[n] in µs. Rows may overlap
and may be empty (start = end). `t` and `n_events` are of at least one event, except in `slice_by_count`.
"""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Slices: TypeAlias = npt.NDArray[np.int64]
Times: TypeAlias = npt.NDArray[np.int64]


def slice_by_count(n_events: int, events_per_frame: int, overlap: int = 0, include_incomplete: bool = False) -> Slices:
    """Frames of `events_per_frame` events that share `overlap` of them; T is 0 only without events.

    A tail that does not fill a frame is dropped, since a part-filled frame would be dimmer than the rest, unless
    `include_incomplete`. A recording shorter than one frame gives one frame. As tonic 1.7.0's
    `ToFrame(event_count=...)`.
    """
    assert 0 <= overlap < events_per_frame, (overlap, events_per_frame)
    if n_events == 0:
        return np.zeros((0, 2), np.int64)
    length, stride = min(events_per_frame, n_events), events_per_frame - overlap
    rest = n_events - length
    count = (-(-rest // stride) if include_incomplete else rest // stride) + 1
    starts = np.arange(count, dtype=np.int64) * stride
    return np.stack([starts, np.minimum(starts + length, n_events)], axis=1)


def slice_by_time(t: Times, window_us: int, overlap_us: int = 0, include_incomplete: bool = False) -> Slices:
    """Windows [start, start + window_us) from the first event on, each `window_us - overlap_us` after the one before.

    Windows that fit into the recording, at least one; with `include_incomplete` one more for the tail. An event at the
    end of the last window is in no frame. As tonic 1.7.0's `ToFrame(time_window=...)`.
    """
    assert 0 <= overlap_us < window_us, (overlap_us, window_us)
    stride = window_us - overlap_us
    rest = int(t[-1]) - int(t[0]) - window_us
    count = max(1, (-(-rest // stride) if include_incomplete else rest // stride) + 1)
    starts = int(t[0]) + np.arange(count, dtype=np.int64) * stride
    return _at_times(t, starts, starts + window_us)


def slice_by_time_bins(t: Times, bins: int, overlap: int | float = 0) -> Slices:
    """`bins` frames of equal duration w = span // bins, so that an event in the last microseconds may be in none.

    A float `overlap` f makes frames w(1 + f) long, each w(1 + f)(1 - f) after the one before: tonic 1.7.0's
    `ToFrame(n_time_bins=bins, overlap=f)`. An integer is in µs: frames of w + overlap, each w after the one before.
    Where the recording is shorter than `bins` µs, w is 1 µs; tonic has 0, and frames without events.
    """
    base = max(1, (int(t[-1]) - int(t[0])) // bins)
    length, stride = _enlarged(base, overlap)
    starts = np.arange(bins) * stride + t[0]
    return _at_times(t, np.ceil(starts).astype(np.int64), np.ceil(starts + length).astype(np.int64))


def slice_by_event_bins(n_events: int, bins: int, overlap: int | float = 0) -> Slices:
    """`bins` frames of c = n_events // bins events; the remainder is in no frame.

    A float `overlap` f makes that int(c(1 + f)) events, each frame int(length · (1 - f)) after the one before: tonic
    1.7.0's `ToFrame(n_event_bins=bins, overlap=f)`. An integer is in events: c + overlap, each c after the one before.
    Where there are fewer events than bins, c is 1 and the last frames are empty; tonic has 0, and no event in any.
    Frames advance by at least one event; in tonic they may all be the first ones.
    """
    length, stride = (int(value) for value in _enlarged(max(1, n_events // bins), overlap))
    if isinstance(overlap, float):
        stride = max(1, int(length * (1 - overlap)))
    starts = np.arange(bins, dtype=np.int64) * stride
    return np.minimum(np.stack([starts, starts + length], axis=1), n_events)


def slice_frames_by_number(n_events: int, frames: int) -> Slices:
    """`frames` frames of n_events // frames events, the last with all the rest.

    SpikingJelly 2.0.0's `integrate_events_by_fixed_frames_number(split_by="number")`.
    """
    starts = np.arange(frames, dtype=np.int64) * (n_events // frames)
    return np.stack([starts, np.append(starts[1:], n_events)], axis=1)


def slice_frames_by_time(t: Times, frames: int) -> Slices:
    """`frames` frames of span // frames µs, the last with all the rest.

    SpikingJelly 2.0.0's `integrate_events_by_fixed_frames_number(split_by="time")`, which stops with an IndexError at
    a frame without events: here that is an empty frame, and frames last at least 1 µs.
    """
    starts = int(t[0]) + np.arange(frames, dtype=np.int64) * max(1, (int(t[-1]) - int(t[0])) // frames)
    return _rest_to_the_last(t, starts)


def slice_by_duration(t: Times, duration_us: int) -> Slices:
    """Frames of `duration_us` µs, as many as the recording lasts, rounded up; the last has an event at its very end.

    SpikingJelly 2.0.0's `integrate_events_by_fixed_duration`, which stops with an IndexError where all events have the
    same time: here that is one frame.
    """
    count = max(1, -(-(int(t[-1]) - int(t[0])) // duration_us))
    return _rest_to_the_last(t, int(t[0]) + np.arange(count, dtype=np.int64) * duration_us)


def overlap_units(overlap: int | float, window: int) -> int:
    """`overlap` in the unit of `window` (events or µs): a float in [0, 1) is a fraction of it, rounded.

    A fraction always leaves at least one unit by which frames advance.
    """
    return min(round(overlap * window), window - 1) if isinstance(overlap, float) else overlap


def _enlarged(base: int, overlap: int | float) -> tuple[float, float]:
    """Length and stride of bins of `base` with this overlap."""
    if isinstance(overlap, float):
        length = base * (1 + overlap)
        return length, length * (1 - overlap)
    return base + overlap, base


def _at_times(t: Times, starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]) -> Slices:
    return np.stack([np.searchsorted(t, starts), np.searchsorted(t, ends)], axis=1).astype(np.int64)


def _rest_to_the_last(t: Times, starts: npt.NDArray[np.int64]) -> Slices:
    first = np.searchsorted(t, starts).astype(np.int64)
    return np.stack([first, np.append(first[1:], len(t))], axis=1)
