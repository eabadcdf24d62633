"""The `.bin` format: records, overflow, damage."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from difflogic_tonic.config import SensorSize
from difflogic_tonic.errors import RecordingError
from difflogic_tonic.events import Events, FrameRecipe, decode_atis, encode_atis, frame_recording, make_events

SENSOR = SensorSize(width=5, height=3, polarities=2)


def rows(events: Events) -> list[tuple[int, int, int, int]]:
    return list(zip(events.x.tolist(), events.y.tolist(), events.t.tolist(), events.p.tolist(), strict=True))


def test_a_record_is_x_y_then_polarity_and_time_high_byte_first():
    data = bytes([4, 2, 0x80 | 0x01, 0x02, 0x03])
    assert rows(decode_atis(data, SENSOR, "a.bin")) == [(4, 2, 0x010203, 1)]


def test_columns_have_the_stated_types():
    events = decode_atis(bytes([0, 0, 0, 0, 7]), SENSOR, "a.bin")
    assert [str(column.dtype) for column in (events.x, events.y, events.t, events.p)] == [
        "uint16",
        "uint16",
        "int64",
        "uint8",
    ]


def test_an_overflow_record_is_no_event_and_delays_all_later_ones_by_8192_us():
    event = bytes([1, 1, 0, 0, 10])
    overflow = bytes([0, 240, 0, 0, 0])
    events = decode_atis(event + overflow + event + overflow + overflow + event, SENSOR, "a.bin")
    assert events.t.tolist() == [10, 8202, 3 * 8192 + 10]


def test_times_go_beyond_32_bits():
    latest = bytes([1, 1, 0x7F, 0xFF, 0xFF])
    data = bytes([9, 240, 0, 0, 0]) * 600_000 + latest
    assert decode_atis(data, SENSOR, "a.bin").t.tolist() == [600_000 * 8192 + (1 << 23) - 1]


def test_only_overflow_records_are_no_events():
    assert len(decode_atis(bytes([0, 240, 0, 0, 0]) * 3, SENSOR, "a.bin")) == 0


@pytest.mark.parametrize(
    "read",
    [
        lambda data, where: decode_atis(data, SENSOR, where),
        lambda data, where: frame_recording(data, FrameRecipe(SENSOR, 2), where),
    ],
    ids=["reference", "kernel"],
)
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "a.bin: empty file"),
        (bytes(12), "a.bin: 12 bytes is not a multiple of 5; a record is cut off at byte 10"),
        (bytes(10) + bytes([5, 1, 0, 0, 0]), "a.bin: pixel x=5 y=1 at byte 10 is outside the 5x3 sensor"),
        (bytes(5) + bytes([4, 3, 0, 0, 0]) * 2, "a.bin: pixel x=4 y=3 at byte 5 is outside the 5x3 sensor"),
        (bytes([255, 0, 0, 0, 0]), "a.bin: pixel x=255 y=0 at byte 0 is outside"),
    ],
)
def test_damage_is_one_line_with_file_and_byte(read: Callable[[bytes, str], object], data: bytes, message: str):
    with pytest.raises(RecordingError) as error:
        read(data, "a.bin")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_the_coordinates_of_an_overflow_record_mean_nothing():
    data = bytes([255, 240, 0, 0, 0]) + bytes([1, 1, 0, 0, 10])
    assert decode_atis(data, SENSOR, "a.bin").t.tolist() == [8202]
    assert frame_recording(data, FrameRecipe(SENSOR, 2), "a.bin").n_events == 1


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2), st.integers(0, 1 << 25), st.integers(0, 1)), max_size=20)
)
def test_encoding_and_decoding_give_the_same_events(rows_: list[tuple[int, int, int, int]]):
    ordered = sorted(rows_, key=lambda row: row[2])
    x, y, t, p = zip(*ordered, strict=True) if ordered else ((), (), (), ())
    data = encode_atis(make_events(x, y, t, p))
    assert rows(decode_atis(data, SENSOR, "a.bin")) == ordered if data else not ordered


def test_decoding_accepts_any_kind_of_bytes():
    data = bytes([4, 2, 0, 0, 3])
    assert all(rows(decode_atis(kind(data), SENSOR, "a")) == [(4, 2, 3, 0)] for kind in (bytes, bytearray, memoryview))
