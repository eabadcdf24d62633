"""How far a long piece of work is: a bar on a terminal, a line now and then in a log file."""

import logging
import sys
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tqdm import tqdm

log = logging.getLogger(__name__)

LINE_SECONDS = 15.0


class Progress:
    """Counts units of work of many threads. `advance` may be called by any; only `show` draws, and one thread calls it.

    `enabled` false: nothing is shown. Not a terminal: one line every LINE_SECONDS.
    """

    def __init__(self, total: int, unit: str, doing: str, enabled: bool = True) -> None:
        self._total, self._unit, self._doing, self._enabled = total, unit, doing, enabled
        self._done = 0
        self._lock = threading.Lock()
        self._started = self._shown = time.monotonic()
        self._bar = _bar(total, unit, doing) if enabled and sys.stderr.isatty() else None

    def advance(self, units: int = 1) -> None:
        with self._lock:
            self._done += units

    def show(self) -> None:
        """Bring what is on the screen up to date."""
        if self._bar is not None:
            self._bar.update(self._done - self._bar.n)
        elif self._enabled and time.monotonic() - self._shown > LINE_SECONDS:
            self._shown = time.monotonic()
            rate = self._done / (self._shown - self._started)
            left = (self._total - self._done) / rate if rate else float("inf")
            log.info(
                "%s: %s of %s %s, %.0f/s, %.0f s left",
                *(self._doing, f"{self._done:,}", f"{self._total:,}", self._unit, rate, left),
            )

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.show()
        if self._bar is not None:
            self._bar.close()


def _bar(total: int, unit: str, doing: str) -> "tqdm":
    from tqdm import tqdm

    return tqdm(total=total, unit=f" {unit}", desc=doing, smoothing=0.05, dynamic_ncols=True)
