"""How far a long piece of work is: a bar on a terminal, a line now and then in a log file."""

import logging
import sys
import threading
import time
from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tqdm import tqdm

log = logging.getLogger(__name__)

LINE_SECONDS = 15.0
RATE_LINES = 8
"""The rate is that since so many lines ago: a run that goes on finds much done at once, which foretells nothing."""


class Progress:
    """Counts units of work of many threads. `advance` may be called by any; only `show` draws, and one thread calls it.

    `enabled` false: nothing is shown. Not a terminal: one line every LINE_SECONDS.
    """

    def __init__(self, total: int, unit: str, doing: str, enabled: bool = True) -> None:
        self._total, self._unit, self._doing, self._enabled = total, unit, doing, enabled
        self._done = 0
        self._lock = threading.Lock()
        self._marks = deque([(time.monotonic(), 0)], maxlen=RATE_LINES)
        self._bar = _bar(total, unit, doing) if enabled and sys.stderr.isatty() else None

    def advance(self, units: int = 1) -> None:
        with self._lock:
            self._done += units

    def show(self) -> None:
        """Bring what is on the screen up to date."""
        if self._bar is not None:
            self._bar.update(self._done - self._bar.n)
        elif self._enabled and (now := time.monotonic()) - self._marks[-1][0] > LINE_SECONDS:
            since, before = self._marks[0]
            done = self._done
            self._marks.append((now, done))
            rate = (done - before) / (now - since)
            pace = f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}"
            left = time_text((self._total - done) / rate) if rate else "unknown time"
            log.info(
                "%s: %s of %s %s, %s/s, %s left",
                *(self._doing, f"{done:,}", f"{self._total:,}", self._unit, pace, left),
            )

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.show()
        if self._bar is not None:
            self._bar.close()


def time_text(seconds: float) -> str:
    """`45 s`, `12 min` or `3 h 25 min`."""
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def _bar(total: int, unit: str, doing: str) -> "tqdm":
    from tqdm import tqdm

    return tqdm(total=total, unit=f" {unit}", desc=doing, smoothing=0.05, dynamic_ncols=True)
