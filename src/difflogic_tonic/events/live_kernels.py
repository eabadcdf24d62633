"""The machine code behind `live`: events that come in pieces, filtered one by one with what is remembered so far."""

from typing import Any, NamedTuple

import numpy as np

from difflogic_tonic.events.atis import OVERFLOW_US, OVERFLOW_Y
from difflogic_tonic.events.jit import kernel
from difflogic_tonic.events.kernels import _supported


class Sieve(NamedTuple):
    """A recipe as the kernel takes it, an array i64[10]: sensor and filters, then what events are counted in."""

    width: int
    height: int
    refractory_us: int
    denoise_us: int
    left: int
    top: int
    crop_width: int
    crop_height: int
    downsample: int
    polarities: int


@kernel
def columns_of_records(records: Any, late: int, x: Any, y: Any, t: Any, p: Any) -> Any:
    """ATIS records u8[n, 5] to columns; returns how many events there are and how late the clock is now, in µs."""
    n = np.int64(0)
    for i in range(len(records)):
        row, high = records[i, 1], np.int64(records[i, 2])
        if row == OVERFLOW_Y:
            late += OVERFLOW_US
            continue
        to = np.uint64(n)
        x[to], y[to], p[to] = np.uint16(records[i, 0]), np.uint16(row), np.uint8(high >> 7)
        t[to] = ((high & 0x7F) << 16 | np.int64(records[i, 3]) << 8 | np.int64(records[i, 4])) + late
        n += 1
    return n, late


@kernel
def sift(x: Any, y: Any, t: Any, p: Any, sieve: Any, until: Any, last: Any, positions: Any, times: Any) -> Any:
    """Position in a frame and time of the events that survive, and their number; -1 - i if event i is off the sensor.

    `until` of `kernels._memory` for the whole sensor and `last` i64[pixels] remember; both are empty where their filter
    is off.
    """
    width, height, refractory_us, denoise_us, left, top, crop_width, crop_height, downsample, polarities = sieve
    columns, rows = -(-crop_width // downsample), -(-crop_height // downsample)
    n = np.int64(0)
    for i in range(len(x)):
        column, row, now = np.int64(x[i]), np.int64(y[i]), t[i]
        if column >= width or row >= height:
            return -1 - i
        if refractory_us:
            pixel = np.uint64(row * width + column)
            early = now - last[pixel] <= refractory_us
            last[pixel] = now
            if early:
                continue
        if denoise_us and not _supported(until, (row + 1) * (width + 2) + column + 1, width + 2, now, denoise_us):
            continue
        column, row = column - left, row - top
        if column < 0 or row < 0 or column >= crop_width or row >= crop_height:
            continue
        if downsample > 1:
            column, row = column // downsample, row // downsample
        positions[np.uint64(n)] = ((np.int64(p[i]) & (polarities - 1)) * rows + row) * columns + column
        times[np.uint64(n)] = now
        n += 1
    return n


@kernel
def first_disorder(times: Any, before: int) -> Any:
    """The first i with times[i] before the one in front of it, which for the first is `before`; -1 if none."""
    for i in range(len(times)):
        if times[i] < before:
            return i
        before = times[i]
    return -1
