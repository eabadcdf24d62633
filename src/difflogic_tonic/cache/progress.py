"""How far a long piece of work is: a bar on a terminal, a line now and then in a log file."""

import logging
import sys
import threading
import time
from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqdm import tqdm

log = logging.getLogger(__name__)

LINE_SECONDS = 15.0
RATE_LINES = 8
"""The rate is that since so many lines ago, and not before the first: what compiling takes, and what a run that goes on
finds done at once, foretell nothing."""

SETTLING_SECONDS, SETTLING_UNITS = 5.0, 10
"""So long after its first unit of work, and so many more of them, a bar shows no time left."""

_NO_TIME_LEFT = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}, {rate_fmt}{postfix}]"


class Progress:
    """Counts units of work of many threads. `advance` may be called by any; only `show` draws, and one thread calls it.

    `enabled` false: nothing is shown. Not a terminal: one line every LINE_SECONDS.
    """

    def __init__(self, total: int, unit: str, doing: str, enabled: bool = True) -> None:
        self._total, self._unit, self._doing, self._enabled = total, unit, doing, enabled
        self._done = 0
        self._lock = threading.Lock()
        self._said_at = time.monotonic()
        self._marks: deque[tuple[float, int]] = deque(maxlen=RATE_LINES)
        shown = enabled and sys.stderr.isatty()
        self._bar = bar_on_terminal(total, f" {unit}", doing, smoothing=0.05) if shown else None

    def advance(self, units: int = 1) -> None:
        with self._lock:
            self._done += units

    def show(self) -> None:
        """Bring what is on the screen up to date."""
        if self._bar is not None:
            self._bar.update(self._done - self._bar.n)
        elif self._enabled and (now := time.monotonic()) - self._said_at > LINE_SECONDS:
            self._said_at, done = now, self._done
            pace = self._pace(now, done)
            self._marks.append((now, done))
            log.info("%s: %s of %s %s%s", *(self._doing, f"{done:,}", f"{self._total:,}", self._unit, pace))

    def _pace(self, now: float, done: int) -> str:
        """Rate and time left since the earliest line that is remembered; nothing in the first one."""
        if not self._marks:
            return ""
        since, before = self._marks[0]
        rate = (done - before) / (now - since)
        left = time_text((self._total - done) / rate) if rate else "unknown time"
        return f", {rate:,.0f}/s, {left} left" if rate >= 10 else f", {rate:.1f}/s, {left} left"

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


def bar_on_terminal(total: int, unit: str, doing: str, **options: Any) -> "tqdm":
    """A bar of tqdm that says how long it still takes only once there is enough to go by; `options` are tqdm's."""
    from tqdm import tqdm

    class Bar(tqdm):
        _begun: tuple[float, float] | None = None

        @property
        def format_dict(self) -> dict[str, Any]:
            facts = dict(super().format_dict)
            if self._begun is None and self.n > self.initial:
                self._begun = time.monotonic(), self.n
            if self.total and not self._has_settled():
                facts["bar_format"] = _NO_TIME_LEFT
            return facts

        def _has_settled(self) -> bool:
            if self._begun is None:
                return False
            since, before = self._begun
            return time.monotonic() - since >= SETTLING_SECONDS and self.n - before >= SETTLING_UNITS

    return Bar(total=total, unit=unit, desc=doing, dynamic_ncols=True, **options)
