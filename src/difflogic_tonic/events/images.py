"""Images in files that hold many of them, and an image as the one frame of a recording."""

import struct
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from difflogic_tonic.config import PrepareConfig, SensorSize
from difflogic_tonic.errors import RecordingError

if TYPE_CHECKING:
    from difflogic_tonic.events.framing import Framed

IDX_UINT8 = 8


@dataclass(frozen=True)
class ImageRecipe:
    """An image becomes one frame of its own size, each value as it is, 0 to 255."""

    sensor: SensorSize
    storage: Literal["u8"] = "u8"

    @property
    def stored(self) -> SensorSize:
        """Pixels and channels of a frame."""
        return self.sensor

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)"""
        return self.sensor.polarities, self.sensor.height, self.sensor.width

    @property
    def frame_nbytes(self) -> int:
        """Bytes of one stored frame."""
        return self.sensor.values


def image_recipe(config: PrepareConfig) -> ImageRecipe:
    """The recipe of a prepare config for a dataset of images."""
    return ImageRecipe(config.facts.sensor)


def frame_image(data: bytes, recipe: ImageRecipe, where: str) -> "Framed":
    """One frame from the values of an image in the order channel, row, column. `n_events` is 0: there are none."""
    from difflogic_tonic.events.framing import Framed

    if len(data) != recipe.frame_nbytes:
        raise RecordingError(
            f"{where}: {len(data):,} values; expected {recipe.frame_nbytes:,} "
            f"({' x '.join(map(str, recipe.frame_shape))}: channels, height, width)"
        )
    return Framed(np.frombuffer(data, np.uint8).reshape(1, -1), 0, 0)


def read_idx(data: bytes, where: str) -> npt.NDArray[np.uint8]:
    """The array in an IDX file, as u8 in its own shape: [n] labels, [n, height, width] images.

    The format is that of the MNIST page: two zero bytes, the type (8: u8), the number of dimensions, each dimension as
    a big-endian u32, then the values, the last dimension fastest. Raises `RecordingError` for anything else.
    """
    if len(data) < 4 or data[:2] != b"\0\0":
        raise RecordingError(f"{where}: byte 0 does not begin an IDX file; expected two zeros; fetch the file again")
    if data[2] != IDX_UINT8:
        raise RecordingError(f"{where}: type {data[2]} at byte 2; expected {IDX_UINT8} (u8); fetch the file again")
    start = 4 + 4 * data[3]
    if len(data) < start:
        raise RecordingError(f"{where}: ends at byte {len(data)}, inside its header of {start}; fetch the file again")
    shape = struct.unpack(f">{data[3]}I", data[4:start])
    if len(data) - start != prod(shape):
        raise RecordingError(
            f"{where}: {len(data) - start:,} values after byte {start}; expected {prod(shape):,} "
            f"({' x '.join(map(str, shape))}); fetch the file again"
        )
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)
