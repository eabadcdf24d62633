"""DAT, EVT 2.0 and EVT 3.0: files written word by word from Prophesee's documents."""

import struct

import pytest

from difflogic_tonic.errors import RecordingError
from difflogic_tonic.events import Events
from difflogic_tonic.events.formats import decode

DAT_HEADER = b"% Data file containing CD events.\n% Version 2\n% Height 3\n% Width 5\n"
EVT2_HEADER = b"% evt 2.0\n% geometry 5x3\n% end\n"
EVT3_HEADER = b"% evt 3.0\n% format EVT3;height=30;width=50\n% end\n"


def rows(events: Events) -> list[tuple[int, int, int, int]]:
    return list(zip(events.x.tolist(), events.y.tolist(), events.t.tolist(), events.p.tolist(), strict=True))


def dat(*events: tuple[int, int, int, int], header: bytes = DAT_HEADER, kind: int = 12, size: int = 8) -> bytes:
    """x, y, t, p of each event."""
    body = b"".join(struct.pack("<II", t, x | y << 14 | p << 28) for x, y, t, p in events)
    return header + bytes([kind, size]) + body


def evt2(*words: int) -> bytes:
    return EVT2_HEADER + struct.pack(f"<{len(words)}I", *words)


def cd(polarity: int, low: int, x: int, y: int) -> int:
    return polarity << 28 | low << 22 | x << 11 | y


def high2(value: int) -> int:
    return 8 << 28 | value


def evt3(*words: int) -> bytes:
    return EVT3_HEADER + struct.pack(f"<{len(words)}H", *words)


def row(y: int) -> int:
    return y


def single(x: int, polarity: int) -> int:
    return 2 << 12 | polarity << 11 | x


def base(x: int, polarity: int) -> int:
    return 3 << 12 | polarity << 11 | x


def vector12(bits: int) -> int:
    return 4 << 12 | bits


def vector8(bits: int) -> int:
    return 5 << 12 | bits


def low(value: int) -> int:
    return 6 << 12 | value


def high(value: int) -> int:
    return 8 << 12 | value


def test_dat_is_time_then_x_y_and_polarity_of_14_14_and_4_bits():
    recorded = decode(dat((4, 2, 7, 1), (0, 1, 9, 0)), "dat", "a.dat")
    assert rows(recorded.events) == [(4, 2, 7, 1), (0, 1, 9, 0)]
    assert (recorded.width, recorded.height) == (5, 3)


def test_dat_without_a_stated_size_has_none():
    recorded = decode(dat((8000, 9000, 7, 1), header=b"% Version 2\n", kind=0), "dat", "a.dat")
    assert rows(recorded.events) == [(8000, 9000, 7, 1)]
    assert (recorded.width, recorded.height) == (None, None)


def test_the_32_bit_clock_of_dat_goes_on_when_it_starts_again():
    recorded = decode(dat((0, 0, 2**32 - 1, 1), (0, 0, 4, 1), (0, 0, 2**32 - 1, 1), (0, 0, 5, 1)), "dat", "a.dat")
    assert recorded.events.t.tolist() == [2**32 - 1, 2**32 + 4, 2**33 - 1, 2**33 + 5]


def test_a_small_step_back_in_time_stays_as_it_is():
    assert decode(dat((0, 0, 90, 1), (1, 0, 60, 1), (2, 0, 70, 1)), "dat", "a.dat").events.t.tolist() == [90, 60, 70]


def test_a_dat_file_may_have_no_events():
    assert len(decode(dat(), "dat", "a.dat").events) == 0


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (dat((5, 0, 0, 1)), f"pixel x=5 y=0 outside the 5x3 sensor at byte {len(DAT_HEADER) + 2}"),
        (dat((0, 0, 0, 1), (0, 3, 0, 1)), f"pixel x=0 y=3 outside the 5x3 sensor at byte {len(DAT_HEADER) + 10}"),
        (dat((0, 0, 0, 3)), f"polarity 3, expected 0 or 1, at byte {len(DAT_HEADER) + 2}"),
        (dat((0, 0, 0, 1))[:-1], f"a 8-byte word is cut off at byte {len(DAT_HEADER) + 2}"),
        (
            dat(kind=14),
            f"events of type 14 and 8 bytes, expected CD events (type 12, 8 bytes), at byte {len(DAT_HEADER)}",
        ),
        (dat(size=4), "events of type 12 and 4 bytes"),
        (dat(header=b"% Version 1\n"), "DAT version 1; expected 2"),
        (DAT_HEADER, f"type and size of the events are cut off at byte {len(DAT_HEADER)}"),
        (DAT_HEADER[:-3], "the header is cut off at byte 57"),
        (bytes(20), "no header"),
    ],
)
def test_damage_to_dat_is_one_line_with_file_and_byte(data: bytes, message: str):
    with pytest.raises(RecordingError) as error:
        decode(data, "dat", "a.dat")
    assert str(error.value).startswith("a.dat: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_evt2_time_is_28_high_bits_and_6_low_ones():
    recorded = decode(evt2(high2(3), cd(1, 5, 4, 2), cd(0, 63, 0, 1), high2(4), cd(1, 0, 1, 0)), "evt2", "a.raw")
    assert rows(recorded.events) == [(4, 2, 3 * 64 + 5, 1), (0, 1, 3 * 64 + 63, 0), (1, 0, 256, 1)]
    assert (recorded.width, recorded.height) == (5, 3)


def test_evt2_events_before_the_first_high_time_have_no_time_and_are_left_out():
    assert rows(decode(evt2(cd(1, 5, 4, 2), high2(1), cd(0, 1, 2, 2)), "evt2", "a.raw").events) == [(2, 2, 65, 0)]


def test_evt2_triggers_and_vendor_words_are_left_out():
    words = (high2(0), 0xA << 28 | 0x3FFFFFF, 0xE << 28 | 7, 0xF << 28 | 9, cd(1, 2, 3, 1))
    assert rows(decode(evt2(*words), "evt2", "a.raw").events) == [(3, 1, 2, 1)]


def test_the_clock_of_evt2_goes_on_after_34_bits():
    t = decode(evt2(high2(2**28 - 1), cd(1, 63, 0, 0), high2(0), cd(1, 1, 0, 0)), "evt2", "a.raw").events.t
    assert t.tolist() == [2**34 - 1, 2**34 + 1]


@pytest.mark.parametrize(
    ("header", "size"),
    [
        (b"% evt 2.0\n% plugin_name hal_plugin_gen3_fx3\n", (640, 480)),
        (b"% format EVT2;height=320;width=400\n", (400, 320)),
        (b"% evt 2.0\n", (None, None)),
    ],
)
def test_the_sensor_is_in_the_header_or_goes_with_the_plugin(header: bytes, size: tuple[int | None, int | None]):
    recorded = decode(header + struct.pack("<2I", high2(0), cd(1, 1, 1, 1)), "evt2", "a.raw")
    assert (recorded.width, recorded.height) == size


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (evt2(high2(0), cd(1, 0, 5, 0)), f"pixel x=5 y=0 outside the 5x3 sensor at byte {len(EVT2_HEADER) + 4}"),
        (evt2(high2(0), 0xB << 28), f"word 0xB0000000 of the unknown type 11 at byte {len(EVT2_HEADER) + 4}"),
        (evt2(high2(0))[:-2], f"a 4-byte word is cut off at byte {len(EVT2_HEADER)}"),
        (b"% evt 3.0\n", "events encoded as EVT 3; expected EVT 2.0"),
        (b"% format EVT21;height=3;width=5\n", "events encoded as EVT 21; expected EVT 2.0"),
        (b"% evt 2.0\n% endianness big\n", "big-endian words"),
        (bytes(8), "no header"),
    ],
)
def test_damage_to_evt2_is_one_line_with_file_and_byte(data: bytes, message: str):
    with pytest.raises(RecordingError) as error:
        decode(data, "evt2", "a.raw")
    assert message in str(error.value)


def test_evt3_keeps_row_and_time_until_they_change():
    words = (high(1), low(2), row(20), single(3, 1), single(4, 0), low(5), single(6, 1), row(21), single(7, 0))
    assert rows(decode(evt3(*words), "evt3", "a.raw").events) == [
        (3, 20, 4098, 1), (4, 20, 4098, 0), (6, 20, 4101, 1), (7, 21, 4101, 0),
    ]  # fmt: skip


def test_a_bit_of_an_evt3_vector_is_an_event_and_the_next_vector_goes_on_beside_it():
    words = (high(0), low(9), row(1), base(10, 1), vector12(0b100000000101), vector8(0b10000001), vector12(0b1))
    recorded = decode(evt3(*words), "evt3", "a.raw")
    assert recorded.events.x.tolist() == [10, 12, 21, 22, 29, 30]
    assert set(recorded.events.p.tolist()) == {1}
    assert (recorded.width, recorded.height) == (50, 30)


def test_a_new_high_time_of_evt3_begins_with_low_time_0_and_a_repeated_one_does_not():
    words = (high(1), low(500), row(0), high(1), single(1, 1), high(2), single(2, 1), low(3), single(3, 1))
    assert decode(evt3(*words), "evt3", "a.raw").events.t.tolist() == [4096 + 500, 8192, 8195]


def test_the_clock_of_evt3_goes_on_after_24_bits():
    words = (high(4095), low(4095), row(0), single(1, 1), high(0), low(7), single(1, 1))
    assert decode(evt3(*words), "evt3", "a.raw").events.t.tolist() == [2**24 - 1, 2**24 + 7]


def test_evt3_events_before_the_first_high_time_have_no_time_and_are_left_out():
    words = (row(0), single(1, 1), base(2, 1), vector8(0xFF), high(0), low(1), single(3, 1))
    assert rows(decode(evt3(*words), "evt3", "a.raw").events) == [(3, 0, 1, 1)]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (evt3(high(0), single(50, 1)), f"pixel x=50 y=0 outside the 50x30 sensor at byte {len(EVT3_HEADER) + 2}"),
        (
            evt3(high(0), base(45, 1), vector8(32)),
            f"pixel x=50 y=0 outside the 50x30 sensor at byte {len(EVT3_HEADER) + 4}",
        ),
        (evt3(row(30), single(0, 1)), f"pixel x=0 y=30 outside the 50x30 sensor at byte {len(EVT3_HEADER) + 2}"),
        (evt3(0x1000), f"word 0x1000 of the unknown type 1 at byte {len(EVT3_HEADER)}"),
        (evt3(high(0))[:-1], f"a 2-byte word is cut off at byte {len(EVT3_HEADER)}"),
    ],
)
def test_damage_to_evt3_is_one_line_with_file_and_byte(data: bytes, message: str):
    with pytest.raises(RecordingError) as error:
        decode(data, "evt3", "a.raw")
    assert message in str(error.value)


def test_the_part_of_an_evt3_vector_beyond_the_sensor_may_be_empty():
    words = (high(0), row(29), base(45, 1), vector8(0b10001))
    assert decode(evt3(*words), "evt3", "a.raw").events.x.tolist() == [45, 49]
