"""Stop signals: a handler only sets a flag, and the training loop looks at it between steps.

`listen` is called before torch is imported: a signal during that import, which takes seconds, would otherwise kill the
process with an exit code that a scheduler takes for a failure.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from difflogic_tonic.errors import INTERRUPTED, STOPPED, RunError

STOP_SIGNALS = ("SIGTERM", "SIGUSR1", "SIGINT")
"""SIGTERM and SIGUSR1 come from a scheduler (save, please requeue), SIGINT from Ctrl-C."""


JOB_LOST = "another process, which has taken over this job,"
"""The reason of a stop that no signal asked for."""


def stop_number(reason: str | None) -> int:
    """The reason of a stop as a number, for other processes: the signal's, 127 for `JOB_LOST`, 0 for None."""
    if reason is None:
        return 0
    return 127 if reason == JOB_LOST else int(signal.Signals[reason])


def stop_reason(number: int) -> str:
    """The reverse of `stop_number`, but for 0."""
    return JOB_LOST if number == 127 else signal.Signals(number).name


class StopNow(KeyboardInterrupt):
    """Raised inside `StopRequest.interruptible()`, where nothing needs saving."""


class StopRequest:
    """Whether somebody asked this process to stop: `reason` is the first signal's name, None until then.

    `wakeups`: a descriptor from which a thread reads the number of each signal as soon as it comes, also while the main
    thread is busy outside Python; -1 if there is none.
    """

    def __init__(self, wakeups: int = -1) -> None:
        self.reason: str | None = None
        self.wakeups = wakeups
        self._pid = os.getpid()
        self._raises = False
        self._leaves = False

    def __bool__(self) -> bool:
        return self.reason is not None

    @property
    def exit_code(self) -> int:
        """75 after a scheduler's signal, 130 after Ctrl-C, 6 if another process has the job now."""
        return {"SIGINT": INTERRUPTED, JOB_LOST: RunError.exit_code}.get(self.reason or "", STOPPED)

    def request(self, reason: str) -> None:
        """Ask for a stop as a signal would; the first reason stays."""
        self.reason = self.reason or reason

    def lose_job(self) -> None:
        """Another process has the job now: stop, and do not ask to be queued again."""
        self.reason = JOB_LOST

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Inside, a stop is immediate (`StopNow`), also one asked for earlier: for set-up that a kill cannot harm.

        While a module is imported it ends the process, see `leaving`.
        """
        self._raises = True
        try:
            if self:
                raise StopNow(self.reason)
            yield
        finally:
            self._raises = False

    @contextmanager
    def leaving(self) -> Iterator[None]:
        """Inside, a stop ends the process on the spot, also one asked for earlier.

        For imports: they may swallow an exception or make another one of it, and leave a library behind that is there
        by half.
        """
        self._leaves = True
        try:
            if self:
                self._leave("before the first step")
            yield
        finally:
            self._leaves = False

    def _leave(self, when: str) -> None:
        said = f"stopped by {self.reason} {when}\n"
        os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, said.encode())
        os._exit(self.exit_code)

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._pid:
            # A forked worker: `terminate()` of its pool sends SIGTERM and waits for it to die.
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        if number == signal.SIGINT and self.reason == "SIGINT" and not self._raises:
            # Files are written whole or not at all, so leaving here loses nothing that was saved.
            os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, b"\nsecond Ctrl-C: leaving without saving\n")
            os._exit(INTERRUPTED)
        self.request(signal.Signals(number).name)
        if self._leaves:
            self._leave("before the first step")
        if self._raises and _is_importing(frame):
            self._leave("while modules were loaded; the same command goes on where this one was")
        if self._raises:
            raise StopNow(self.reason)


def _is_importing(frame: FrameType | None) -> bool:
    """Whether `frame` was called, by however many others, from the import of a module."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib."):
            return True
        frame = frame.f_back
    return False


def listen(names: tuple[str, ...] = STOP_SIGNALS) -> StopRequest:
    """From now on the signals `names` set the flag of the returned request. Call it in the main thread."""
    stop = StopRequest(_wakeups())
    for name in names:
        signal.signal(getattr(signal, name), stop.on_signal)
    return stop


def _wakeups() -> int:
    """The reading end of a pipe into which signals are written, see `signal.set_wakeup_fd`."""
    read, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    before = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    if before == -1:
        # A forked worker shares the pipe: what ends it is no signal to us.
        os.register_at_fork(after_in_child=_no_wakeups)
    return read


def _no_wakeups() -> None:
    if threading.current_thread() is threading.main_thread():
        signal.set_wakeup_fd(-1)


@contextmanager
def stop_on(*names: str) -> Iterator[StopRequest]:
    """`listen` for the length of a block; the handlers from before come back at its end."""
    before = {name: signal.getsignal(getattr(signal, name)) for name in names}
    stop = listen(names)
    try:
        yield stop
    finally:
        os.close(signal.set_wakeup_fd(-1))
        os.close(stop.wakeups)
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)
