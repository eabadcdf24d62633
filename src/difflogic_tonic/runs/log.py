"""Console and log file of a run."""

import logging
import sys
from pathlib import Path

from tqdm import tqdm

from difflogic_tonic.storage import storage_errors

ROOT = "difflogic_tonic"


class _Console(logging.Handler):
    """Lines on stdout that do not tear a progress bar; a reader that went away (`| head`) does not stop the run."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            tqdm.write(self.format(record), file=sys.stdout)
            sys.stdout.flush()
        except OSError:
            return


class _File(logging.FileHandler):
    """A log file that says once when it cannot be written, and then leaves training alone."""

    complained = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's name)
        if not self.complained:
            self.complained = True
            error = sys.exc_info()[1]
            print(f"warning: {self.baseFilename} cannot be written: {error}; the run goes on", file=sys.stderr)

    def close(self) -> None:
        try:
            super().close()
        except OSError:
            self.stream = None


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


def log_to_file(path: Path) -> logging.Handler:
    """Append the package's log to `path` as well, until `stop_logging` is called with what this returns.

    Raises `StorageFull` or `StorageError` if the file cannot be made.
    """
    with storage_errors(path):
        handler = _File(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.getLogger(ROOT).addHandler(handler)
    return handler


def stop_logging(handler: logging.Handler) -> None:
    """Undo `log_to_file`."""
    logging.getLogger(ROOT).removeHandler(handler)
    handler.close()
