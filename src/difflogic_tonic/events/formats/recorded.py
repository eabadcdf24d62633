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
LINE_LIMIT = 1 << 16  # a longer "line" is binary data, or a file that only pretends to be text


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


def words_of(raw: Raw, start: int, dtype: Any, where: str) -> Any:
    """Everything from byte `start` on as little-endian words. `RecordingError` if the last one is cut off."""
    size = np.dtype(dtype).itemsize
    if (len(raw) - start) % size:
        at = start + (len(raw) - start) // size * size
        raise damaged(where, f"a {size}-byte word is cut off", at, "copy or unpack the file again")
    return aligned(raw[start:].view(dtype))


def aligned(words: Any) -> Any:
    """`words` at an address that is a multiple of their size, copied if need be: kernels are compiled for that."""
    if words.flags.aligned:
        return words
    words = words.copy()
    words.flags.writeable = False
    return words


def header_lines(raw: Raw, marker: str, last: str | None, where: str) -> tuple[list[str], int]:
    """The lines at the start of the file that begin with `marker`, without it and the line end, and where they end.

    The header ends with the line `last`, or with what is no such line: binary data follows without a mark of its own in
    several formats, so a line must be short printable text. `RecordingError` if the file ends in the middle of a line.
    """
    start = 0
    lines: list[str] = []
    while text_of(raw, start, start + len(marker)) == marker:
        found = np.flatnonzero(raw[start : start + LINE_LIMIT] == ord("\n"))
        if not len(found):
            if start + LINE_LIMIT < len(raw) or not is_text(raw[start:]):
                break
            raise damaged(where, "the header is cut off", start, "copy or unpack the file again")
        end = start + int(found[0]) + 1
        if not is_text(raw[start:end]):
            break
        lines.append(text_of(raw, start + len(marker), end).strip())
        start = end
        if lines[-1] == last:
            break
    return lines, start


def is_text(raw: Raw) -> bool:
    """Whether no byte is a control character other than tab and line ends."""
    control = (raw < 32) & (raw != 9) & (raw != 10) & (raw != 13)
    return not control.any()


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
