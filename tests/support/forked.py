"""A process forked from this one: that saves it the seconds of `import torch`."""

import os
import signal
import time
from dataclasses import dataclass, field

import pytest

GLANCE_SECONDS = 0.002


@dataclass
class Forked:
    """A forked process until it has ended."""

    pid: int
    code: int | None = field(default=None, kw_only=True)

    @property
    def text(self) -> str:
        """What it has said, for the message of a test that fails."""
        return ""

    def wait(self, seconds: float = 120) -> int:
        """The exit code; minus the signal's number if one ended it."""
        end = time.monotonic() + seconds
        while self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > end:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
                pytest.fail(f"still running after {seconds} s: {self.text}")
            else:
                time.sleep(GLANCE_SECONDS)
        return self.code
