"""What every decoder takes and gives, and the few things that all of them need."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from difflogic_tonic.errors import RecordingError
from difflogic_tonic.events.jit import kernel
from difflogic_tonic.events.stream import Events

Raw: TypeAlias = npt.NDArray[np.uint8]
"""The content of a file: u8[n], read-only."""

COUNTER_RANGE = 1 << 32
LARGEST_SENSOR = 1 << 16
HEADER_LIMIT = 1 << 18  # jAER writes all of its preferences into the header
CONTROL = re.compile(rb"[^\t\r\n -~\x80-\xff]")
"""A byte that no line of text has."""


@dataclass(frozen=True)
class Recorded:
    """A decoded file: its events in the order of the file, and the size of the sensor where the file says it.

    x counts columns from the left and y rows from the top. Times are µs on the clock of the recording; they are neither
    sorted nor moved to 0.
    """

    events: Events
    width: int | None = None
    height: int | None = None


Decoder: TypeAlias = Callable[[Raw, str], Recorded]


class Columns(NamedTuple):
    """Room for `n` events."""

    x: npt.NDArray[np.uint16]
    y: npt.NDArray[np.uint16]
    t: npt.NDArray[np.int64]
    p: npt.NDArray[np.uint8]

    def events(self, n: int) -> Events:
        """The first `n` of them."""
        return Events(self.x[:n], self.y[:n], self.t[:n], self.p[:n])

    def part(self, start: int, end: int) -> "Columns":
        """The room for events `start` to `end`."""
        return Columns(self.x[start:end], self.y[start:end], self.t[start:end], self.p[start:end])


def room(n: int) -> Columns:
    """Columns for `n` events, their content undefined. 13 bytes an event."""
    return Columns(np.empty(n, np.uint16), np.empty(n, np.uint16), np.empty(n, np.int64), np.empty(n, np.uint8))


def damaged(where: str, what: str, byte: int, hint: str = "the file is damaged or of another format") -> RecordingError:
    """The error for `what` found at `byte` of the file `where`."""
    return RecordingError(f"{where}: {what} at byte {byte:,}; {hint}")


def outside(where: str, x: int, y: int, byte: int, width: int, height: int) -> RecordingError:
    """The error for an event whose pixel is not one of the `width` x `height` that the file or its format states."""
    return damaged(where, f"pixel x={x} y={y} outside the {width}x{height} sensor", byte)


def text_of(raw: Raw, start: int, end: int) -> str:
    """Bytes `start` to `end` as text; bytes above 127 become U+FFFD, which no keyword contains."""
    return raw[start:end].tobytes().decode("ascii", "replace")


def whole_words(raw: Raw, start: int, size: int, where: str) -> int:
    """How many words of `size` bytes there are from byte `start` on. `RecordingError` if the last one is cut off."""
    n, rest = divmod(len(raw) - start, size)
    if rest:
        raise damaged(where, f"a {size}-byte word is cut off", start + n * size, "copy or unpack the file again")
    return n


def word_at(raw: Raw, byte: int, size: int) -> int:
    """The little-endian word of `size` bytes at `byte`."""
    return int.from_bytes(raw[byte : byte + size].tobytes(), "little")


def header_lines(raw: Raw, marker: str, last: str | None, where: str) -> tuple[list[str], int]:
    """The lines at the start of the file that begin with `marker`, without it and the line end, and where they end.

    The header ends with the line `last`, or with what is no such line: binary data follows without a mark of its own in
    several formats, so a line must be text. `RecordingError` if the file ends in the middle of a line.
    """
    start = 0
    lines: list[str] = []
    head = raw[:HEADER_LIMIT].tobytes()
    while head.startswith(marker.encode(), start):
        end = head.find(b"\n", start) + 1
        if end == 0 or CONTROL.search(head, start, end):
            if end == 0 and len(head) < HEADER_LIMIT and not CONTROL.search(head, start):
                raise damaged(where, "the header is cut off", start, "copy or unpack the file again")
            break
        lines.append(head[start + len(marker) : end].decode("ascii", "replace").strip())
        start = end
        if lines[-1] == last:
            break
    return lines, start


def number_in(text: str, pattern: str) -> int | None:
    """The first group of `pattern` in `text` as a number of at most nine digits."""
    found = re.search(pattern, text)
    return int(found[1]) if found and found[1].isdecimal() and len(found[1]) < 10 else None


def unwrapped(t: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Times of a 32-bit counter of µs that starts again every 71.6 minutes, made to go on.

    A step back by more than half the range is a new start. A smaller one is what the file says, and stays.
    """
    if not _starts_again(t):
        return t
    wraps = np.diff(t, prepend=t[:1]) < -COUNTER_RANGE // 2
    return t + np.cumsum(wraps) * COUNTER_RANGE


@kernel
def _starts_again(t: Any) -> Any:
    """Whether a time is smaller than the one before by more than half the range of the counter."""
    wraps = 0
    for i in range(1, len(t)):
        wraps |= int(t[i - 1] - t[i] > 1 << 31)
    return wraps != 0
