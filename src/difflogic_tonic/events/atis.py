"""The `.bin` format of N-MNIST: 40-bit address events of an ATIS camera (Orchard et al. 2015).

A record is five bytes: x, y, then 24 bits, high byte first: polarity (1 bit) and time in µs (23 bits). A record with
y = 240 is no event: the camera's clock overflowed, and all times from there on are 8,192 µs later.
"""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from difflogic_tonic.config import SensorSize
from difflogic_tonic.errors import RecordingError
from difflogic_tonic.events.stream import Events

RECORD_BYTES = 5
OVERFLOW_Y = 240
OVERFLOW_US = 8192
TIME_BITS = 23

Bytes: TypeAlias = bytes | bytearray | memoryview


def records_of(data: Bytes, where: str) -> npt.NDArray[np.uint8]:
    """View u8[n, 5] of the file's content. `RecordingError` if it is empty or not made of whole records."""
    if len(data) == 0:
        raise RecordingError(f"{where}: empty file; expected records of {RECORD_BYTES} bytes; unpack the dataset again")
    if len(data) % RECORD_BYTES:
        raise RecordingError(
            f"{where}: {len(data):,} bytes is not a multiple of {RECORD_BYTES}; a record is cut off at byte "
            f"{len(data) // RECORD_BYTES * RECORD_BYTES}; unpack the dataset again"
        )
    return np.frombuffer(data, np.uint8).reshape(-1, RECORD_BYTES)


def decode_atis(data: Bytes, sensor: SensorSize, where: str) -> Events:
    """The events of a `.bin` file; `where` names it in errors. Times are exact however often the clock overflowed.

    Raises `RecordingError` for an empty file, a part of a record, and a pixel outside the sensor (with its byte).
    """
    assert sensor.height <= OVERFLOW_Y, sensor
    records = records_of(data, where).astype(np.int64)
    x, y, high, middle, low = records.T
    overflow = y == OVERFLOW_Y
    t = ((high & 0x7F) << 16 | middle << 8 | low) + np.cumsum(overflow) * OVERFLOW_US
    event = ~overflow
    outside = event & ((x >= sensor.width) | (y >= sensor.height))
    if outside.any():
        raise outside_error(records[:, :2], int(np.argmax(outside)), sensor, where)
    return Events(x[event].astype(np.uint16), y[event].astype(np.uint16), t[event], (high[event] >> 7).astype(np.uint8))


def outside_error(records: npt.NDArray[np.integer], row: int, sensor: SensorSize, where: str) -> RecordingError:
    """The error for record `row`, whose first two bytes are no pixel of `sensor`."""
    x, y = records[row, :2].tolist()
    return RecordingError(
        f"{where}: pixel x={x} y={y} at byte {row * RECORD_BYTES} is outside the {sensor.width}x{sensor.height} "
        "sensor; the file is damaged or of another dataset"
    )


def encode_atis(events: Events) -> bytes:
    """The `.bin` content of `events`, which must be in order of time, with overflow records where time needs them."""
    assert len(events) == 0 or (events.y.max() < OVERFLOW_Y and events.x.max() < 256 and events.t[0] >= 0)
    assert (np.diff(events.t) >= 0).all(), "events out of order"
    limit = 1 << TIME_BITS
    overflows = np.maximum(0, -(-(events.t - (limit - 1)) // OVERFLOW_US))  # before each event, since the start
    added = np.diff(overflows, prepend=0)
    rows = np.arange(len(events)) + overflows
    records = np.zeros((len(events) + int(added.sum()), RECORD_BYTES), np.uint8)
    records[:, 1] = OVERFLOW_Y
    stamp = events.t - overflows * OVERFLOW_US
    records[rows, 0], records[rows, 1] = events.x, events.y
    records[rows, 2] = events.p.astype(np.int64) << 7 | stamp >> 16
    records[rows, 3], records[rows, 4] = stamp >> 8 & 0xFF, stamp & 0xFF
    return records.tobytes()
