"""Prophesee DAT: a text header, two bytes of type and size, then 8-byte CD events.

Source: https://docs.prophesee.ai/stable/data/file_formats/dat.html. An event is two little-endian 32-bit words: time in
µs, then x (14 bits), y (14 bits), polarity (4 bits), lowest first. The time wraps after 71.6 minutes.
"""

from typing import Any

import numpy as np

from difflogic_tonic.errors import RecordingError
from difflogic_tonic.events.formats.recorded import (
    Raw,
    Recorded,
    damaged,
    header_lines,
    number_in,
    outside,
    room,
    unwrapped,
    words_of,
)
from difflogic_tonic.events.jit import kernel

CD_TYPES = (0x00, 0x0C)  # "2D" of the first recordings, and CD
EVENT_BYTES = 8
LARGEST = 1 << 14


def decode_dat(raw: Raw, where: str) -> Recorded:
    """The CD events of a `.dat` file. `RecordingError` for other events, a cut-off event and an impossible pixel."""
    width, height, start = read_header(raw, where)
    words = words_of(raw, start, np.uint64, where).view(np.uint32)
    columns = room(len(words) // 2)
    valid, wraps = _dat(words, width or LARGEST, height or LARGEST, *columns)
    if not valid:
        address = words[1::2]
        beyond = (address & 0x3FFF >= (width or LARGEST)) | (address >> 14 & 0x3FFF >= (height or LARGEST))
        at = int(np.argmax(beyond | (address >> 28 > 1)))
        if address[at] >> 28 > 1:
            raise damaged(where, f"polarity {address[at] >> 28}, expected 0 or 1,", start + EVENT_BYTES * at)
        x, y = int(columns.x[at]), int(columns.y[at])
        raise outside(where, x, y, start + EVENT_BYTES * at, width or LARGEST, height or LARGEST)
    if wraps:
        columns = columns._replace(t=unwrapped(columns.t))
    return Recorded(columns.events(len(columns.t)), width, height)


def read_header(raw: Raw, where: str) -> tuple[int | None, int | None, int]:
    """Width and height if stated, and the byte where the events begin."""
    lines, start = header_lines(raw, "% ", None, where)
    text = "\n".join(lines)
    if start == 0:
        raise damaged(where, "no header, expected lines that begin with %,", 0)
    version = number_in(text, r"(?mi)^Version (\d+)$")
    if version not in (None, 2):
        raise RecordingError(f"{where}: DAT version {version}; expected 2: write it again as version 2")
    if len(raw) < start + 2:
        raise damaged(where, "type and size of the events are cut off", start, "copy or unpack the file again")
    kind, size = raw[start : start + 2].tolist()
    if kind not in CD_TYPES or size != EVENT_BYTES:
        raise damaged(where, f"events of type {kind} and {size} bytes, expected CD events (type 12, 8 bytes),", start)
    return number_in(text, r"(?mi)^Width (\d+)$"), number_in(text, r"(?mi)^Height (\d+)$"), start + 2


@kernel
def _dat(words: Any, width: int, height: int, x: Any, y: Any, t: Any, p: Any) -> Any:
    """Fill the columns; whether every event is possible, and whether the time counter starts again somewhere."""
    impossible, wraps = 0, 0
    for i in range(len(t)):
        time, address = np.int64(words[2 * i]), np.int64(words[2 * i + 1])
        before = np.int64(words[2 * max(i - 1, 0)])
        column, row, polarity = address & 0x3FFF, address >> 14 & 0x3FFF, address >> 28
        x[i], y[i], t[i], p[i] = column, row, time, polarity
        impossible |= int((column >= width) | (row >= height) | (polarity > 1))
        wraps |= int(before - time > 1 << 31)
    return impossible == 0, wraps > 0
