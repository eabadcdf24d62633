"""Prophesee RAW: a text header, then words of the encodings EVT 2.0 and EVT 3.0.

Sources: https://docs.prophesee.ai/stable/data/encoding_formats/evt2.html and …/evt3.html. Both send the high part of
the time in words of its own, and say it again and again. Words of triggers, of other sensors and of vendors are left
out; those of types that neither document nor older cameras know are damage.

EVT 2.0, 32 bits: type (4 bits); for CD_OFF = 0 and CD_ON = 1 time (low 6 bits), x (11), y (11); for TIME_HIGH = 8 the
28 bits above. EVT 3.0, 16 bits: type (4 bits), then ADDR_Y = 0: y; ADDR_X = 2: polarity, x, one event; VECT_BASE_X = 3:
polarity, x of the vectors that follow; VECT_12 = 4 and VECT_8 = 5: a bit for each of the next pixels; TIME_LOW = 6 and
TIME_HIGH = 8: 12 bits of time each.
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
    whole_words,
    word_at,
)
from difflogic_tonic.events.jit import kernel

LARGEST = 1 << 11
SENSORS = {"gen3": (640, 480), "gen4": (1280, 720), "imx636": (1280, 720), "genx320": (320, 320)}
"""Part of the plugin's name → sensor, for headers that do not state the geometry."""

EVT2_UNKNOWN = sum(1 << kind for kind in (0x4, 0x5, 0x6, 0x7, 0xB, 0xC))
EVT3_UNKNOWN = sum(1 << kind for kind in (0x1, 0x9, 0xB, 0xC, 0xD))
NO_TIME = -1


def decode_evt2(raw: Raw, where: str) -> Recorded:
    """The CD events of a RAW file in EVT 2.0; those before the first TIME_HIGH have no time and are left out."""
    width, height, start = read_header(raw, "2", where)
    columns = room(whole_words(raw, start, 4, where))
    n, at = _evt2(raw, start, width or LARGEST, height or LARGEST, EVT2_UNKNOWN, *columns)
    if at >= 0:
        byte = start + 4 * int(at)
        word = word_at(raw, byte, 4)
        if word >> 28 > 1:
            raise damaged(where, f"word 0x{word:08X} of the unknown type {word >> 28}", byte)
        raise outside(where, word >> 11 & 0x7FF, word & 0x7FF, byte, width or LARGEST, height or LARGEST)
    return Recorded(columns.events(int(n)), width, height)


def decode_evt3(raw: Raw, where: str) -> Recorded:
    """The CD events of a RAW file in EVT 3.0; those before the first TIME_HIGH have no time and are left out."""
    width, height, start = read_header(raw, "3", where)
    whole_words(raw, start, 2, where)
    columns = room(int(_evt3_count(raw, start)) + 1)
    n, at, x, y = _evt3(raw, start, width or LARGEST, height or LARGEST, EVT3_UNKNOWN, *columns)
    if at >= 0:
        byte = start + 2 * int(at)
        word = word_at(raw, byte, 2)
        if EVT3_UNKNOWN >> (word >> 12) & 1:
            raise damaged(where, f"word 0x{word:04X} of the unknown type {word >> 12}", byte)
        raise outside(where, int(x), int(y), byte, width or LARGEST, height or LARGEST)
    return Recorded(columns.events(int(n)), width, height)


def read_header(raw: Raw, version: str, where: str) -> tuple[int | None, int | None, int]:
    """Width and height if the header tells, and the byte where the words begin."""
    lines, start = header_lines(raw, "% ", "end", where)
    text = "\n".join(lines).lower()
    if start == 0:
        raise damaged(where, "no header, expected lines that begin with %,", 0)
    found = version_of(text)
    if found is not None and found != version:
        raise RecordingError(f"{where}: events encoded as EVT {found}; expected EVT {version}.0, check the format")
    if "endianness big" in text:
        raise RecordingError(f"{where}: big-endian words; expected little-endian ones, convert the file")
    width = number_in(text, r"(?m)^geometry (\d+)x\d+$") or number_in(text, r"\bwidth=(\d+)")
    height = number_in(text, r"(?m)^geometry \d+x(\d+)$") or number_in(text, r"\bheight=(\d+)")
    if width and height:
        return width, height, start
    plugin = next((line for line in text.splitlines() if line.startswith("plugin_name")), "")
    named = [sensor for name, sensor in SENSORS.items() if name in plugin]
    return (*named[0], start) if named else (None, None, start)


def version_of(header: str) -> str | None:
    """ "2", "21" or "3" as the header (in lower case) states it, None if it does not."""
    for line in header.splitlines():
        if line.startswith("evt "):
            return line[4:].strip().removesuffix(".0").replace(".", "")
        if line.startswith("format evt"):
            return line[len("format evt") :].split(";")[0]
    return None


@kernel
def _evt2(raw: Any, start: int, width: int, height: int, unknown: int, x: Any, y: Any, t: Any, p: Any) -> Any:
    """Fill the columns; the number of events and -1, or the number before a bad word and where it is.

    Each word is written as if it were an event, and the cursor moves on only if it is one: no branch to mispredict.
    """
    words = raw[start:].view(np.uint32)
    n, timed, high, late = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
    for i in range(len(words)):
        word = np.int64(words[i])
        kind = word >> 28
        if kind == 8:
            now = word & 0xFFFFFFF
            if high - now > 1 << 27:
                late += 1 << 34
            high, timed = now, np.int64(1)
            continue
        column, row = word >> 11 & 0x7FF, word & 0x7FF
        is_event = np.int64(kind < 2)
        if unknown >> kind & 1 or (is_event and (column >= width or row >= height)):
            return n, i
        cursor = np.uint64(n)
        x[cursor], y[cursor], p[cursor] = column, row, kind
        t[cursor] = late + (high << 6 | word >> 22 & 63)
        n += is_event & timed
    return n, -1


@kernel
def _evt3_count(raw: Any, start: int) -> Any:
    """No fewer events than the words hold: 1 for each single one and as many for each vector as it has bits."""
    words = raw[start:].view(np.uint16)
    n = np.int64(0)
    for i in range(len(words)):
        kind = np.int64(words[i]) >> 12
        n += np.int64(kind == 2) + 12 * np.int64(kind == 4) + 8 * np.int64(kind == 5)
    return n


@kernel
def _evt3(raw: Any, start: int, width: int, height: int, unknown: int, x: Any, y: Any, t: Any, p: Any) -> Any:
    """Fill the columns, which have room for one more; as `_evt2`, then x and y of the bad event."""
    words = raw[start:].view(np.uint16)
    n, timed, time, high, late = np.int64(0), np.int64(0), np.int64(0), np.int64(0), np.int64(0)
    row, base, polarity = np.int64(0), np.int64(0), np.int64(0)
    for i in range(len(words)):
        word = np.int64(words[i])
        kind, value = word >> 12, word & 0xFFF
        if kind == 2:
            column = word & 0x7FF
            cursor = np.uint64(n)
            x[cursor], y[cursor], t[cursor], p[cursor] = column, row, time, value >> 11
            n += timed
            if column >= width or row >= height:
                return n, i, column, row
        elif kind == 0:
            row = word & 0x7FF
        elif kind == 6:
            time = time & ~0xFFF | value
        elif kind == 3:
            base, polarity = word & 0x7FF, value >> 11
        elif kind == 4 or kind == 5:
            length = 12 if kind == 4 else 8
            bits = value & ((1 << length) - 1)
            if base + length > width or row >= height:  # the part beyond the sensor may be empty
                for k in range(length):
                    if bits >> k & 1 and (base + k >= width or row >= height):
                        return n, i, base + k, row
            for k in range(length):
                cursor = np.uint64(n)
                x[cursor], y[cursor], t[cursor], p[cursor] = base + k, row, time, polarity
                n += bits >> k & timed
            base += length
        elif kind == 8:
            if high - value > 1 << 11:
                late += 1 << 24
            if value != high:  # the low part that follows belongs to the new high one
                time = late + (value << 12)
            high, timed = value, np.int64(1)
        elif unknown >> kind & 1:
            return n, i, np.int64(0), np.int64(0)
    return n, -1, np.int64(0), np.int64(0)
