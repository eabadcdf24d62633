"""Parts of an AEDAT 3.1 file."""

from typing import Any

import numpy as np

from difflogic_tonic.events.formats.aedat3 import PACKET_HEADER, WRONG, _count, _int32, read_header
from difflogic_tonic.events.formats.recorded import damaged
from difflogic_tonic.events.jit import kernel


def cut_aedat3(data: bytes, start_us: int, end_us: int, where: str) -> bytes:
    """The AEDAT 3.1 file `data` with only those polarity events whose time is in [start_us, end_us).

    Times stay as they are; events that are marked as invalid and packets of other types are left out. Raises
    `RecordingError` for what is not such a file, as its decoder does; coordinates are left to the decoder.
    """
    raw = np.frombuffer(data, np.uint8)
    raw.flags.writeable = False
    first_packet = read_header(raw, where)[2]
    _, at, wrong = _count(raw, first_packet)
    if wrong:
        raise damaged(where, WRONG[int(wrong)], int(at))
    out = np.empty(len(raw) - first_packet, np.uint8)
    used = int(_cut(raw, first_packet, start_us, end_us, out))
    return data[:first_packet] + out[:used].tobytes()


@kernel
def _cut(raw: Any, start: int, start_us: int, end_us: int, out: Any) -> Any:
    """Copy packets of polarity events without the events outside the times; returns the bytes used of `out`."""
    at, used = np.int64(start), np.int64(0)
    while at < len(raw):
        size, number = _int32(raw, at + 4) * _int32(raw, at + 16), _int32(raw, at + 20)
        late = _int32(raw, at + 12) << 31
        body = at + PACKET_HEADER
        if raw[at] == 1 and raw[at + 1] == 0:
            cursor = used + PACKET_HEADER
            for event in range(body, body + 8 * number, 8):
                time = late | _int32(raw, event + 4)
                if raw[event] & 1 and start_us <= time < end_us:
                    out[cursor : cursor + 8] = raw[event : event + 8]
                    cursor += 8
            kept = (cursor - used - PACKET_HEADER) // 8
            if kept:
                out[used : used + PACKET_HEADER] = raw[at:body]
                for field in range(used + 16, used + PACKET_HEADER, 4):  # capacity, number of events, of valid ones
                    for byte in range(4):
                        out[field + byte] = kept >> 8 * byte & 0xFF
                used = cursor
        at = body + size
    return used
