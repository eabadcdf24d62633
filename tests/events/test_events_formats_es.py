"""Event Stream: files written byte by byte from its specification."""

import struct

import pytest

from difflogic_tonic.errors import RecordingError
from difflogic_tonic.events import Events
from difflogic_tonic.events.formats import decode

DVS, ATIS = 1, 2


def rows(events: Events) -> list[tuple[int, int, int, int]]:
    return list(zip(events.x.tolist(), events.y.tolist(), events.t.tolist(), events.p.tolist(), strict=True))


def header(kind: int = DVS, version: int = 2) -> bytes:
    """Of a 5x3 sensor."""
    return b"Event Stream" + bytes([version, 0, 0, kind]) + struct.pack("<HH", 5, 3)


def event(first: int, x: int, y: int) -> bytes:
    return bytes([first]) + struct.pack("<HH", x, y)


def test_a_dvs_event_is_the_time_since_the_last_and_polarity_and_row_0_is_the_top():
    recorded = decode(header() + event(7 << 1 | 1, 4, 0) + event(126 << 1, 1, 2), "es", "a.es")
    assert rows(recorded.events) == [(4, 2, 7, 1), (1, 0, 133, 0)]
    assert (recorded.width, recorded.height) == (5, 3)


def test_an_overflow_of_dvs_adds_127_us_and_a_reset_nothing():
    data = header() + b"\xff\xff\xfe" + event(1 << 1, 0, 0) + b"\xfe" * 5 + b"\xff" + event(0, 0, 0)
    assert decode(data, "es", "a.es").events.t.tolist() == [255, 382]


def test_grey_level_events_of_atis_are_left_out_but_their_time_passes():
    data = header(ATIS) + event(5 << 2 | 0b10, 1, 0) + event(6 << 2 | 0b01, 2, 0) + event(7 << 2 | 0b00, 3, 0)
    assert rows(decode(data, "es", "a.es").events) == [(1, 2, 5, 1), (3, 2, 18, 0)]


def test_an_overflow_of_atis_adds_63_us_up_to_three_times():
    data = header(ATIS) + b"\xfd\xfe\xff\xfc" + event(0, 0, 0)
    assert decode(data, "es", "a.es").events.t.tolist() == [6 * 63]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (header() + event(0, 5, 0), "pixel x=5 y=0 outside the 5x3 sensor at byte 20"),
        (header() + b"\xff" + event(0, 0, 3), "pixel x=0 y=3 outside the 5x3 sensor at byte 21"),
        (header() + event(0, 1, 1)[:-1], "an event is cut off at byte 20"),
        (header()[:-1], "the header is cut off at byte 19"),
        (header(version=1), "Event Stream version 1; expected 2"),
        (header(kind=0), "generic events at byte 15; expected DVS (1) or ATIS (2), which have pixels"),
        (header(kind=77), "type 77 events at byte 15"),
        (bytes(30), "no header"),
    ],
)
def test_damage_is_one_line_with_file_and_byte(data: bytes, message: str):
    with pytest.raises(RecordingError) as error:
        decode(data, "es", "a.es")
    assert str(error.value).startswith("a.es: ")
    assert message in str(error.value)
