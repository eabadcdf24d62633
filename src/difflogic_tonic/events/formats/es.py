"""Event Stream (`.es`), version 2: events of an event camera as 5 bytes each, times as differences.

Source: https://github.com/neuromorphic-paris/event_stream. After "Event Stream", three bytes of version and one of
type come width and height (16 bits each). A DVS event (type 1) is time since the last (7 bits) and polarity (1), x and
y (16 each); 0xFF adds 127 µs, 0xFE is a reset, without meaning between events. An ATIS event (type 2) has 6 bits of
time, then polarity and whether it is half a grey level measurement: those are left out. 0xFD to 0xFF add 63 µs one to
three times, 0xFC is a reset. The origin is the lower left corner: rows are turned over, so that row 0 is the top.
"""

from typing import Any

import numpy as np

from difflogic_tonic.errors import RecordingError
from difflogic_tonic.events.formats.recorded import Raw, Recorded, damaged, outside, room, text_of
from difflogic_tonic.events.jit import kernel

MAGIC = b"Event Stream"
DVS, ATIS = 1, 2
TYPES = {0: "generic", 3: "display", 4: "colour"}
HEADER_BYTES = 20
EVENT_BYTES = 5
WHOLE = -1


def decode_es(raw: Raw, where: str) -> Recorded:
    """The DVS or ATIS change events of an `.es` file.

    `RecordingError` for another version or type, a pixel outside the sensor, and an event that is cut off.
    """
    if text_of(raw, 0, len(MAGIC)) != MAGIC.decode():
        raise damaged(where, 'no header, expected "Event Stream",', 0)
    if len(raw) < HEADER_BYTES:
        raise damaged(where, "the header is cut off", len(raw), "copy or unpack the file again")
    major, kind = int(raw[12]), int(raw[15])
    if major != 2:
        raise RecordingError(f"{where}: Event Stream version {major}; expected 2: write it again as version 2")
    if kind not in (DVS, ATIS):
        name = TYPES.get(kind, f"type {kind}")
        raise RecordingError(f"{where}: {name} events at byte 15; expected DVS (1) or ATIS (2), which have pixels")
    width, height = raw[16:20].view("<u2").tolist()
    columns = room(max(len(raw) - HEADER_BYTES, 0) // EVENT_BYTES + 1)
    n, at = _es(raw, HEADER_BYTES, kind == ATIS, width, height, *columns)
    if at != WHOLE:
        at = int(at)
        if at + EVENT_BYTES > len(raw):
            raise damaged(where, "an event is cut off", at, "copy or unpack the file again")
        x, y = raw[at + 1 : at + 5].view("<u2").tolist()
        raise outside(where, x, y, at, width, height)
    return Recorded(columns.events(int(n)), width, height)


@kernel
def _es(raw: Any, start: int, atis: bool, width: int, height: int, x: Any, y: Any, t: Any, p: Any) -> Any:
    """Fill the columns; the number of events and `WHOLE`, or the number before a bad event and its byte."""
    shift, step = (2, 63) if atis else (1, 127)
    reset = 0xFC if atis else 0xFE
    time, n, i = np.int64(0), np.int64(0), np.int64(start)
    while i < len(raw):
        first = np.int64(raw[i])
        if first >= reset:
            time += step * (first - reset)
            i += 1
            continue
        if i + 5 > len(raw):
            return n, i
        time += first >> shift
        column = np.int64(raw[i + 1]) | np.int64(raw[i + 2]) << 8
        row = np.int64(raw[i + 3]) | np.int64(raw[i + 4]) << 8
        if column >= width or row >= height:
            return n, i
        x[n], y[n], t[n] = column, height - 1 - row, time
        p[n] = first >> (shift - 1) & 1
        n += np.int64(not (atis and first & 1))
        i += 5
    return n, WHOLE
