"""AEDAT 4: FlatBuffers written byte by byte, compressed by the real libraries."""

import struct
from collections.abc import Callable

import lz4.frame as lz4_frame
import pytest
import zstandard

from difflogic_tonic.errors import RecordingError
from difflogic_tonic.events import Events
from difflogic_tonic.events.formats import decode

MAGIC = b"#!AER-DAT4.0\r\n"
NONE, LZ4, LZ4_HIGH, ZSTD, ZSTD_HIGH = range(5)


def rows(events: Events) -> list[tuple[int, int, int, int]]:
    return list(zip(events.x.tolist(), events.y.tolist(), events.t.tolist(), events.p.tolist(), strict=True))


def stream(number: int, kind: str, size: str = "") -> str:
    return f'<node name="{number}"><attr key="typeIdentifier">{kind}</attr><node name="info">{size}</node></node>'


SIZE = '<attr key="sizeX">5</attr><attr key="sizeY">3</attr>'
XML = f'<dv version="2.0"><node name="outInfo">{stream(0, "EVTS", SIZE)}{stream(2, "IMUS")}</node></dv>'


def header(compression: int = NONE, table: int = -1, xml: str = XML) -> bytes:
    """Root, identifier, vtable of three fields, table, then the string."""
    vtable = struct.pack("<HHHHH", 10, 24, 4, 8, 16) + bytes(2)  # the string's offset lies at 16, 4 bytes
    table_at = 8 + len(vtable)
    body = struct.pack("<I", table_at) + b"IOHE" + vtable
    body += struct.pack("<iiqI", table_at - 8, compression, table, 8) + bytes(4)
    body += struct.pack("<I", len(xml)) + xml.encode()
    return MAGIC + struct.pack("<I", len(body)) + body


def content(*events: tuple[int, int, int, int]) -> bytes:
    """x, y, t, p of each event as a FlatBuffer of events."""
    vtable = struct.pack("<HHH", 6, 8, 4) + bytes(2)
    body = struct.pack("<I", 16) + b"EVTS" + vtable + struct.pack("<iI", 8, 4) + struct.pack("<I", len(events))
    body += b"".join(struct.pack("<qhhb3x", t, x, y, p) for x, y, t, p in events)
    return struct.pack("<I", len(body)) + body


def packet(body: bytes, number: int = 0) -> bytes:
    return struct.pack("<ii", number, len(body)) + body


def lz4(body: bytes) -> bytes:
    return lz4_frame.compress(body)


def zstd(body: bytes) -> bytes:
    return zstandard.compress(body)


@pytest.mark.parametrize(
    ("compression", "compressed"), [(NONE, bytes), (LZ4, lz4), (LZ4_HIGH, lz4), (ZSTD, zstd), (ZSTD_HIGH, zstd)]
)
def test_packets_of_events_are_read_in_order_and_other_streams_left_out(
    compression: int, compressed: Callable[[bytes], bytes]
):
    first, second = content((4, 2, 10**15, 1), (0, 1, 10**15 + 1, 0)), content((1, 1, 10**15 + 2, 1))
    packets = [packet(compressed(first)), packet(b"inertial", 2), packet(compressed(second))]
    recorded = decode(header(compression) + b"".join(packets), "aedat4", "a.aedat4")
    assert rows(recorded.events) == [(4, 2, 10**15, 1), (0, 1, 10**15 + 1, 0), (1, 1, 10**15 + 2, 1)]
    assert (recorded.width, recorded.height) == (5, 3)


def test_the_table_of_packets_at_the_end_is_no_packet():
    data = header() + packet(content((4, 2, 1, 1)))
    data = header(table=len(data)) + packet(content((4, 2, 1, 1))) + b"the table"
    assert rows(decode(data, "aedat4", "a").events) == [(4, 2, 1, 1)]


def test_a_recording_without_packets_has_no_events():
    assert len(decode(header(), "aedat4", "a").events) == 0


START = len(header())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (header() + packet(content((5, 0, 1, 1))), f"pixel x=5 y=0 outside the 5x3 sensor at byte {START + 8}"),
        (header() + packet(content((0, -1, 1, 1))), "pixel x=0 y=65535 outside the 5x3 sensor"),
        (header() + packet(content())[:-1], f"is cut off at byte {START}"),
        (header() + b"1234567", f"the header of a packet is cut off at byte {START}"),
        (header() + packet(b"FRME" * 4), f"packet: no EVTS at byte {START + 8}"),
        (header() + packet(content((0, 0, 1, 1))[:-1]), f"packet: 1 events, more than there are at byte {START + 8}"),
        (header(LZ4) + packet(b"\x04\x22\x4d\x18" + bytes(20)), f"at byte {START + 8}"),
        (header(ZSTD) + packet(b"no zstandard"), f"at byte {START + 8}"),
        (header(table=10**9), "the table of packets is said to be at byte 1,000,000,000; cut off"),
        (header(compression=9), "header: compression 9 at byte 14"),
        (header()[:40], "more than there are at byte 14"),
        (header(xml="<dv"), "the description of the streams is damaged"),
        (header(xml="<!DOCTYPE dv>" + XML), "has declarations; expected plain XML"),
        (header(xml=XML.replace("IMUS", "EVTS")), "2 streams of events; expected one"),
        (header(xml=XML.replace("EVTS", "FRME")), "0 streams of events; expected one"),
        (bytes(20), "no header, expected #!AER-DAT4.0, at byte 0"),
    ],
)
def test_damage_is_one_line_with_file_and_byte(data: bytes, message: str):
    with pytest.raises(RecordingError) as error:
        decode(data, "aedat4", "a.aedat4")
    assert str(error.value).startswith("a.aedat4: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("compression", "compressed"), [(LZ4, lz4), (ZSTD, zstd)])
def test_a_packet_that_would_fill_the_memory_is_refused(compression: int, compressed: Callable[[bytes], bytes]):
    bomb = compressed(bytes(10**7))
    for data in (bomb, bomb * 2, bomb[:-4]):
        with pytest.raises(RecordingError, match="packet"):
            decode(header(compression) + packet(data[: len(data) // 2]), "aedat4", "a.aedat4")
    if compression == ZSTD:
        with pytest.raises(RecordingError, match="claims to grow"):
            decode(header(compression) + packet(bomb), "aedat4", "a.aedat4")
