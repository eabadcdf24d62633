"""Events as a cache keeps them, from which every way to slice makes its frames when they are needed.

A recording of n >= 1 events is a row of 16-bit words, low byte first:

    positions   u16[n], or u32[n] of a frame with more than 65,536 values: where in [P, H, W] each event counts
    times       u16[n]: µs since the event before (first: since itself); or u32[n]: µs since the earliest event, where
                neighbours are further apart or not in order

Beside them stands when the earliest and the latest event were, in µs.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from difflogic_tonic.config import SensorSize
from difflogic_tonic.errors import RecordingError
from difflogic_tonic.events import kernels
from difflogic_tonic.events.atis import Bytes
from difflogic_tonic.events.framing import (
    BY_TIME,
    Framed,
    check_inside,
    decoded,
    filter_events,
    most_frames_of,
    numbers_of,
    too_many,
)
from difflogic_tonic.events.recipe import EVENTS_ROW_BYTES, MOST_U16, FrameRecipe, position_words
from difflogic_tonic.events.stream import Events

I64 = npt.NDArray[np.int64]

LONGEST_US = (1 << 32) - 1
OUTSIDE = "an event is in no pixel of a frame"


class DamagedEvents(Exception):
    """What is wrong with packed events; the caller names them."""


def pack_recording(data: Bytes, recipe: FrameRecipe, where: str) -> Framed:
    """Decode a recording of `recipe.format`, filter it and pack what is left; `where` names it in errors.

    Raises `RecordingError` as the decoder does, for a pixel outside the sensor, and for more than 71 minutes.
    """
    events = decoded(data, recipe, where)
    check_inside(events, recipe.sensor, where)
    return pack_events(filter_events(events, recipe), recipe.counted, where)


def pack_events(events: Events, sensor: SensorSize, where: str) -> Framed:
    """Pack events on a `sensor` of the size of a frame, with both polarities."""
    assert sensor.polarities == 2, sensor
    if len(events) == 0:
        return Framed(np.empty((0, EVENTS_ROW_BYTES), np.uint8), 0, 0)
    positions = (events.p.astype(np.uint32) * sensor.height + events.y) * sensor.width + events.x
    first, last = int(events.t.min()), int(events.t.max())
    steps = np.diff(events.t, prepend=events.t[0])
    if steps.min() >= 0 and steps.max() < MOST_U16:
        times = steps.astype("<u2")
    elif last - first <= LONGEST_US:
        times = (events.t - first).astype("<u4").view("<u2")
    else:
        raise RecordingError(
            f"{where}: lasts {(last - first) / 6e7:,.0f} minutes; expected at most 71 with data.frames: events; "
            "cut the recording into shorter ones, or use data.frames: u8"
        )
    words = positions.astype("<u2" if position_words(sensor) == 1 else "<u4").view("<u2")
    packed = np.concatenate([words, times]).view(np.uint8).reshape(-1, EVENTS_ROW_BYTES)
    return Framed(packed, len(events), 0, (first, last))


def time_words(n_words: I64, n_events: I64, sensor: SensorSize) -> I64:
    """Words of a time of each recording, 1 or 2, from its lengths i64[R]. `DamagedEvents` if they fit no recording."""
    found, rest = np.divmod(n_words, np.maximum(n_events, 1))
    found -= position_words(sensor)
    if (n_events < 1).any() or rest.any() or (found < 1).any() or (found > 2).any():
        raise DamagedEvents("its recordings do not have the lengths of their events")
    return found


def times_of(stored: npt.NDArray[np.unsignedinteger], span_us: I64) -> I64:
    """When each event was, i64[n] in µs, from the stored times, u16[n] or u32[n], and the earliest and latest time.

    `DamagedEvents` if those are others.
    """
    first_us, last_us = (int(time) for time in span_us)
    if stored.dtype.itemsize == 4:
        times = stored + np.int64(first_us)
        found = int(stored.min()), int(times.max())
    else:
        times = np.empty(len(stored), np.int64)
        kernels.times_of_steps(stored, first_us, times)
        found = int(stored[0]), int(times[-1])
    if found != (0, last_us):
        raise DamagedEvents(
            f"its events are from {first_us + found[0]} to {found[1]} µs, not from {first_us} to {last_us}"
        )
    return times


def columns_of(positions: npt.NDArray[np.unsignedinteger], times: I64, sensor: SensorSize) -> Events:
    """The events at these positions in a frame of `sensor`, as they were before they were packed.

    `DamagedEvents` for a position that is in no frame.
    """
    if positions.max() >= sensor.values:
        raise DamagedEvents(OUTSIDE)
    channel, pixel = np.divmod(positions, sensor.width * sensor.height)
    y, x = np.divmod(pixel, sensor.width)
    return Events(x.astype(np.uint16), y.astype(np.uint16), times, channel.astype(np.uint8))


def frames_in(n_events: I64, spans_us: I64, recipe: FrameRecipe) -> I64:
    """How many frames each recording of n_events i64[R] between spans_us i64[R, 2] has; not of a `custom` recipe."""
    numbers, fraction, _ = numbers_of(recipe)
    counts = np.empty(len(n_events), np.int64)
    kernels.count_frames_of(n_events, spans_us, numbers, fraction, counts)
    return counts


def check_counts(counts: I64, recipe: FrameRecipe, paths: Sequence[str]) -> None:
    """`RecordingError` for the first recording that would become too many frames."""
    for row in np.flatnonzero(counts > most_frames_of(recipe))[:1].tolist():
        raise too_many(int(counts[row]), recipe, paths[row])


def slices_of(n_events: int, times: I64, recipe: FrameRecipe) -> I64:
    """First event and end of every frame, i64[T, 2]. `times`, in order, are needed only by the rules `BY_TIME`."""
    numbers, fraction, _ = numbers_of(recipe)
    assert recipe.slice_by not in BY_TIME or len(times) == n_events, (n_events, len(times))
    slices: I64 = kernels.slices_of(n_events, times, numbers, fraction)
    return slices


def fill_frames(
    positions: npt.NDArray[np.unsignedinteger],
    begin: int,
    slices: I64,
    frames: npt.NDArray[np.uint8],
    recipe: FrameRecipe,
) -> None:
    """Write the frames of slices i64[T, 2] into frames u8[T, frame_nbytes], as the recipe stores them.

    `positions` are those of the events from number `begin` on, as far as the slices go. `DamagedEvents` for one that
    is in no frame.
    """
    numbers, _, ranks = numbers_of(recipe)
    if not kernels.fill_frames(positions, begin, slices, frames, numbers, ranks):
        raise DamagedEvents(OUTSIDE)
