"""The `.bin` files of N-MNIST and N-Caltech101: the same as `decode_atis`, as machine code, and without a sensor."""

from typing import Any

import numpy as np

from difflogic_tonic.events.atis import OVERFLOW_US, OVERFLOW_Y, RECORD_BYTES, records_of
from difflogic_tonic.events.formats.recorded import Raw, Recorded, damaged, room
from difflogic_tonic.events.jit import kernel


def decode_bin(raw: Raw, where: str) -> Recorded:
    """The events of an ATIS `.bin` file; it does not tell the sensor's size, which is at most 256 x 240.

    `RecordingError` for a part of a record and for y above 240, which no ATIS camera sends.
    """
    records = records_of(raw.data, where)
    columns = room(len(records))
    n, at = _atis(records, *columns)
    if at >= 0:
        raise damaged(where, f"y={records[at, 1]}, expected at most {OVERFLOW_Y},", RECORD_BYTES * int(at))
    return Recorded(columns.events(int(n)))


@kernel
def _atis(records: Any, x: Any, y: Any, t: Any, p: Any) -> Any:
    """Fill the columns; the number of events and -1, or the number before a bad record and where it is."""
    n, late = np.int64(0), np.int64(0)
    for i in range(len(records)):
        row, high = np.int64(records[i, 1]), np.int64(records[i, 2])
        if row >= OVERFLOW_Y:
            if row > OVERFLOW_Y:
                return n, i
            late += OVERFLOW_US
            continue
        x[n], y[n], p[n] = records[i, 0], row, high >> 7
        t[n] = ((high & 0x7F) << 16 | np.int64(records[i, 3]) << 8 | np.int64(records[i, 4])) + late
        n += 1
    return n, -1
