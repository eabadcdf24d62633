"""The machine code behind `framing`: events to positions in a frame, positions to frames."""

from typing import Any

import numpy as np

from difflogic_tonic.events import settings
from difflogic_tonic.events.atis import OVERFLOW_US, OVERFLOW_Y
from difflogic_tonic.events.jit import kernel
from difflogic_tonic.events.settings import Settings
from difflogic_tonic.events.stream import LONG_AGO


@kernel
def frames_of_records(records: Any, positions: Any, numbers: Any, fraction: float, ranks: Any) -> Any:
    """ATIS records u8[n, 5] → outcome, frames u8[T, frame_nbytes], events kept, saturated pixels.

    `positions` is room for as many events, u16[n] where that holds every position in a frame, else u32[n]. `numbers`
    are `Settings`, `fraction` is the overlap of bins where it is one, `ranks` i16[256] says of a count
    which level it is, -1 if none.
    """
    s = _settings(numbers)
    extent_width, extent_height = _extent_of_records(records)
    if extent_width > s.width or extent_height > s.height:
        return settings.OUTSIDE, np.empty((0, s.frame_nbytes), np.uint8), 0, 0
    until = _memory(extent_width, extent_height, s.denoise_us, s.keep_warmup)
    times = np.empty(len(records) if _by_time(s) else 0, np.int64)
    n = _positions_of_records(records, s, until, extent_width + 2, positions, times)
    return _frames(positions[:n], times[:n], s, fraction, ranks)


@kernel
def frames_of_columns(x: Any, y: Any, t: Any, p: Any, positions: Any, numbers: Any, fraction: float, ranks: Any) -> Any:
    """Columns of events, filtered already → what `frames_of_records` returns."""
    s = _settings(numbers)
    extent_width, extent_height = _extent(x, y)
    if extent_width > s.width or extent_height > s.height:
        return settings.OUTSIDE, np.empty((0, s.frame_nbytes), np.uint8), 0, 0
    width, area, mask = np.uint32(s.width), np.uint32(s.width * s.height), np.uint32(s.polarities - 1)
    for i in range(len(x)):  # apart from counting, since a processor does this for many events at once
        positions[i] = (np.uint32(p[i]) & mask) * area + np.uint32(y[i]) * width + np.uint32(x[i])
    return _frames(positions, t, s, fraction, ranks)


@kernel
def slices_of(n: int, times: Any, numbers: Any, fraction: float) -> Any:
    """First event and end of every frame of n >= 1 events, i64[T, 2]. `times`, in order, are only read `_by_time`."""
    s = _settings(numbers)
    return _slices(n, times, s, _windows(n, *_span(times, s), s, fraction))


@kernel
def count_frames_of(n_events: Any, spans_us: Any, numbers: Any, fraction: float, counts: Any) -> None:
    """Write into counts i64[R] how many frames n_events i64[R] >= 1 have that lie in spans_us i64[R, 2]."""
    s = _settings(numbers)
    for i in range(len(counts)):
        counts[i] = _windows(n_events[i], spans_us[i, 0], spans_us[i, 1], s, fraction)[3]


@kernel
def fill_frames(positions: Any, begin: int, slices: Any, frames: Any, numbers: Any, ranks: Any) -> Any:
    """Write the frames of slices i64[T, 2] into frames u8[T, n]; False, and nothing, if a position is in no frame."""
    s = _settings(numbers)
    if len(positions) > 0 and np.max(positions) >= s.polarities * s.height * s.width:
        return False
    frames[:] = 0
    _fill(positions, begin, slices, s, ranks, frames)
    return True


@kernel
def times_of_steps(steps: Any, start: int, times: Any) -> None:
    """Sum up steps u16[n] in µs from `start` on into times i64[n]."""
    time = np.int64(start)
    for i in range(len(steps)):
        time += np.int64(steps[i])
        times[i] = time


@kernel
def denoised(x: Any, y: Any, t: Any, p: Any, denoise_us: int, keep_warmup: int) -> Any:
    """The columns of the events that `stream.denoise` keeps."""
    width, height = _extent(x, y)
    until = _memory(width, height, denoise_us, keep_warmup)
    pitch = width + 2
    xs, ys, ts, ps = np.empty_like(x), np.empty_like(y), np.empty_like(t), np.empty_like(p)
    n = np.int64(0)
    for i in range(len(x)):
        column, row = np.int64(x[i]), np.int64(y[i])
        to = np.uint64(n)
        xs[to], ys[to], ts[to], ps[to] = x[i], y[i], t[i], p[i]
        n += _supported(until, (row + 1) * pitch + column + 1, pitch, t[i], denoise_us)
    return xs[:n], ys[:n], ts[:n], ps[:n]


@kernel
def refracted(x: Any, y: Any, t: Any, p: Any, refractory_us: int) -> Any:
    """The columns of the events that `filters.refractory` keeps."""
    width, height = _extent(x, y)
    last = np.full(width * height, LONG_AGO, np.int64)
    xs, ys, ts, ps = np.empty_like(x), np.empty_like(y), np.empty_like(t), np.empty_like(p)
    n = np.int64(0)
    for i in range(len(x)):
        to, pixel = np.uint64(n), np.uint64(np.int64(y[i]) * width + np.int64(x[i]))
        xs[to], ys[to], ts[to], ps[to] = x[i], y[i], t[i], p[i]
        n += np.int64(t[i] - last[pixel] > refractory_us)
        last[pixel] = t[i]
    return xs[:n], ys[:n], ts[:n], ps[:n]


@kernel
def _extent(x: Any, y: Any) -> Any:
    """Width and height of the part of the sensor that fired."""
    right = bottom = np.uint16(0)
    for i in range(len(x)):
        right = max(right, x[i])
    for i in range(len(y)):
        bottom = max(bottom, y[i])
    return np.int64(right) + 1, np.int64(bottom) + 1


@kernel
def _settings(numbers: Any) -> Any:
    n = numbers
    return Settings(n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[8], n[9], n[10], n[11], n[12])


@kernel
def _by_time(s: Settings) -> Any:
    return (
        s.rule == settings.TIME
        or s.rule == settings.TIME_BINS
        or s.rule == settings.NUMBER_BY_TIME
        or s.rule == settings.DURATION
    )


@kernel
def _memory(width: int, height: int, denoise_us: int, keep_warmup: int) -> Any:
    """Until when each pixel supports its neighbours, with a border that supports nobody in place of bounds checks."""
    if denoise_us == 0:
        return np.empty(0, np.int64)
    pitch = width + 2
    until = np.full((height + 2) * pitch, LONG_AGO, np.int64)
    if keep_warmup:
        for row in range(1, height + 1):
            until[row * pitch + 1 : row * pitch + 1 + width] = denoise_us
    return until


@kernel
def _extent_of_records(records: Any) -> Any:
    """Width and height of the part of the sensor that fired."""
    width = height = np.int64(0)
    for i in range(len(records)):
        y = np.int64(records[i, 1])
        if y != OVERFLOW_Y:
            width, height = np.maximum(width, np.int64(records[i, 0]) + 1), np.maximum(height, y + 1)
    return width, height


@kernel
def _positions_of_records(records: Any, s: Settings, until: Any, pitch: int, positions: Any, times: Any) -> Any:
    """Write where in a frame each event that survives denoising belongs, and when, and return how many do.

    Every event is written, and the cursor moves on only if it is kept: a branch here would be mispredicted for every
    third event, and cost more than all the rest. Unsigned indices spare numba's handling of negative ones.
    """
    late = 0
    n = np.int64(0)
    timed = len(times) > 0
    for i in range(len(records)):
        x, y, high = np.int64(records[i, 0]), np.int64(records[i, 1]), np.int64(records[i, 2])
        if y == OVERFLOW_Y:
            late += OVERFLOW_US
            continue
        positions[np.uint64(n)] = ((high >> 7 & (s.polarities - 1)) * s.height + y) * s.width + x
        if s.denoise_us == 0 and not timed:
            n += 1
            continue
        t = ((high & 0x7F) << 16 | np.int64(records[i, 3]) << 8 | np.int64(records[i, 4])) + late
        if timed:
            times[np.uint64(n)] = t
        if s.denoise_us == 0:
            n += 1
        else:
            n += _supported(until, (y + 1) * pitch + x + 1, pitch, t, s.denoise_us)
    return n


@kernel
def _supported(until: Any, pixel: int, pitch: int, t: int, denoise_us: int) -> Any:
    """1 if a 4-neighbour still supports an event at `pixel` at time `t`, else 0. Either way it supports from now on."""
    until[np.uint64(pixel)] = t + denoise_us
    beside = max(until[np.uint64(pixel - 1)], until[np.uint64(pixel + 1)])
    above_or_below = max(until[np.uint64(pixel - pitch)], until[np.uint64(pixel + pitch)])
    return np.int64(max(beside, above_or_below) > t)


@kernel
def _frames(positions: Any, times: Any, s: Settings, fraction: float, ranks: Any) -> Any:
    """Slice and count."""
    n = len(positions)
    if n == 0:
        return settings.OK, np.empty((0, s.frame_nbytes), np.uint8), 0, 0
    if _by_time(s) and not _in_order(times):
        return settings.DISORDER, np.empty((0, s.frame_nbytes), np.uint8), n, 0
    windows = _windows(n, *_span(times, s), s, fraction)
    count = windows[3]
    if count > s.most_frames:
        return settings.TOO_MANY, np.empty((0, s.frame_nbytes), np.uint8), count, 0
    frames = np.zeros((count, s.frame_nbytes), np.uint8)
    return settings.OK, frames, n, _fill(positions, 0, _slices(n, times, s, windows), s, ranks, frames)


@kernel
def _slices(n: int, times: Any, s: Settings, windows: Any) -> Any:
    start, length, stride, count, rest_to_last = windows
    slices = np.empty((count, 2), np.int64)
    for f in range(count):
        begin = start + f * stride
        slices[f, 0] = _index(begin, times, s, n)
        slices[f, 1] = n if rest_to_last and f == count - 1 else _index(begin + length, times, s, n)
    return slices


@kernel
def _fill(positions: Any, begin: int, slices: Any, s: Settings, ranks: Any, frames: Any) -> Any:
    """Count into frames that are 0; how many pixels had more than 255 events. The first position is event `begin`."""
    n_saturated = 0
    for f in range(len(slices)):
        shown = positions[slices[f, 0] - begin : slices[f, 1] - begin]
        if s.n_levels:
            counts = np.zeros(s.polarities * s.height * s.width, np.uint8)
            _mark_levels(shown, counts, ranks, s, frames[f])
        elif s.as_bits:
            _mark(shown, frames[f])
        else:
            _count(shown, frames[f])
            if len(shown) > 255:
                n_saturated += _saturated(shown, frames[f])
    return n_saturated


@kernel
def _in_order(times: Any) -> Any:
    disorder = False
    for i in range(1, len(times)):
        disorder |= times[i] < times[i - 1]
    return not disorder


@kernel
def _span(times: Any, s: Settings) -> Any:
    """When the first and the last event were; 0 if that does not matter."""
    return (times[0], times[len(times) - 1]) if _by_time(s) else (np.int64(0), np.int64(0))


@kernel
def _windows(n: int, first: int, last: int, s: Settings, fraction: float) -> Any:
    """Start, length, stride and number of the frames, and whether the last has the rest; of events, or µs `_by_time`.

    All but the number are floats, which hold whole numbers up to 2^53 exactly, and parts of a µs where an overlap makes
    them. The rules are in `slicing`.
    """
    size, start = s.size, float(first) if _by_time(s) else 0.0
    if s.rule == settings.EVENTS or s.rule == settings.TIME:
        window = min(size, n) if s.rule == settings.EVENTS else size
        stride = size - s.overlap
        rest = n - window if s.rule == settings.EVENTS else last - first - window
        count = (rest + stride - 1 if s.include_incomplete else rest) // stride + 1
        return start, float(window), float(stride), max(count, 1), False
    if s.rule == settings.NUMBER:
        return start, float(n // size), float(n // size), size, True
    if s.rule == settings.NUMBER_BY_TIME:
        duration = max(1, (last - first) // size)
        return start, float(duration), float(duration), size, True
    if s.rule == settings.DURATION:
        return start, float(size), float(size), max(1, (last - first + size - 1) // size), True
    base = max(1, (n if s.rule == settings.EVENT_BINS else last - first) // size)
    if fraction == 0:
        return start, float(base + s.overlap), float(base), size, False
    length = base * (1 + fraction)
    if s.rule == settings.EVENT_BINS:
        length = float(int(length))
        return start, length, float(max(1, int(length * (1 - fraction)))), size, False
    return start, length, length * (1 - fraction), size, False


@kernel
def _index(value: float, times: Any, s: Settings, n: int) -> Any:
    """The first event that is not before `value`."""
    if not _by_time(s):
        return min(np.int64(value), n)
    key = np.int64(np.ceil(value))
    low, high = np.int64(0), np.int64(n)
    while low < high:
        middle = (low + high) >> 1
        if times[middle] < key:
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def _count(positions: Any, frame: Any) -> None:
    """Add 1 at each position, up to 255."""
    for position in positions:
        count = frame[np.uint64(position)]
        frame[np.uint64(position)] = np.uint8(count + np.uint8(count != 255))


@kernel
def _saturated(positions: Any, frame: Any) -> Any:
    """Pixels with more than 255 events. Only a frame with a count of 255 pays for finding out."""
    most = np.uint8(0)
    for shown in frame:
        most = max(most, shown)
    if most < 255:
        return np.int64(0)
    counts = np.zeros(len(frame), np.int32)
    for position in positions:
        counts[np.uint64(position)] += 1
    n = np.int64(0)
    for count in counts:
        n += np.int64(count > 255)
    return n


@kernel
def _mark(positions: Any, frame: Any) -> None:
    """Set the bit of each position, lowest bit of a byte first: frames are born packed."""
    for position in positions:
        frame[np.uint64(position >> 3)] |= np.uint8(1 << (position & 7))


@kernel
def _mark_levels(positions: Any, counts: Any, ranks: Any, s: Settings, frame: Any) -> None:
    """Set the bit of [polarity, level, row, column] when a count reaches that level; `counts` are 0 before."""
    pixels = np.int64(s.width * s.height)
    for position in positions:
        count = counts[np.uint64(position)]
        count += np.uint8(count != 255)
        counts[np.uint64(position)] = count
        rank = np.int64(ranks[np.uint64(count)])
        if rank >= 0:
            polarity = np.int64(np.int64(position) >= pixels)
            bit = np.int64(position) + (polarity * (s.n_levels - 1) + rank) * pixels
            frame[np.uint64(bit >> 3)] |= np.uint8(1 << (bit & 7))
