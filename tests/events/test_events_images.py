"""Images: the IDX format, and an image as one frame."""

import struct

import numpy as np
import pytest

from difflogic_tonic.config import SensorSize
from difflogic_tonic.errors import RecordingError
from difflogic_tonic.events.images import ImageRecipe, frame_image, read_idx

IMAGES = bytes([0, 0, 8, 3]) + struct.pack(">III", 2, 2, 3) + bytes(range(12))  # two images of 2 rows and 3 columns
LABELS = bytes([0, 0, 8, 1]) + struct.pack(">I", 4) + bytes([3, 1, 4, 1])


def test_the_last_dimension_of_an_idx_file_is_the_fastest():
    assert read_idx(IMAGES, "images").tolist() == [[[0, 1, 2], [3, 4, 5]], [[6, 7, 8], [9, 10, 11]]]
    assert read_idx(LABELS, "labels").tolist() == [3, 1, 4, 1]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "f: byte 0 does not begin an IDX file"),
        (b"\x01" + IMAGES[1:], "f: byte 0 does not begin an IDX file"),
        (bytes([0, 0, 13, 1]) + LABELS[4:], r"f: type 13 at byte 2; expected 8 \(u8\)"),
        (IMAGES[:10], "f: ends at byte 10, inside its header of 16"),
        (IMAGES[:-1], r"f: 11 values after byte 16; expected 12 \(2 x 2 x 3\)"),
        (LABELS + b"x", r"f: 5 values after byte 8; expected 4 \(4\)"),
        (bytes([0, 0, 8, 3]) + struct.pack(">III", 2**31, 2**31, 2**31), "f: 0 values after byte 16; expected 9,9"),
    ],
)
def test_anything_else_is_named_with_its_byte(data: bytes, message: str):
    with pytest.raises(RecordingError, match=message):
        read_idx(data, "f")


def test_an_image_is_one_frame_of_its_values():
    recipe = ImageRecipe(SensorSize(width=3, height=2, polarities=1))
    framed = frame_image(bytes([0, 1, 2, 253, 254, 255]), recipe, "here")
    assert framed.frames.dtype == np.uint8
    assert framed.frames.tolist() == [[0, 1, 2, 253, 254, 255]]
    assert (framed.n_events, framed.n_saturated) == (0, 0)
    assert recipe.frame_shape == (1, 2, 3)


def test_an_image_of_another_size_is_refused():
    recipe = ImageRecipe(SensorSize(width=3, height=2, polarities=3))
    with pytest.raises(RecordingError, match=r"here: 17 values; expected 18 \(3 x 2 x 3: channels, height, width\)"):
        frame_image(bytes(17), recipe, "here")
