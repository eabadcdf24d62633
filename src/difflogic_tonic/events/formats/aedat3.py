"""AEDAT 3.1: packets of typed events, little-endian, after a text header.

Source: https://docs.inivation.com/software/software-advanced-usage/file-formats/aedat-3.1.html. A packet has a header
of 28 bytes: type and source (16 bits each), then size of an event, position of its time, times that the clock has
started again, capacity, number of events, and number of valid ones (32 bits each). Polarity events (type 1) are two
32-bit words: valid (1 bit), polarity (1), y (15), x (15), lowest first, and time in µs (31 bits). Packets of other
types are left out.
"""

import re
from typing import Any

import numpy as np

from difflogic_tonic.errors import RecordingError
from difflogic_tonic.events.formats.recorded import Raw, Recorded, damaged, header_lines, outside, room
from difflogic_tonic.events.jit import kernel

HEADER_END = "!END-HEADER"
PACKET_HEADER = 28
LARGEST = 1 << 15
SOURCES = {"DVS128": (128, 128), "DAVIS240": (240, 180), "DAVIS346": (346, 260), "DAVIS640": (640, 480)}
WRONG = {
    1: "the header of a packet is cut off",
    2: "a packet with a negative size",
    3: "a packet is cut off",
    4: "a packet with more events than its capacity",
    5: "a packet of polarity events that are not 8 bytes each",
    6: "a time before the start",
}


def decode_aedat3(raw: Raw, where: str) -> Recorded:
    """The valid polarity events of an AEDAT 3.1 file.

    `RecordingError` for another version, a packet that is cut off or contradicts itself, and an impossible pixel.
    """
    width, height, start = read_header(raw, where)
    n, at, wrong = _count(raw, start)
    if wrong:
        raise damaged(where, WRONG[int(wrong)], int(at))
    columns = room(int(n) + 1)
    n, at, x, y = _aedat3(raw, start, width or LARGEST, height or LARGEST, *columns)
    if at >= 0:
        if x < 0:
            raise damaged(where, WRONG[6], int(at))
        raise outside(where, int(x), int(y), int(at), width or LARGEST, height or LARGEST)
    return Recorded(columns.events(int(n)), width, height)


def read_header(raw: Raw, where: str) -> tuple[int | None, int | None, int]:
    """Width and height of the only camera of the file, if known, and the byte where the packets begin."""
    lines, start = header_lines(raw, "#", HEADER_END, where)
    if not lines or lines[0] != "!AER-DAT3.1":
        raise RecordingError(
            f"{where}: the first line is {''.join(lines[:1])[:20]!r}; expected '!AER-DAT3.1' after the #"
        )
    if lines[-1] != HEADER_END:
        raise damaged(where, f"no #{HEADER_END}", start)
    sensors: set[tuple[int, int] | None] = set()
    for line in lines:
        if line.startswith("Format:") and line.removeprefix("Format:").strip() != "RAW":
            raise RecordingError(f"{where}: {line[:40]!r} in the header; expected 'Format: RAW', export it as RAW")
        if source := re.match(r"Source \d+:\s*(\S+)", line):
            known = [sensor for name, sensor in SOURCES.items() if source[1].upper().startswith(name)]
            sensors.add(known[0] if known else None)
    sensor = sensors.pop() if len(sensors) == 1 else None
    return (*sensor, start) if sensor else (None, None, start)


@kernel
def _int32(raw: Any, at: int) -> Any:
    value = np.int64(raw[at]) | np.int64(raw[at + 1]) << 8 | np.int64(raw[at + 2]) << 16 | np.int64(raw[at + 3]) << 24
    return value - ((value >> 31) << 32)


@kernel
def _count(raw: Any, start: int) -> Any:
    """Polarity events in all packets, valid or not; then the byte and the number in `WRONG` of what is, or 0."""
    n, at = np.int64(0), np.int64(start)
    while at < len(raw):
        if at + PACKET_HEADER > len(raw):
            return n, at, 1
        size, capacity, number = _int32(raw, at + 4), _int32(raw, at + 16), _int32(raw, at + 20)
        if size < 0 or capacity < 0 or number < 0 or _int32(raw, at + 12) < 0:
            return n, at, 2
        if size * capacity > len(raw) - at - PACKET_HEADER:
            return n, at, 3
        if number > capacity:
            return n, at, 4
        if raw[at] == 1 and raw[at + 1] == 0:
            if size != 8:
                return n, at, 5
            n += number
        at += PACKET_HEADER + size * capacity
    return n, at, 0


@kernel
def _aedat3(raw: Any, start: int, width: int, height: int, x: Any, y: Any, t: Any, p: Any) -> Any:
    """Fill the columns, which have room for one more, from packets that `_count` has found sound.

    The number of events and -1, or the byte of a bad event and its x and y, which are -1 if it is the time.
    """
    n, at = np.int64(0), np.int64(start)
    while at < len(raw):
        size, late = _int32(raw, at + 4) * _int32(raw, at + 16), _int32(raw, at + 12) << 31
        is_polarity = raw[at] == 1 and raw[at + 1] == 0
        number = _int32(raw, at + 20) if is_polarity else np.int64(0)
        at += PACKET_HEADER
        words = raw[at : at + 8 * number].view(np.uint32)
        for event in range(number):
            word, time = np.int64(words[2 * event]), np.int64(words[2 * event + 1])
            column, row = word >> 17, word >> 2 & 0x7FFF
            if word & 1 and (time > 0x7FFFFFFF or column >= width or row >= height):
                return n, at + 8 * event, np.int64(-1) if time > 0x7FFFFFFF else column, row
            cursor = np.uint64(n)
            x[cursor], y[cursor], t[cursor], p[cursor] = column, row, late | time, word >> 1 & 1
            n += word & 1
        at += size
    return n, -1, np.int64(0), np.int64(0)
