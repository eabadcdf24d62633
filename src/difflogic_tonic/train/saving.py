"""When a checkpoint is due, and when the loop must come to an end."""

import time
from collections.abc import Callable
from typing import Any, Protocol

from difflogic_tonic.runs.metrics import MetricsLog
from difflogic_tonic.runs.signals import StopRequest
from difflogic_tonic.runs.writer import CheckpointWriter
from difflogic_tonic.train.grace import Grace, Kept
from difflogic_tonic.train.state import TrainingState

MINUTE = 60.0
"""Seconds after which a long epoch shows in `status.json` where it is."""


class Watch(Protocol):
    """What the loop asks between its steps."""

    def between_steps(self) -> bool:
        """True if the loop must return now."""
        ...

    def after_epoch(self, seconds: float) -> None:
        """An epoch that took so long is over."""
        ...


class OnlyStops:
    """For a process that writes nothing, because another one does."""

    def __init__(self, stop: StopRequest) -> None:
        self._stop = stop

    def between_steps(self) -> bool:
        return bool(self._stop)

    def after_epoch(self, seconds: float) -> None:
        """Nothing is saved here."""


class Saver:
    """Takes snapshots of `state` for `writer`, at most one per `interval_seconds` unless asked."""

    def __init__(
        self,
        state: TrainingState,
        metrics: MetricsLog,
        writer: CheckpointWriter,
        stop: StopRequest,
        interval_seconds: float,
        clock: Callable[[], float] = time.monotonic,
        grace: Grace | None = None,
        on_save: Callable[[], None] = lambda: None,
        on_minute: Callable[[], None] = lambda: None,
    ) -> None:
        self._state = state
        self._metrics = metrics
        self._writer = writer
        self._stop = stop
        self._interval = interval_seconds
        self._clock = clock
        self._saved_at = self._boundary_at = self._minute_at = clock()
        self._grace = grace
        self._on_save, self._on_minute = on_save, on_minute
        self._last: dict[str, Any] | None = None

    def between_steps(self) -> bool:
        """Save if the interval is over; True if the loop must return now, because somebody asked this run to stop.

        Called after every training step and every evaluation batch, when `state` is consistent. Raises the error of a
        checkpoint that could not be written, if none is safe.
        """
        self._writer.check()
        if self._stop:
            if self._grace is not None:
                self._grace.obey()
            return True
        now = self._clock()
        if self._grace is not None:
            self._grace.boundary(now - self._boundary_at, self._snapshot)
        if now - self._saved_at >= self._interval:
            self.save()
        if now - self._minute_at >= MINUTE:
            self._on_minute()
            self._minute_at = now
        self._boundary_at = self._clock()
        return False

    def after_epoch(self, seconds: float) -> None:
        """Save at the end of an epoch that took longer than the interval."""
        if seconds >= self._interval:
            self.save()

    def save(self) -> None:
        """Take a snapshot for the writing thread; skipped while that is still busy with the one before."""
        if self._writer.busy:
            return
        self._on_save()
        position, self._last = self._snapshot(over=self._last)  # written, as the writer is not busy
        self._writer.put(position, self._last, self._metrics.sync)
        self._saved_at = self._clock()

    def save_and_wait(self) -> None:
        """Take a snapshot and return when every place has it. Raises `StorageError` if none could take it."""
        self._on_save()
        self._writer.put_and_wait(*self._snapshot(), self._metrics.sync)
        self._saved_at = self._clock()

    def _snapshot(self, over: dict[str, Any] | None = None) -> Kept:
        self._state.progress.unwritten = list(self._metrics.unwritten)
        return self._state.progress.position, self._state.snapshot(over)
