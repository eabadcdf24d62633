"""AEDAT 4, the format of DV: packets of FlatBuffers, each compressed with LZ4, Zstandard or not at all.

Source: https://docs.inivation.com/software/software-advanced-usage/file-formats/aedat-4.0.html. After "#!AER-DAT4.0"
comes the size of the header and the header, a FlatBuffer "IOHE": compression, position of the table of packets (-1 if
the recording was cut short), XML that describes the streams. A packet is the number of its stream and its size (32 bits
each), then a FlatBuffer with its own size in front; for events "EVTS": one vector of 16-byte structures, time in µs (64
bits), x, y (16 each), polarity (8).

FlatBuffers are read here, with every offset checked: the generated readers trust the file. Needs `lz4` or `zstandard`.
"""

import struct
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias
from xml.etree import ElementTree

import numpy as np

from difflogic_tonic.errors import RecordingError
from difflogic_tonic.events.formats.recorded import LARGEST_SENSOR, Columns, Raw, Recorded, damaged, outside, room
from difflogic_tonic.events.jit import kernel

MAGIC = b"#!AER-DAT4.0\r\n"
NONE, LZ4, LZ4_HIGH, ZSTD, ZSTD_HIGH = range(5)
EVENT_BYTES = 16
GROWTH = 255
"""No stream of LZ4 grows more; Zstandard could, but not with events."""


Buffer: TypeAlias = bytes | memoryview
"""A FlatBuffer, or what it was compressed to. Slices of a memoryview cost nothing, and packets are many and small."""

INT32, UINT32, UINT16 = struct.Struct("<i"), struct.Struct("<I"), struct.Struct("<H")
INT64, PACKET = struct.Struct("<q"), struct.Struct("<ii")


class Stream(NamedTuple):
    """The only stream of events of a file."""

    number: int
    width: int | None
    height: int | None


HINT = "copy the file again, or export what is whole with DV"


class Unreadable(Exception):
    """An offset of a FlatBuffer leads out of it, or compressed data is damaged; the caller knows where."""


def decode_aedat4(raw: Raw, where: str) -> Recorded:
    """The events of an AEDAT 4 file with one stream of events; other streams are left out.

    `RecordingError` for several streams of events, a packet that is cut off or cannot be unpacked, and a pixel outside
    the sensor.
    """
    if raw[: len(MAGIC)].tobytes() != MAGIC:
        raise damaged(where, "no header, expected #!AER-DAT4.0,", 0)
    data, start = raw.data, len(MAGIC)
    try:
        compression, table, xml = read_header(data, start)
    except Unreadable as error:
        raise damaged(where, f"header: {error}", start) from error
    stream = stream_of(xml, where)
    start += 4 + number(data, UINT32, start)
    end = table if table > 0 else len(data)
    if not start <= end <= len(data):
        raise damaged(where, f"the table of packets is said to be at byte {table:,}; cut off", start)
    unpack = unpacker_of(compression)
    columns, n = room(0), 0
    for at, size in packets_of(data, start, end, stream.number, where):
        try:
            structures, added = elements_of(unpack(data[at : at + size]))
        except Unreadable as error:
            raise damaged(where, f"packet: {error}", at) from error
        if n + added > len(columns.t):
            columns = grown(columns, n, n + added, (end - start) / (at + size - start), end - start)
        fill(structures, columns.part(n, n + added), stream, at, where)
        n += added
    return Recorded(columns.events(n), stream.width, stream.height)


def grown(columns: Columns, n: int, needed: int, share: float, n_bytes: int) -> Columns:
    """Room for all the events, if the rest of the file is like the first 1 / `share` of it, which had `needed`.

    The first `n` are copied. Unpacking into room that is there spares keeping what was unpacked; a guess is never more
    than an event for each two bytes, so that a damaged file cannot make it huge.
    """
    larger = room(max(needed, min(int(1.05 * needed * share), n_bytes // 2)))
    larger.x[:n], larger.y[:n], larger.t[:n], larger.p[:n] = columns.part(0, n)
    return larger


def fill(structures: Raw, columns: Columns, stream: Stream, at: int, where: str) -> None:
    """Write the events of the packet at byte `at` into its columns. `RecordingError` for a pixel outside the sensor."""
    width, height = stream.width or LARGEST_SENSOR, stream.height or LARGEST_SENSOR
    if not _aedat4(structures, width, height, *columns):
        bad = int(np.argmax((columns.x >= width) | (columns.y >= height)))
        raise outside(where, int(columns.x[bad]), int(columns.y[bad]), at, width, height)


def read_header(data: Buffer, start: int) -> tuple[int, int, str]:
    """Compression, position of the table of packets, and XML."""
    size = number(data, UINT32, start)
    if start + 4 + size > len(data):
        raise Unreadable(f"{size:,} bytes, more than there are")
    body = data[start : start + 4 + size]
    root = root_of(body, b"IOHE")
    compression, table, xml = (field_of(body, root, field) for field in range(3))
    kind = number(body, INT32, compression) if compression else NONE
    if not NONE <= kind <= ZSTD_HIGH:
        raise Unreadable(f"compression {kind}")
    if not xml:
        raise Unreadable("no description of the streams")
    text = xml + number(body, UINT32, xml)
    length = number(body, UINT32, text)
    if text + 4 + length > len(body):
        raise Unreadable("the description of the streams is cut off")
    description = bytes(body[text + 4 : text + 4 + length]).decode("utf-8", "replace")
    return kind, number(body, INT64, table) if table else -1, description


def stream_of(xml: str, where: str) -> Stream:
    """The only stream of events in the description."""
    if "<!" in xml:
        raise RecordingError(f"{where}: the description of the streams has declarations; expected plain XML")
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError as error:
        raise RecordingError(f"{where}: the description of the streams is damaged ({error}); copy it again") from error
    streams = []
    for node in root.findall("./node[@name='outInfo']/node"):
        values = {attribute.get("key"): attribute.text or "" for attribute in node.iter("attr")}
        name = node.get("name") or ""
        if values.get("typeIdentifier") == "EVTS" and name.isdecimal():
            sizes = [values.get(key, "") for key in ("sizeX", "sizeY")]
            width, height = (int(size) if size.isdecimal() and int(size[:9]) > 0 else None for size in sizes)
            streams.append(Stream(int(name[:9]), width, height))
    if len(streams) != 1:
        raise RecordingError(f"{where}: {len(streams)} streams of events; expected one, export the one you need")
    return streams[0]


def packets_of(data: Buffer, start: int, end: int, stream: int, where: str) -> Iterator[tuple[int, int]]:
    """Byte and size of the content of every packet of `stream`."""
    while start < end:
        if start + PACKET.size > end:
            raise damaged(where, "the header of a packet is cut off", start, HINT)
        packet_stream, size = PACKET.unpack_from(data, start)
        start += PACKET.size
        if not 0 <= size <= end - start:
            raise damaged(where, f"a packet of {size:,} bytes is cut off", start - PACKET.size, HINT)
        if packet_stream == stream:
            yield start, size
        start += size


def unpacker_of(compression: int) -> Callable[[Buffer], Buffer]:
    """What gives the FlatBuffer of a packet. Made for one file: threads must not share the readers behind it."""
    if compression == NONE:
        return lambda body: body
    return lz4_unpacker() if compression in (LZ4, LZ4_HIGH) else zstd_unpacker()


def lz4_unpacker() -> Callable[[Buffer], bytes]:
    """For frames of LZ4."""
    from lz4.frame import LZ4FrameDecompressor

    reader = LZ4FrameDecompressor()

    def unpack(body: Buffer) -> bytes:
        reader.reset()
        try:
            content: bytes = reader.decompress(body, max_length=GROWTH * len(body) + 1024)
        except RuntimeError as error:
            raise Unreadable(str(error)) from error
        if not reader.eof:
            raise Unreadable("the compressed data is cut off, or grows too much")
        return content

    return unpack


def zstd_unpacker() -> Callable[[Buffer], bytes]:
    """For frames of Zstandard."""
    import zstandard

    reader = zstandard.ZstdDecompressor(max_window_size=1 << 27)

    def unpack(body: Buffer) -> bytes:
        limit = GROWTH * len(body) + 1024
        try:
            claimed = zstandard.frame_content_size(body)
            if claimed > limit:
                raise Unreadable(f"claims to grow from {len(body):,} to {claimed:,} bytes")
            return reader.decompress(body, max_output_size=limit)
        except zstandard.ZstdError as error:
            raise Unreadable(str(error)) from error

    return unpack


def elements_of(body: Buffer) -> tuple[Raw, int]:
    """The structures of a packet of events, as bytes, and how many there are."""
    field = field_of(body, root_of(body, b"EVTS"), 0)
    if not field:
        return np.frombuffer(b"", np.uint8), 0
    vector = field + number(body, UINT32, field)
    n = number(body, UINT32, vector)
    if vector + 4 + EVENT_BYTES * n > len(body):
        raise Unreadable(f"{n:,} events, more than there are")
    return np.frombuffer(body, np.uint8, EVENT_BYTES * n, vector + 4), n


def root_of(body: Buffer, identifier: bytes) -> int:
    """Where the table of a FlatBuffer with its size in front lies."""
    if body[8:12] != identifier:
        raise Unreadable(f"no {identifier.decode()}")
    return 4 + number(body, UINT32, 4)


def field_of(body: Buffer, table: int, field: int) -> int:
    """Where a field of a table lies, 0 if it is left out."""
    fields = table - number(body, INT32, table)
    if 4 + 2 * field >= number(body, UINT16, fields):
        return 0
    offset = number(body, UINT16, fields + 4 + 2 * field)
    return table + offset if offset else 0


def number(body: Buffer, layout: struct.Struct, at: int) -> int:
    """The number at `at`. `Unreadable` if that is not inside."""
    if at < 0 or at + layout.size > len(body):
        raise Unreadable(f"an offset leads to byte {at:,} of {len(body):,}")
    value: int = layout.unpack_from(body, at)[0]
    return value


@kernel
def _aedat4(structures: Any, width: int, height: int, x: Any, y: Any, t: Any, p: Any) -> Any:
    """Fill the columns with a packet; whether every event is possible."""
    words = structures.view(np.int64)
    impossible = 0
    for i in range(len(t)):
        rest = words[2 * i + 1]
        column, row = rest & 0xFFFF, rest >> 16 & 0xFFFF
        x[i], y[i], t[i], p[i] = column, row, words[2 * i], rest >> 32 & 1
        impossible |= int((column >= width) | (row >= height))
    return impossible == 0
