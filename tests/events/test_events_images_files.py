"""CIFAR's two kinds of batches, and PNG and JPEG files."""

import io
import pickle
from typing import Any

import numpy as np
import PIL.Image
import pytest

from difflogic_tonic.config import SensorSize
from difflogic_tonic.errors import RecordingError
from difflogic_tonic.events.images import (
    CIFAR_VALUES,
    PACK_READERS,
    ImageRecipe,
    decode_picture,
    frame_image,
    picture_size,
)

VALUES = np.arange(2 * CIFAR_VALUES).astype(np.uint8).reshape(2, CIFAR_VALUES)


def read(format: str, data: bytes) -> tuple[np.ndarray, np.ndarray]:
    return PACK_READERS[format]([data], ["batch"])


def records(*labels: bytes) -> bytes:
    return b"".join(label + row.tobytes() for label, row in zip(labels, VALUES, strict=True))


def test_a_binary_batch_is_labels_and_colour_planes() -> None:
    images, labels = read("cifar10-binary", records(b"\x03", b"\x09"))
    assert labels.tolist() == [3, 9]
    assert images.shape == (2, 3, 32, 32)
    assert images[0, 1, 0, 0] == VALUES[0, 1024]  # the green plane begins after 1,024 red values
    assert (images.reshape(2, -1) == VALUES).all()


def test_the_second_label_of_cifar_100_is_the_fine_one() -> None:
    assert read("cifar100-binary", records(b"\x01\x63", b"\x13\x00"))[1].tolist() == [99, 0]


def test_a_record_that_is_cut_off_is_named_with_its_byte() -> None:
    with pytest.raises(RecordingError, match=r"batch: 6,145 bytes is not a multiple of 3,073; .* at byte 3,073"):
        read("cifar10-binary", records(b"\x03", b"\x09")[:-1])


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("key", [b"labels", b"fine_labels"])
def test_a_batch_of_the_python_version_gives_the_same(protocol: int, key: bytes) -> None:
    batch = {b"batch_label": b"x", key: [3, 9], b"coarse_labels": [0, 1], b"data": VALUES, b"filenames": [b"a", b"b"]}
    images, labels = read("cifar-python", pickle.dumps(batch, protocol))
    assert labels.tolist() == [3, 9]
    assert (images.reshape(2, -1) == VALUES).all()


class Malicious:
    def __reduce__(self) -> Any:
        return print, ("run",)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (pickle.dumps(Malicious()), r"asks for builtins\.print"),
        (pickle.dumps({b"labels": [1]}), "KeyError"),
        (pickle.dumps([1]), "AttributeError"),
        (pickle.dumps({b"data": VALUES, b"labels": [1, 2]})[:-40], "not a batch"),
        (b"", "EOFError"),
        (b"\x80\x02nonsense", "not a batch"),
    ],
)
def test_a_pickle_that_is_no_batch_runs_nothing(data: bytes, reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RecordingError, match=reason):
        read("cifar-python", data)
    assert capsys.readouterr().out == ""


def picture(values: np.ndarray, format: str = "PNG") -> bytes:
    """A file from values u8[height, width, 3] or [height, width]."""
    out = io.BytesIO()
    PIL.Image.fromarray(values).save(out, format)
    return out.getvalue()


RED_AND_BLUE = np.array([[[255, 0, 0], [255, 0, 0], [0, 0, 255], [0, 0, 255]]] * 2, np.uint8)  # 4 wide, 2 high


def test_a_picture_becomes_colour_planes() -> None:
    recipe = ImageRecipe(SensorSize(4, 2, 3), format="picture")
    planes = decode_picture(picture(RED_AND_BLUE), recipe, "here")
    assert planes[0].tolist() == [[255, 255, 0, 0]] * 2
    assert planes[1].tolist() == [[0] * 4] * 2
    assert planes[2].tolist() == [[0, 0, 255, 255]] * 2
    framed = frame_image(picture(RED_AND_BLUE), recipe, "here")
    assert (framed.frames == planes.reshape(1, -1)).all()


def test_a_grey_picture_has_the_same_value_in_all_colours() -> None:
    planes = decode_picture(
        picture(np.full((2, 4), 7, np.uint8)), ImageRecipe(SensorSize(4, 2, 3), format="picture"), "here"
    )
    assert (planes == 7).all()


def test_a_picture_of_another_size_is_refused_or_scaled_and_cut_around_its_centre() -> None:
    square = SensorSize(2, 2, 3)
    with pytest.raises(RecordingError, match=r"here: 4x2 pixels; expected 2x2; .*data\.image_size=\[2, 2\]"):
        decode_picture(picture(RED_AND_BLUE), ImageRecipe(square, format="picture"), "here")
    cut = decode_picture(picture(RED_AND_BLUE), ImageRecipe(square, format="picture", resize=True), "here")
    assert cut[0].tolist() == [[255, 0]] * 2  # columns 1 and 2
    large = decode_picture(picture(RED_AND_BLUE), ImageRecipe(SensorSize(8, 4, 3), format="picture", resize=True), "x")
    assert large.shape == (3, 4, 8)


def test_a_picture_tells_its_size() -> None:
    assert picture_size(picture(RED_AND_BLUE, "JPEG"), "here") == (4, 2)


@pytest.mark.parametrize("data", [b"", b"no picture", picture(RED_AND_BLUE)[:60], picture(RED_AND_BLUE, "GIF")])
def test_a_file_that_is_no_picture_is_named(data: bytes) -> None:
    with pytest.raises(RecordingError, match="here: no PNG or JPEG file that can be read"):
        decode_picture(data, ImageRecipe(SensorSize(4, 2, 3), format="picture"), "here")
