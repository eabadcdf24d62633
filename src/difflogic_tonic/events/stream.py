"""Events in memory, and the plain numpy reference of everything that the kernels do with them."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from difflogic_tonic.config import SensorSize

Warmup = Literal["keep", "drop"]
LONG_AGO = -(2**62)


@dataclass(frozen=True, eq=False)
class Events:
    """A recording, column by column, in the order in which the camera sent it.

    `x`, `y`: u16[n] column and row of the pixel; `t`: i64[n] microseconds; `p`: u8[n], 1 where it became brighter.
    """

    x: npt.NDArray[np.uint16]
    y: npt.NDArray[np.uint16]
    t: npt.NDArray[np.int64]
    p: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.t)

    def __getitem__(self, chosen: Any) -> "Events":
        """The events at `chosen`: a slice, a boolean mask or an array of positions."""
        return Events(self.x[chosen], self.y[chosen], self.t[chosen], self.p[chosen])


def make_events(x: npt.ArrayLike, y: npt.ArrayLike, t: npt.ArrayLike, p: npt.ArrayLike) -> Events:
    """`Events` from four equally long sequences of integers."""
    columns = Events(
        np.asarray(x, np.uint16), np.asarray(y, np.uint16), np.asarray(t, np.int64), np.asarray(p, np.uint8)
    )
    assert len(columns.x) == len(columns.y) == len(columns.t) == len(columns.p), "columns of different lengths"
    return columns


def denoise(events: Events, denoise_us: int, warmup: Warmup = "keep") -> Events:
    """The events that a 4-neighbour supports: one that fired less than `denoise_us` microseconds before.

    Each pixel remembers until when its last event supports its neighbours; an event survives if one of its neighbours
    still does. Polarity is ignored, a pixel does not support itself, and events that are dropped support others.
    `denoise_us` 0 keeps everything. This is the rule of tonic 1.7.0's `Denoise`, and so is its start: every pixel,
    up to the last column and the last row that fire at all, begins as if it supported until time `denoise_us`
    (`warmup="keep"`). With `warmup="drop"` there is no support before the first event.
    """
    if denoise_us == 0 or len(events) == 0:
        return events
    width, height = int(events.x.max()) + 1, int(events.y.max()) + 1
    until = np.full((height + 2, width + 2), LONG_AGO, np.int64)  # the border supports nobody: no bounds checks
    if warmup == "keep":
        until[1:-1, 1:-1] = denoise_us
    kept = np.zeros(len(events), bool)
    for i, (x, y, t) in enumerate(zip(events.x.tolist(), events.y.tolist(), events.t.tolist(), strict=True)):
        row, column = y + 1, x + 1
        until[row, column] = t + denoise_us
        support = max(until[row - 1, column], until[row + 1, column], until[row, column - 1], until[row, column + 1])
        kept[i] = support > t
    return events[kept]


def count_frames(
    events: Events, slices: npt.NDArray[np.int64], sensor: SensorSize
) -> tuple[npt.NDArray[np.uint8], int]:
    """Events per pixel and polarity of every slice: u8[T, P, H, W], clipped at 255, never wrapped.

    Also the number of pixels that were clipped. A sensor with one polarity channel counts both polarities in it.
    """
    channel = events.p.astype(np.int64) % sensor.polarities
    position = (channel * sensor.height + events.y) * sensor.width + events.x
    frames = np.zeros((len(slices), sensor.values), np.uint8)
    n_saturated = 0
    for frame, (start, end) in zip(frames, slices.tolist(), strict=True):
        counts = np.bincount(position[start:end], minlength=sensor.values)
        n_saturated += int(np.count_nonzero(counts > 255))
        frame[:] = np.minimum(counts, 255)
    return frames.reshape(-1, sensor.polarities, sensor.height, sensor.width), n_saturated


def thermometer(frames: npt.NDArray[np.uint8], levels: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """A plane for each level, 1 where the count is at least that: u8[T, P, H, W] → u8[T, P · levels, H, W]."""
    planes = frames[:, :, None] >= np.array(levels, np.uint8)[:, None, None]
    return planes.reshape(len(frames), frames.shape[1] * len(levels), *frames.shape[2:]).astype(np.uint8)


def pack_bits(frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Where there was an event: counts u8[T, ...] → u8[T, ceil(values / 8)], lowest bit first, 0 at the end."""
    return np.packbits(frames.reshape(len(frames), math.prod(frames.shape[1:])) > 0, axis=1, bitorder="little")
