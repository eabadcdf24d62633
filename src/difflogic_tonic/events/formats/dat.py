"""Prophesee DAT: a text header, two bytes of type and size, then 8-byte CD events.

Source: https://docs.prophesee.ai/stable/data/file_formats/dat.html. An event is two little-endian 32-bit words: time in
µs, then x (14 bits), y (14 bits), polarity (4 bits), lowest first. The time wraps after 71.6 minutes.
"""

from typing import Any

import numpy as np

from difflogic_tonic.errors import RecordingError
from difflogic_tonic.events.formats.recorded import (
    Columns,
    Raw,
    Recorded,
    damaged,
    header_lines,
    number_in,
    outside,
    room,
    unwrapped,
    whole_words,
)
from difflogic_tonic.events.jit import kernel

CD_TYPES = (0x00, 0x0C)  # "2D" of the first recordings, and CD
EVENT_BYTES = 8
LARGEST = 1 << 14


def decode_dat(raw: Raw, where: str) -> Recorded:
    """The CD events of a `.dat` file. `RecordingError` for other events, a cut-off event and an impossible pixel."""
    width, height, start = read_header(raw, where)
    n = whole_words(raw, start, EVENT_BYTES, where)
    columns = room(n)
    if not _dat(raw, start, width or LARGEST, height or LARGEST, *columns):
        raise bad_event(raw, columns, (width or LARGEST, height or LARGEST), start, where)
    columns = columns._replace(t=unwrapped(columns.t))
    return Recorded(columns.events(n), width, height)


def bad_event(raw: Raw, columns: Columns, sensor: tuple[int, int], start: int, where: str) -> RecordingError:
    """The error for the first event that cannot be."""
    polarity = raw[start + EVENT_BYTES - 1 :: EVENT_BYTES] >> 4
    at = int(np.argmax((columns.x >= sensor[0]) | (columns.y >= sensor[1]) | (polarity > 1)))
    if polarity[at] > 1:
        return damaged(where, f"polarity {polarity[at]}, expected 0 or 1,", start + EVENT_BYTES * at)
    return outside(where, int(columns.x[at]), int(columns.y[at]), start + EVENT_BYTES * at, *sensor)


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
def _dat(raw: Any, start: int, width: int, height: int, x: Any, y: Any, t: Any, p: Any) -> Any:
    """Fill the columns; whether every event is possible. No branches: the compiler makes vector instructions of it."""
    words = raw[start : start + 8 * len(t)].view(np.uint64)
    impossible = 0
    for i in range(len(t)):
        address = np.int64(words[i] >> np.uint64(32))
        column, row, polarity = address & 0x3FFF, address >> 14 & 0x3FFF, address >> 28
        x[i], y[i], t[i], p[i] = column, row, words[i] & np.uint64(0xFFFFFFFF), polarity
        impossible |= int((column >= width) | (row >= height) | (polarity > 1))
    return impossible == 0
