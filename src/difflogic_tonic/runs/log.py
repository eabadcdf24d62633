"""Console and log file of a run."""

import logging
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from difflogic_tonic.errors import StorageError
from difflogic_tonic.storage import append_bytes

ROOT = "difflogic_tonic"
WAITING_LINES = 1000
"""Lines that are kept while the log file cannot be written."""


class _Console(logging.Handler):
    """Lines on stdout that do not tear a progress bar; a reader that went away (`| head`) does not stop the run."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            tqdm.write(self.format(record), file=sys.stdout)
            sys.stdout.flush()
        except OSError:
            return


class _File(logging.Handler):
    """A log file that says once when it cannot be written, leaves training alone, and writes later what waits."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._waiting: deque[bytes] = deque(maxlen=WAITING_LINES)
        self._complained = False

    def emit(self, record: logging.LogRecord) -> None:
        self._waiting.append(f"{self.format(record)}\n".encode(errors="replace"))
        try:
            append_bytes(self._path, b"".join(self._waiting))
        except (StorageError, OSError) as error:
            if not self._complained:
                print(f"warning: {self._path} cannot be written: {error}; the run goes on", file=sys.stderr)
            self._complained = True
        else:
            self._waiting.clear()
            self._complained = False


class _Plain(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        prefix = "" if record.levelno < logging.WARNING else f"{record.levelname.lower()}: "
        return prefix + super().format(record)


def log_to_console() -> None:
    """Show the package's log on stdout, from `info` on; calling it again changes nothing."""
    logger = logging.getLogger(ROOT)
    logger.setLevel(logging.INFO)
    if any(isinstance(handler, _Console) for handler in logger.handlers):
        return
    console = _Console()
    console.setFormatter(_Plain("%(message)s"))
    logger.addHandler(console)


def only_errors(rank: int) -> None:
    """From now on the console has errors only, with `rank` in front: one process of several speaks for all."""
    logger = logging.getLogger(ROOT)
    logger.setLevel(logging.ERROR)
    for handler in logger.handlers:
        handler.setFormatter(_Plain(f"rank {rank}: %(message)s"))


@contextmanager
def errors_only() -> Iterator[None]:
    """Inside, the package's log has errors only: what is opened for something else need not report on itself."""
    logger = logging.getLogger(ROOT)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def log_to_file(path: Path) -> logging.Handler:
    """Append the package's log to `path` as well, until `stop_logging` is called with what this returns.

    Raises `StorageFull` or `StorageError` if the file cannot be made.
    """
    append_bytes(path, b"")
    handler = _File(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.getLogger(ROOT).addHandler(handler)
    return handler


def stop_logging(handler: logging.Handler) -> None:
    """Undo `log_to_file`."""
    logging.getLogger(ROOT).removeHandler(handler)
    handler.close()
