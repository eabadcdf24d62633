"""`report.sh watch`: the progress of a running job in the terminal, from the files that it writes."""

import datetime
import os
import shlex
import sys
import time
from argparse import Namespace
from collections.abc import Callable
from typing import Any, TextIO

from difflogic_tonic.config import StoragePaths
from difflogic_tonic.errors import RunError
from difflogic_tonic.report.finding import find_run
from difflogic_tonic.report.reading import RecordedRun, process_is_gone, read_run
from difflogic_tonic.runs.folder import RunFolder
from difflogic_tonic.runs.status import SHORT_EPOCH_SECONDS

INTERVAL_SECONDS = 1.0
QUIET_SECONDS = 600.0
"""After so long without a new row the line says so: an epoch of a large network may take that long, or it hangs."""

ENDED = ("finished", "stopped", "failed")


def watch(arguments: Namespace, places: StoragePaths) -> int:
    """Show a job until it ends. Returns its exit code; raises `RunError` for one that has died."""
    folder = find_run(arguments.run, places)
    try:
        return follow(folder, sys.stdout)
    finally:
        sys.stdout.flush()


def follow(folder: RunFolder, out: TextIO, pause: Callable[[], None] = lambda: time.sleep(INTERVAL_SECONDS)) -> int:
    """Write the progress of a run to `out`: on a terminal one line that changes, else a line for every change."""
    live = _Line(out)
    while True:
        run = read_run(folder.path)
        if run.state in ENDED:
            live.say(progress_line(run, time.time()))
            live.end()
            return int(run.status.get("exit_code", 0))
        if dead := reason_of_death(run):
            live.end()
            raise RunError(dead)
        live.say(progress_line(run, time.time()))
        pause()


def progress_line(run: RecordedRun, now: float) -> str:
    """Where a run is, in one line; what is not known yet is left out."""
    epochs, rows = run.epoch_rows, run.rows
    total = run.status.get("epochs") or run.value("train.epochs")
    newest = rows[-1] if rows else {}
    parts = [f"{run.job_id} {run.state}"]
    if newest:
        parts.append(f"epoch {newest['epoch']}/{total or '?'}, step {newest['step']:,}")
    elif run.state == "running":
        parts.append("before its first row")
    if isinstance(newest.get("loss"), float):
        parts.append(f"loss {newest['loss']:.4f}")
    if epochs:
        parts += _accuracies(epochs[-1])
        if speed := epochs[-1].get("train_samples_per_second"):
            parts.append(f"{speed:,.0f} samples/s")
    if run.state == "running":
        parts += _times(run, total, now)
    elif run.reason:
        parts.append(run.reason)
    return "  ".join(parts)


def _accuracies(row: dict[str, Any]) -> list[str]:
    found = []
    for split in ("val", "test"):
        for suffix in ("_hard", ""):
            if isinstance(value := row.get(f"{split}_recording_accuracy{suffix}"), int | float):
                found.append(f"{split} {100 * value:.2f}%{' hard' if suffix else ''}")
                break
    return found


def _times(run: RecordedRun, total: int | None, now: float) -> list[str]:
    """When it will be over, and whether it has been quiet for long."""
    epochs, rows = run.epoch_rows, run.rows
    newest = max((rows[-1]["time"] if rows else 0.0), run.status.get("time", 0.0))
    found = []
    if epochs and total and _foretells(epochs[-1]):
        begun = epochs[-1]["time"]
        end = begun + epochs[-1]["seconds"] * (total - epochs[-1]["epoch"])
        if end > now:
            found.append(f"ends about {datetime.datetime.fromtimestamp(end):%Y-%m-%d %H:%M}")
    if newest and now - newest > QUIET_SECONDS:
        where = run.status.get("host", "its host")
        found.append(f"nothing new for {(now - newest) / 60:.0f} minutes: look on {where}, and into {run.files.log}")
    return found


def _foretells(row: dict[str, Any]) -> bool:
    return "seconds" in row and (row["epoch"] > 1 or row["seconds"] >= SHORT_EPOCH_SECONDS)


def reason_of_death(run: RecordedRun) -> str | None:
    """One line for a run that can no longer go on by itself; None for one that may be alive."""
    if run.state == "unreadable":
        problems = "; ".join(map(str, run.problems))
        return f"{run.files.path} is no readable run folder: {problems}"
    if run.state == "running":
        return None
    command = shlex.join(["./train.sh", str(run.files.config), run.job_id])
    if not process_is_gone(run.files, run.status):
        return (
            f"{run.job_id} is {run.state} ({run.reason}), and nothing says that it runs; "
            f"{command} --resume goes on with it"
        )
    if run.status.get("saves") == 0:
        how = "--fresh starts it anew, for it had saved no checkpoint yet"
    else:
        how = "--resume goes on from its newest checkpoint"
    return f"{run.job_id} is dead: {run.reason}; {command} {how}"


class _Line:
    """One line that is written again on a terminal; elsewhere a new line whenever it has changed."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._is_terminal = out.isatty()
        self._said = ""

    def say(self, text: str) -> None:
        if text == self._said:
            return
        self._said = text
        if self._is_terminal:
            width = os.get_terminal_size(self._out.fileno()).columns or 80  # some terminals do not know theirs
            self._out.write(f"\r\033[K{text[: max(1, width - 1)]}")
        else:
            self._out.write(f"{text}\n")
        self._out.flush()

    def end(self) -> None:
        """Leave the last text whole on the screen."""
        if self._is_terminal and self._said:
            self._out.write(f"\r\033[K{self._said}\n")
            self._out.flush()
