"""A step that takes longer than the time between a signal and the kill: what is saved then.

A handler of Python runs between two of its instructions, so a stop is obeyed when the step has ended. While steps are
long, the state at the last boundary between two of them is kept in memory; if a stop signal has come and no boundary
`train.grace_seconds` later, a thread writes that state and ends the process. Where steps are short nothing is
kept and nothing is copied: their end comes soon enough.
"""

import logging
import math
import os
import select
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

from difflogic_tonic.errors import StorageError
from difflogic_tonic.runs.checkpoint import Checkpoints, Position
from difflogic_tonic.runs.signals import STOP_SIGNALS, StopRequest
from difflogic_tonic.runs.writer import CheckpointWriter

LONG_STEPS_PER_GRACE = 4
"""Steps longer than this part of the grace time are long: the next one might be as long as all of it."""

POLL_SECONDS = 0.1

_NUMBERS = {int(getattr(signal, name)): name for name in STOP_SIGNALS}

Kept = tuple[Position, dict[str, Any]]

log = logging.getLogger(__name__)


class Grace:
    """Watches over a run until `close`; `save` writes what was kept last.

    `save` is called from a thread while the loop is inside a step; with None if the step before was short, or if
    everything is saved already.
    """

    def __init__(self, stop: StopRequest, seconds: float, save: Callable[[Kept | None], None]) -> None:
        self._stop, self._seconds, self._save = stop, seconds, save
        self._kept: Kept | None = None
        self._obeyed = False
        self._turn = threading.Lock()
        self._end, self._write_end = os.pipe()
        self._thread = threading.Thread(target=self._watch, name="grace", daemon=True)
        if stop.wakeups >= 0:
            self._thread.start()

    def boundary(self, seconds: float, snapshot: Callable[[], Kept]) -> None:
        """A step that took so long has just ended; `snapshot` is called if its end is worth keeping."""
        self._kept = snapshot() if seconds * LONG_STEPS_PER_GRACE >= self._seconds else None

    def obey(self) -> None:
        """The loop is over and the run is being saved. Does not return if the thread is doing that already."""
        with self._turn:
            self._obeyed = True

    def finish(self) -> None:
        """The run is saved; what follows may be ended and done again."""
        self._kept, self._obeyed = None, False

    def close(self) -> None:
        """From here on a stop ends nothing early."""
        self.obey()
        os.write(self._write_end, b".")
        if self._thread.ident is not None:
            self._thread.join()
        os.close(self._end)
        os.close(self._write_end)

    def _watch(self) -> None:
        reason, until = "", math.inf
        while True:
            wait = None if until == math.inf else max(POLL_SECONDS, until - time.monotonic())
            ready, _, _ = select.select([self._end, self._stop.wakeups], [], [], wait)
            if self._end in ready:
                return
            if self._stop.wakeups in ready:
                names = [_NUMBERS[number] for number in os.read(self._stop.wakeups, 64) if number in _NUMBERS]
                if names and not reason:
                    reason, until = names[0], time.monotonic() + self._seconds
            if time.monotonic() >= until:
                self._leave(reason)

    def _leave(self, reason: str) -> None:
        with self._turn:
            if self._obeyed:
                return
            self._stop.request(reason)
            log.warning("what runs since %s takes longer than train.grace_seconds (%g s)", reason, self._seconds)
            try:
                self._save(self._kept)
            finally:
                logging.shutdown()
                os._exit(self._stop.exit_code)


def save_kept(
    kept: Kept | None, writer: CheckpointWriter, first: Callable[[], None], checkpoints: Checkpoints
) -> Position | None:
    """Write what was kept, or finish what is being written; the position that is safe, None if there is none."""
    try:
        if kept is None:
            writer.close()
        else:
            writer.put_and_wait(*kept, first)
    except StorageError as error:
        log.warning("%s", error)
    safe = checkpoints.verified
    if safe is None:
        log.info("stopped before there was anything to save; it starts anew")
    else:
        log.info("stopped; the state of step %d is saved; continue with --resume", safe.step)
    return safe
