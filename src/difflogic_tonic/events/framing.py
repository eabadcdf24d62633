"""From the bytes of a recording to its frames in one pass of machine code."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from difflogic_tonic.events.atis import OVERFLOW_US, OVERFLOW_Y, Bytes, decode_atis, outside_error, records_of
from difflogic_tonic.events.jit import kernel
from difflogic_tonic.events.recipe import FrameRecipe
from difflogic_tonic.events.stream import LONG_AGO, count_frames, denoise, pack_bits, slice_by_count

OUTSIDE = -1


class Framed(NamedTuple):
    """Frames of one recording.

    `frames`: u8[T, recipe.frame_nbytes], counts in the order P, H, W or bits of the same order, lowest bit first.
    `n_events`: events left after denoising; T is 0 exactly if there are none.
    `n_saturated`: pixels, over all frames, that had more than the 255 events a count can hold; 0 for bits.
    """

    frames: npt.NDArray[np.uint8]
    n_events: int
    n_saturated: int


def frame_recording(data: Bytes, recipe: FrameRecipe, where: str) -> Framed:
    """Decode an ATIS `.bin` file, denoise it and slice it into frames; `where` names it in errors.

    Exactly `frame_recording_plain`, some 200 times faster, and other threads run meanwhile. Raises `RecordingError` as
    `decode_atis` does.
    """
    records = records_of(data, where)
    sensor = recipe.sensor
    assert sensor.height <= OVERFLOW_Y, sensor
    assert sensor.polarities in (1, 2), sensor
    stride = recipe.events_per_frame - recipe.overlap
    as_bits = recipe.storage == "bits"
    frames, positions, n_lost = _frames(
        records, sensor.width, sensor.height, sensor.polarities, recipe.denoise_us, recipe.denoise_warmup == "keep",
        recipe.events_per_frame, stride, recipe.include_incomplete, recipe.frame_nbytes, as_bits,
    )  # fmt: skip
    if n_lost == OUTSIDE:
        x, y = records[:, 0], records[:, 1]
        outside = (y != OVERFLOW_Y) & ((x >= sensor.width) | (y >= sensor.height))
        raise outside_error(records, int(np.argmax(outside)), sensor, where)
    # Clipping is rare: only a recording that lost a count pays for finding out how many pixels it concerns.
    n_saturated = _saturated(positions, recipe) if n_lost else 0
    return Framed(frames, len(positions), n_saturated)


def frame_recording_plain(data: Bytes, recipe: FrameRecipe, where: str) -> Framed:
    """What `frame_recording` computes, step by step in plain numpy: the reference of its tests."""
    events = denoise(decode_atis(data, recipe.sensor, where), recipe.denoise_us, recipe.denoise_warmup)
    slices = slice_by_count(len(events), recipe.events_per_frame, recipe.overlap, recipe.include_incomplete)
    counts, n_saturated = count_frames(events, slices, recipe.sensor)
    if recipe.storage == "bits":
        return Framed(pack_bits(counts), len(events), 0)
    return Framed(counts.reshape(len(counts), recipe.frame_nbytes), len(events), n_saturated)


def _saturated(positions: npt.NDArray[np.int32], recipe: FrameRecipe) -> int:
    """Pixels with more than 255 events, over all frames."""
    slices = slice_by_count(len(positions), recipe.events_per_frame, recipe.overlap, recipe.include_incomplete)
    counts = (np.bincount(positions[start:end], minlength=recipe.sensor.values) for start, end in slices.tolist())
    return sum(int(np.count_nonzero(frame > 255)) for frame in counts)


@kernel
def _frames(
    records: Any,
    width: int, height: int, polarities: int,
    denoise_us: int, keep_warmup: bool,
    events_per_frame: int, stride: int, include_incomplete: bool,
    frame_nbytes: int, as_bits: bool,
) -> Any:  # fmt: skip
    """u8[T, frame_nbytes] frames, i32[n] positions of the kept events in them, and the number of counts lost at 255.

    A pixel outside the sensor gives no frames and `OUTSIDE` for the last.
    """
    extent_width, extent_height = _extent(records)
    if extent_width > width or extent_height > height:
        return np.empty((0, frame_nbytes), np.uint8), np.empty(0, np.int32), OUTSIDE
    pitch = extent_width + 2
    until = np.full((extent_height + 2) * pitch, LONG_AGO, np.int64)
    if keep_warmup:
        for row in range(1, extent_height + 1):
            until[row * pitch + 1 : row * pitch + 1 + extent_width] = denoise_us
    positions = np.empty(len(records), np.int32)
    n = _positions(records, width, height, polarities, denoise_us, until, pitch, positions)
    length = min(events_per_frame, n)
    rest = n - length
    count = 0
    if n > 0:
        count = (rest + stride - 1 if include_incomplete else rest) // stride + 1
    frames = np.zeros((count, frame_nbytes), np.uint8)
    n_lost = 0
    for f in range(count):
        shown = positions[f * stride : min(f * stride + length, n)]
        if as_bits:
            _mark(shown, frames[f])
        else:
            n_lost += _count(shown, frames[f])
    return frames, positions[:n], n_lost


@kernel
def _extent(records: Any) -> Any:
    """Width and height of the part of the sensor that fired."""
    width = height = np.int64(0)
    for i in range(len(records)):
        y = np.int64(records[i, 1])
        if y != OVERFLOW_Y:
            width, height = np.maximum(width, np.int64(records[i, 0]) + 1), np.maximum(height, y + 1)
    return width, height


@kernel
def _positions(
    records: Any, width: int, height: int, polarities: int, denoise_us: int, until: Any, pitch: int, positions: Any
) -> Any:
    """Write where in a frame each event that survives denoising belongs, and return how many do.

    `until` is the memory of `denoise`, row by row with a border that supports nobody in place of bounds checks. Every
    event is written, and the cursor moves on only if it is kept: a branch here would be mispredicted for every third
    event, and cost more than all the rest. Unsigned indices spare numba's handling of negative ones.
    """
    late = 0
    n = np.int64(0)
    for i in range(len(records)):
        x, y, high = np.int64(records[i, 0]), np.int64(records[i, 1]), np.int64(records[i, 2])
        if y == OVERFLOW_Y:
            late += OVERFLOW_US
            continue
        positions[np.uint64(n)] = ((high >> 7 & (polarities - 1)) * height + y) * width + x
        if denoise_us == 0:
            n += 1
            continue
        t = ((high & 0x7F) << 16 | np.int64(records[i, 3]) << 8 | np.int64(records[i, 4])) + late
        pixel = (y + 1) * pitch + x + 1
        until[np.uint64(pixel)] = t + denoise_us
        beside = max(until[np.uint64(pixel - 1)], until[np.uint64(pixel + 1)])
        above_or_below = max(until[np.uint64(pixel - pitch)], until[np.uint64(pixel + pitch)])
        n += np.int64(max(beside, above_or_below) > t)
    return n


@kernel
def _count(positions: Any, frame: Any) -> Any:
    """Add 1 at each position, up to 255; returns how many additions were lost at 255."""
    lost = np.int64(0)
    for position in positions:
        count = np.int64(frame[np.uint64(position)]) + 1
        carry = count >> 8
        frame[np.uint64(position)] = np.uint8(count - carry)
        lost += carry
    return lost


@kernel
def _mark(positions: Any, frame: Any) -> None:
    """Set the bit of each position, lowest bit of a byte first: frames are born packed."""
    for position in positions:
        frame[np.uint64(position >> 3)] |= np.uint8(1 << (position & 7))
