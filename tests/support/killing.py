"""Processes that kill themselves with SIGKILL in the middle of a file operation, and what they had reached by then."""

import mmap
import os
import signal
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

STEPS = 4096
"""More than any killed run here makes."""

OPERATIONS = ("fsync", "replace", "rename", "write", "sendfile", "unlink", "mkdir")


class Watched:
    """Memory that survives the process: its file operations, how far it trained and when, its finished checkpoints."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 8 * (4 + STEPS))

    def _get(self, place: int, kind: str = "q") -> Any:
        return struct.unpack_from(kind, self._memory, 8 * place)[0]

    def _set(self, place: int, value: Any, kind: str = "q") -> None:
        struct.pack_into(kind, self._memory, 8 * place, value)

    @property
    def operations(self) -> int:
        return int(self._get(0))

    @property
    def step(self) -> int:
        """The last optimizer step that was made."""
        return int(self._get(1))

    @property
    def safe(self) -> tuple[int, int]:
        """Position of the newest checkpoint of which the run was told that it is written."""
        return int(self._get(2)), int(self._get(3))

    def lost(self, kept: int) -> tuple[int, float]:
        """Steps and seconds between step `kept`, or the start if it is of an earlier process, and the last one."""
        if self.step <= kept:
            return 0, 0.0
        since = self._get(4 + kept, "d") or self._get(4, "d")
        return self.step - kept, self._get(4 + self.step, "d") - since

    def count(self, at: int = 0, how: str = "before") -> None:
        """In the process to be watched. With `at`: it dies before, after or half way through that file operation."""
        halves = {
            "write": lambda descriptor, content: real_write(descriptor, content[: len(content) // 2]),
            "sendfile": lambda out, source, offset, n_bytes: real_sendfile(out, source, offset, n_bytes // 2),
        }
        real_write, real_sendfile = os.write, os.sendfile
        for name in OPERATIONS:
            setattr(os, name, self._counted(getattr(os, name), at, how, halves.get(name)))

    def _counted(
        self, operation: Callable[..., Any], at: int, how: str, half: Callable[..., Any] | None
    ) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            self._set(0, self.operations + 1)
            here = self.operations == at
            if here and how == "half" and half is not None:
                half(*arguments)
            if here and how != "after":
                os.kill(os.getpid(), signal.SIGKILL)
            answer = operation(*arguments, **options)
            if here:
                os.kill(os.getpid(), signal.SIGKILL)
            return answer

        return call

    def begin(self, at: int = 0, how: str = "before") -> None:
        """`count` in a process that trains: its checkpoints are operations too, and what it reached is noted."""
        from difflogic_tonic.runs import checkpoint
        from difflogic_tonic.train.saving import Saver

        def half_a_checkpoint(path: Path, content: bytes) -> None:
            path.write_bytes(content[: len(content) // 2])

        self._set(4, time.monotonic(), "d")
        self.count(at, how)
        checkpoint._write_synced = self._counted(checkpoint._write_synced, at, how, half_a_checkpoint)
        written, between = checkpoint.Checkpoints.write, Saver.between_steps

        def write(checkpoints: Any, place: Any, position: Any, content: bytes) -> Path:
            path = written(checkpoints, place, position, content)
            if (position.step, position.evaluated) > self.safe:
                self._set(2, position.step)
                self._set(3, position.evaluated)
            return path

        def between_steps(saver: Any) -> bool:
            step = saver._state.progress.step
            if step != self.step:
                self._set(4 + step, time.monotonic(), "d")
                self._set(1, step)
            return between(saver)

        checkpoint.Checkpoints.write = write  # type: ignore[method-assign]
        Saver.between_steps = between_steps  # type: ignore[method-assign]
