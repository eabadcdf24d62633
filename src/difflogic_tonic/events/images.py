"""Images in files that hold many of them, and an image as the one frame of a recording."""

import codecs
import io
import pickle
import struct
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from difflogic_tonic.config import DatasetFacts, PrepareConfig, SensorSize
from difflogic_tonic.errors import RecordingError

if TYPE_CHECKING:
    from PIL.Image import Image

    from difflogic_tonic.events.framing import Framed

Array: TypeAlias = npt.NDArray[np.uint8]

IDX_UINT8 = 8
CIFAR_SHAPE = (3, 32, 32)
CIFAR_VALUES = 3 * 32 * 32
CIFAR_GLOBALS: dict[tuple[str, str], Any] = {
    ("numpy._core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): codecs.encode,
}
"""All that the pickles of CIFAR name."""


@dataclass(frozen=True)
class ImageRecipe:
    """An image becomes one frame, each value as it is, 0 to 255.

    `format`: "pixels" for values in the order of the frame, "picture" for a PNG or JPEG file. A picture of another size
    than `sensor` is refused unless `resize`: then it is scaled until it covers the frame, and cut around its centre.
    """

    sensor: SensorSize
    storage: Literal["u8"] = "u8"
    format: str = "pixels"
    resize: bool = False

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


def image_recipe(config: PrepareConfig, facts: DatasetFacts) -> ImageRecipe:
    """The recipe of a prepare config for the images that `facts` describes."""
    assert facts.sensor is not None, facts.name
    return ImageRecipe(facts.sensor, format=facts.format, resize=config.data.image_size is not None)


def frame_image(data: bytes, recipe: ImageRecipe, where: str) -> "Framed":
    """One frame from the content of an image. `n_events` is 0: there are none. Raises `RecordingError`."""
    from difflogic_tonic.events.framing import Framed

    if recipe.format == "picture":
        return Framed(decode_picture(data, recipe, where).reshape(1, -1), 0, 0)
    if len(data) != recipe.frame_nbytes:
        raise RecordingError(
            f"{where}: {len(data):,} values; expected {recipe.frame_nbytes:,} "
            f"({' x '.join(map(str, recipe.frame_shape))}: channels, height, width)"
        )
    return Framed(np.frombuffer(data, np.uint8).reshape(1, -1), 0, 0)


def decode_picture(data: bytes, recipe: ImageRecipe, where: str) -> Array:
    """The values u8[3, height, width] (or [1, ...], grey) of a PNG or JPEG file, brought to the size of the recipe."""
    from PIL import ImageOps

    width, height, channels = recipe.sensor
    with _picture(data, where) as image:
        if image.size != (width, height) and not recipe.resize:
            raise RecordingError(
                f"{where}: {image.size[0]}x{image.size[1]} pixels; expected {width}x{height}; "
                f"bring all to one size with data.image_size=[{width}, {height}]"
            )
        image = image.convert("RGB" if channels == 3 else "L")
        if image.size != (width, height):
            image = ImageOps.fit(image, (width, height))
        values = np.asarray(image, np.uint8).reshape(height, width, channels)
    return np.ascontiguousarray(values.transpose(2, 0, 1))


def picture_size(data: bytes, where: str) -> tuple[int, int]:
    """Width and height of a PNG or JPEG file."""
    with _picture(data, where) as image:
        return image.size


@contextmanager
def _picture(data: bytes, where: str) -> Iterator["Image"]:
    """The opened picture; what Pillow says of a damaged one, while it is read, is a `RecordingError`."""
    import PIL.Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", PIL.Image.DecompressionBombWarning)
            with PIL.Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as image:
                yield image
    except PIL.UnidentifiedImageError:
        raise RecordingError(f"{where}: no PNG or JPEG file that can be read; remove it, or fetch it again") from None
    except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError, Warning, struct.error) as error:
        raise RecordingError(f"{where}: no PNG or JPEG file that can be read ({error}); fetch it again") from None


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


def read_idx_pack(contents: list[bytes], where: list[str]) -> tuple[Array, Array]:
    """Images u8[n, height, width] and labels u8[n] from the contents of two IDX files."""
    images, labels = (read_idx(data, place) for data, place in zip(contents, where, strict=True))
    return images, labels


def read_cifar_records(contents: list[bytes], where: list[str], label_bytes: int) -> tuple[Array, Array]:
    """Images u8[n, 3, 32, 32] and labels u8[n] of a binary CIFAR file: records of labels and 3,072 values.

    The last of the `label_bytes` is the label (in CIFAR-100 the first is the superclass). Raises `RecordingError`.
    """
    record = label_bytes + CIFAR_VALUES
    data = contents[0]
    if len(data) % record:
        raise RecordingError(
            f"{where[0]}: {len(data):,} bytes is not a multiple of {record:,}; a record is cut off at byte "
            f"{len(data) // record * record:,}; fetch the archive again"
        )
    records = np.frombuffer(data, np.uint8).reshape(-1, record)
    return records[:, label_bytes:].reshape(-1, *CIFAR_SHAPE), records[:, label_bytes - 1]


class _CifarUnpickler(pickle.Unpickler):
    """Builds the dictionary of lists and one array of the Python version of CIFAR, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module.replace("numpy.core", "numpy._core"), name) in CIFAR_GLOBALS:
            return CIFAR_GLOBALS[module.replace("numpy.core", "numpy._core"), name]
        raise pickle.UnpicklingError(f"asks for {module}.{name}")


def read_cifar_pickle(contents: list[bytes], where: list[str]) -> tuple[Array, Array]:
    """The same of a file of the Python version: a pickled dictionary with `data` u8[n, 3072] and (fine) `labels`.

    Only what such a file consists of is unpickled; `RecordingError` for anything else.
    """
    try:
        batch = _CifarUnpickler(io.BytesIO(contents[0]), encoding="bytes").load()
        labels = batch.get(b"fine_labels", batch.get(b"labels"))
        return np.asarray(batch[b"data"], np.uint8).reshape(-1, *CIFAR_SHAPE), np.asarray(labels, np.uint8)
    except (
        *(pickle.UnpicklingError, EOFError, KeyError, ValueError, TypeError, AttributeError, IndexError),
        *(OverflowError, MemoryError),
    ) as error:
        raise RecordingError(
            f"{where[0]}: not a batch of the Python version of CIFAR ({type(error).__name__}: {error}); "
            "fetch the archive again"
        ) from None


PACK_READERS: dict[str, Callable[[list[bytes], list[str]], tuple[Array, Array]]] = {
    "idx": read_idx_pack,
    "cifar10-binary": partial(read_cifar_records, label_bytes=1),
    "cifar100-binary": partial(read_cifar_records, label_bytes=2),
    "cifar-python": read_cifar_pickle,
}
"""Format of a pack → images and labels from the contents and names of its files."""
