"""`status.json`: where a run is and how it ended, for scripts; launchers do not always pass exit codes on."""

import logging
import os
import socket
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from difflogic_tonic.errors import StorageError, UserError
from difflogic_tonic.runs.folder import RunFolder
from difflogic_tonic.runs.log import log_to_file, stop_logging
from difflogic_tonic.storage import write_json

log = logging.getLogger(__name__)


@contextmanager
def run_log(folder: RunFolder) -> Iterator[None]:
    """Log to the run folder inside the block, and leave the reason of a failure in `status.json`."""
    handler = log_to_file(folder.log)
    try:
        yield
    except BaseException as error:
        text = f"error: {error}" if isinstance(error, UserError) else traceback.format_exc()
        # Only into the file: the console gets it from whoever catches the error.
        facts = {"name": __name__, "levelno": logging.ERROR, "levelname": "ERROR", "msg": text}
        handler.handle(logging.makeLogRecord(facts))
        code = error.exit_code if isinstance(error, UserError) else 1
        write_status(folder, state="failed", exit_code=code, reason=f"{type(error).__name__}: {error}")
        raise
    finally:
        stop_logging(handler)


def write_status(folder: RunFolder, **facts: object) -> None:
    """Replace `status.json`. A full disk is a warning: the run has more important files."""
    requeue = facts.get("exit_code") == 75
    try:
        write_json(
            folder.status,
            {
                **facts,
                "requeue": requeue,
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "time": round(time.time(), 3),
            },
        )
    except StorageError as error:
        log.warning("%s", error)
