"""`status.json`: where a run is and how it ended, for scripts; launchers do not always pass exit codes on."""

import json
import logging
import os
import socket
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from difflogic_tonic.config import job_report, slurm_job_id, slurm_restart_count
from difflogic_tonic.errors import STOPPED, StorageError, UserError
from difflogic_tonic.runs.folder import RunFolder
from difflogic_tonic.runs.log import log_to_file, stop_logging
from difflogic_tonic.runs.outage import Outage
from difflogic_tonic.storage import write_json

CARRIED = ("epoch", "epochs", "step", "saves", "restarts", "lost_steps")
"""What stays when a later status does not say it."""

SHORT_EPOCH_SECONDS = 60.0
"""A first epoch shorter than this is mostly compiling and reading ahead: it foretells nothing of the others."""

log = logging.getLogger(__name__)
_outage = Outage("status.json")


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


def read_status(folder: RunFolder) -> dict[str, Any]:
    """The content of `status.json`; empty if there is none, or it is damaged."""
    try:
        content = json.loads(folder.status.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def begin_status(folder: RunFolder, step: int | None, known: int = 0) -> int:
    """The first status of a start, which resumes at optimizer step `step`; None for one that begins anew.

    `known` is a step that the run is known to have reached, beside what the last status says. Returns the steps that
    were lost since the checkpoint, and are trained again.
    """
    before = read_status(folder) if step is not None else {}
    lost = max(0, int(before.get("step") or 0) - step, known - step) if step is not None else 0
    write_status(
        folder,
        state="starting",
        step=step or 0,
        **({"epoch": 0} if step is None else {}),
        saves=int(before.get("saves") or 0),
        restarts=0 if step is None else int(before.get("restarts") or 0) + 1,
        lost_steps=int(before.get("lost_steps") or 0) + lost,
    )
    return lost


def write_status(folder: RunFolder, **facts: object) -> None:
    """Replace `status.json`; `CARRIED` facts that are not given stay. Tells the job script of an exit code.

    A full disk is a warning: the run has more important files.
    """
    before = read_status(folder)
    kept = {name: before[name] for name in CARRIED if name in before}
    slurm = {"slurm_job": slurm_job_id(), "slurm_restarts": slurm_restart_count()} if slurm_job_id() else {}
    content = {
        **kept,
        **facts,
        "requeue": facts.get("exit_code") == STOPPED,
        **slurm,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "time": round(time.time(), 3),
    }
    try:
        write_json(folder.status, content)
    except StorageError as error:
        _outage.failed(f"{error}; status.json is as before, and training goes on")
    else:
        _outage.over()
    report = job_report()
    if report is not None and "exit_code" in facts:
        try:
            report.write_text(f"{facts['exit_code']} step-{content.get('step', 0)}\n", encoding="utf-8")
        except OSError as error:
            log.warning("%s cannot be written: %s", report, error.strerror)
