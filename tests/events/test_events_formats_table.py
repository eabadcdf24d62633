"""The table of formats: names, detection, and what holds for all of them."""

from pathlib import Path

import numpy as np
import pytest

from difflogic_tonic.config import SensorSize
from difflogic_tonic.errors import ConfigError, RecordingError
from difflogic_tonic.events import decode_atis, encode_atis, make_events
from difflogic_tonic.events.formats import FORMATS, decode, detect


@pytest.mark.parametrize(
    ("name", "head", "format_name"),
    [
        ("Train/0/00001.bin", b"\x01\x02\x03\x04\x05", "atis"),
        ("a.aedat", b"#!AER-DAT2.0\r\n", "aedat2"),
        ("a.AEDAT", b"#!AER-DAT3.1\r\n", "aedat3"),
        ("a.aedat", b"#!AER-DAT4.0\r\n", "aedat4"),
        ("a.aedat4", b"#!AER-DAT4.0\r\n", "aedat4"),
        ("a.dat", b"% Version 2\n", "dat"),
        ("a.raw", b"% Date 2020\n% evt 2.0\n", "evt2"),
        ("a.raw", b"% Date 2020\n% evt 3.0\n", "evt3"),
        ("a.raw", b"% format EVT3;height=720;width=1280\n", "evt3"),
        ("a.raw", b"% evt 2.1\n", None),
        ("a.es", b"Event Stream\x02\x00\x00\x01", "es"),
        ("a.hdf5", b"\x89HDF\r\n\x1a\n", "hdf5"),
        ("a.npy", b"\x93NUMPY\x01\x00", "npy"),
        ("a.npz", b"PK\x03\x04", "npz"),
        ("a.csv", b"x,y,t,p\n", "text"),
        ("a.txt", b"\x00\x01", None),
        ("a.aedat", b"#!AER-DAT1.0\r\n", None),
        ("a.png", b"\x89PNG", None),
        ("README", b"1 2 3 4", None),
        (".bin", b"12345", None),
    ],
)
def test_a_format_is_known_by_suffix_and_first_bytes(name: str, head: bytes, format_name: str | None):
    assert detect(name, head) == format_name


@pytest.mark.parametrize("format_name", FORMATS)
def test_an_empty_file_is_an_error_in_every_format(format_name: str):
    with pytest.raises(RecordingError, match=r"^a: empty file; expected a recording"):
        decode(b"", format_name, "a")


@pytest.mark.parametrize("format_name", FORMATS)
def test_the_content_may_be_bytes_bytearray_or_memoryview_and_is_not_changed(format_name: str):
    for content in (b"12345", bytearray(b"12345"), memoryview(bytearray(b"12345"))):
        try:
            decode(content, format_name, "a")
        except RecordingError:
            pass
        assert bytes(content) == b"12345"


def test_an_unknown_format_is_named_with_those_that_there_are():
    with pytest.raises(ConfigError, match=r"format 'evt4' is unknown; expected one of atis, aedat2"):
        decode(b"1", "evt4", "a")


def test_every_format_is_in_the_documentation(repository: Path):
    text = (repository / "docs" / "formats.md").read_text()
    assert [name for name in FORMATS if f"`{name}`" not in text] == []


def test_atis_is_what_the_plain_decoder_reads():
    rng = np.random.default_rng(1)
    n = 2000
    events = make_events(
        rng.integers(0, 256, n), rng.integers(0, 240, n), np.sort(rng.integers(0, 2**25, n)), rng.integers(0, 2, n)
    )
    data = encode_atis(events)
    found, plain = (
        decode(data, "atis", "a.bin").events,
        decode_atis(data, SensorSize(width=256, height=240, polarities=2), "a"),
    )
    for name in ("x", "y", "t", "p"):
        np.testing.assert_array_equal(getattr(found, name), getattr(plain, name))
    assert len(found) == n


def test_a_row_that_no_atis_camera_has_is_damage():
    with pytest.raises(RecordingError, match=r"a.bin: y=241, expected at most 240, at byte 5"):
        decode(bytes(5) + bytes([0, 241, 0, 0, 0]), "atis", "a.bin")


def test_part_of_an_atis_record_is_damage():
    with pytest.raises(RecordingError, match=r"a record is cut off at byte 5"):
        decode(bytes(7), "atis", "a.bin")
