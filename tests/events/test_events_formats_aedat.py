"""AEDAT 2.0 and 3.1: files written byte by byte from iniVation's and jAER's documents."""

import struct

import pytest

from difflogic_tonic.errors import RecordingError
from difflogic_tonic.events import Events
from difflogic_tonic.events.formats import decode

HEADER2 = b"#!AER-DAT2.0\r\n# This is a raw AE data file - do not edit\r\n# Timestamps tick is 1 us\r\n"
HEADER3 = (
    b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n"
    b"#Start-Time: 2016-09-14 15:04:35 (TZ+0200)\r\n#!END-HEADER\r\n"
)


def rows(events: Events) -> list[tuple[int, int, int, int]]:
    return list(zip(events.x.tolist(), events.y.tolist(), events.t.tolist(), events.p.tolist(), strict=True))


def aedat2(*events: tuple[int, int], header: bytes = HEADER2) -> bytes:
    """Address and time of each event."""
    return header + b"".join(struct.pack(">II", address, t) for address, t in events)


def dvs128(x_bits: int, y_bits: int, polarity_bit: int) -> int:
    return y_bits << 8 | x_bits << 1 | polarity_bit


def davis(x_bits: int, y_bits: int, polarity_bit: int) -> int:
    return y_bits << 22 | x_bits << 12 | polarity_bit << 11


@pytest.mark.parametrize(
    ("name", "address", "event", "size"),
    [
        ("aedat2", dvs128(100, 20, 0), (27, 107, 9, 1), (128, 128)),
        ("aedat2-dvs128", dvs128(127, 127, 1), (0, 0, 9, 0), (128, 128)),
        ("aedat2-cifar10dvs", dvs128(100, 20, 1), (107, 27, 9, 0), (128, 128)),
        ("aedat2-pokerdvs", dvs128(10, 20, 0), (10, 20, 9, 1), (35, 35)),
        ("aedat2-davis240", davis(200, 30, 1), (39, 149, 9, 1), (240, 180)),
        ("aedat2-davis346", davis(345, 259, 0), (0, 0, 9, 0), (346, 260)),
    ],
)
def test_each_map_of_aedat2_reads_its_own_bits(name: str, address: int, event: tuple[int, ...], size: tuple[int, int]):
    recorded = decode(aedat2((address, 9)), name, "a.aedat")
    assert rows(recorded.events) == [event]
    assert (recorded.width, recorded.height) == size


@pytest.mark.parametrize(
    ("chip", "size"),
    [
        (b"eu.seebetter.ini.chips.davis.Davis240C", (240, 180)),
        (b"eu.seebetter.ini.chips.davis.Davis346mini", (346, 260)),
        (b"ch.unizh.ini.jaer.chip.retina.DVS128", (128, 128)),
    ],
)
def test_the_header_of_aedat2_names_the_camera(chip: bytes, size: tuple[int, int]):
    recorded = decode(aedat2((0, 1), header=HEADER2 + b"# AEChip: " + chip + b"\r\n"), "aedat2", "a.aedat")
    assert (recorded.width, recorded.height) == size


def test_triggers_frames_and_inertial_samples_of_aedat2_are_left_out():
    assert rows(decode(aedat2((1 << 15, 1), (dvs128(127, 127, 0), 2)), "aedat2", "a").events) == [(0, 0, 2, 1)]
    frame, trigger = 1 << 31 | davis(5, 5, 1), davis(5, 5, 1) | 1 << 10
    recorded = decode(aedat2((frame, 1), (trigger, 2), (davis(239, 179, 1), 3)), "aedat2-davis240", "a")
    assert rows(recorded.events) == [(0, 0, 3, 1)]


def test_the_32_bit_clock_of_aedat2_goes_on_when_it_starts_again():
    data = aedat2((0, 2**32 - 2), (1 << 15, 2**32 - 1), (0, 3), (0, 2))
    assert decode(data, "aedat2", "a").events.t.tolist() == [2**32 - 2, 2**32 + 3, 2**32 + 2]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        (
            "aedat2",
            aedat2((0, 1), (1 << 16, 1)),
            f"address 0x00010000 with bits that the camera does not use at byte {len(HEADER2) + 8}",
        ),
        (
            "aedat2-pokerdvs",
            aedat2((dvs128(35, 0, 0), 1)),
            f"pixel x=35 y=0 outside the 35x35 sensor at byte {len(HEADER2)}",
        ),
        (
            "aedat2-davis240",
            aedat2((davis(240, 0, 0), 1)),
            f"pixel x=240 y=0 outside the 240x180 sensor at byte {len(HEADER2)}",
        ),
        ("aedat2", aedat2((0, 1))[:-1], f"a 8-byte word is cut off at byte {len(HEADER2)}"),
        ("aedat2", aedat2(header=b"#!AER-DAT1.0\r\n"), "the first line is '!AER-DAT1.0'; expected '!AER-DAT2.0'"),
        (
            "aedat2",
            aedat2(header=HEADER2 + b"# AEChip: Cochlea\r\n"),
            "recorded by 'Cochlea'; expected one of DAVIS240",
        ),
        ("aedat2", bytes(8), "no header, expected #!AER-DAT2.0, at byte 0"),
    ],
)
def test_damage_to_aedat2_is_one_line_with_file_and_byte(name: str, data: bytes, message: str):
    with pytest.raises(RecordingError) as error:
        decode(data, name, "a.aedat")
    assert str(error.value).startswith("a.aedat: ")
    assert message in str(error.value)


def polarity_event(x: int, y: int, t: int, p: int, valid: int = 1) -> bytes:
    return struct.pack("<Ii", x << 17 | y << 2 | p << 1 | valid, t)


def packet(
    body: bytes, kind: int = 1, size: int = 8, overflow: int = 0, capacity: int | None = None, n: int | None = None
):
    capacity = len(body) // size if capacity is None else capacity
    n = capacity if n is None else n
    return struct.pack("<hhiiiiii", kind, 1, size, 4, overflow, capacity, n, n) + body


def test_aedat3_packets_of_polarity_events_are_read_and_others_left_out():
    data = HEADER3 + packet(polarity_event(4, 2, 7, 1)) + packet(bytes(72), kind=3, size=36)
    data += packet(polarity_event(5, 6, 8, 0) + polarity_event(127, 127, 9, 1), overflow=2)
    recorded = decode(data, "aedat3", "a.aedat")
    assert rows(recorded.events) == [(4, 2, 7, 1), (5, 6, 2 * 2**31 + 8, 0), (127, 127, 2 * 2**31 + 9, 1)]
    assert (recorded.width, recorded.height) == (128, 128)


def test_invalid_events_and_unused_capacity_of_aedat3_are_left_out():
    body = polarity_event(1, 1, 1, 1, valid=0) + polarity_event(2, 2, 2, 1) + polarity_event(3, 3, 3, 1)
    assert rows(decode(HEADER3 + packet(body, n=2), "aedat3", "a").events) == [(2, 2, 2, 1)]


def test_the_size_of_an_unknown_camera_stays_open():
    header = HEADER3.replace(b"DVS128", b"DYNAPSE")
    recorded = decode(header + packet(polarity_event(900, 800, 1, 1)), "aedat3", "a")
    assert rows(recorded.events) == [(900, 800, 1, 1)]
    assert recorded.width is None


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            HEADER3 + packet(polarity_event(128, 0, 1, 1)),
            f"pixel x=128 y=0 outside the 128x128 sensor at byte {len(HEADER3) + 28}",
        ),
        (HEADER3 + packet(polarity_event(0, 0, -1, 1)), f"a time before the start at byte {len(HEADER3) + 28}"),
        (HEADER3 + packet(b"")[:-1], f"the header of a packet is cut off at byte {len(HEADER3)}"),
        (HEADER3 + packet(bytes(8))[:-1], f"a packet is cut off at byte {len(HEADER3)}"),
        (HEADER3 + packet(b"", capacity=2**31 - 1, size=2**31 - 1), f"a packet is cut off at byte {len(HEADER3)}"),
        (HEADER3 + packet(bytes(8), n=2), f"a packet with more events than its capacity at byte {len(HEADER3)}"),
        (HEADER3 + packet(bytes(8), capacity=-1), f"a packet with a negative size at byte {len(HEADER3)}"),
        (
            HEADER3 + packet(bytes(16), size=16),
            f"a packet of polarity events that are not 8 bytes each at byte {len(HEADER3)}",
        ),
        (HEADER3.replace(b"RAW", b"SerializedTS"), "expected 'Format: RAW'"),
        (HEADER3.replace(b"3.1", b"3.0"), "the first line is '!AER-DAT3.0'; expected '!AER-DAT3.1'"),
        (HEADER3[:30], "the header is cut off"),
        (HEADER3[:28] + bytes(9), "no #!END-HEADER at byte 28"),
    ],
)
def test_damage_to_aedat3_is_one_line_with_file_and_byte(data: bytes, message: str):
    with pytest.raises(RecordingError) as error:
        decode(data, "aedat3", "a.aedat")
    assert message in str(error.value)
