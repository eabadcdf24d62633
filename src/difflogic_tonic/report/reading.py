"""One run folder as one object, however damaged it is.

`read_run(folder)` never raises for what it finds in the folder: a part that is missing or damaged is empty, and
`problems` says why. So reports list broken runs instead of failing on them.

    run = read_run(path)
    run.job_id                          # the name of the folder
    run.state, run.reason               # "finished", or "stopped", "failed", "running", "unfinished", "unreadable"
    run.config, run.value("train.epochs")  # resolved config.yaml as plain data; a dotted key of it, None if not there
    run.summary["test_recording_accuracy"]  # summary.json as plain data; keys that a model does not have are absent
    run.environment, run.status         # environment.json and status.json as plain data
    run.rows                            # metrics.jsonl, every whole row; epoch_rows and step_rows are parts of it
    run.commands                        # the lines of command.txt, one for each start
    run.confusion                       # confusion.json as plain data: classes, and by kind (see runs.predictions)
    run.problems                        # (Problem(part="summary.json", reason="…"), …)
    run.files                           # the RunFolder: paths of everything, e.g. run.files.tensorboard
    run.predictions()                   # predictions.npz (see runs.predictions); read when asked for, RunError if not

A metric of an epoch row has the name that it has in the summary, e.g. `test_recording_accuracy_hard`.
"""

import json
import os
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from difflogic_tonic.config.reading import read_yaml
from difflogic_tonic.errors import ConfigError
from difflogic_tonic.runs.folder import RunFolder
from difflogic_tonic.runs.lease import holder_is_gone, lease_beside
from difflogic_tonic.runs.metrics import Row
from difflogic_tonic.runs.tags import POSITION

if TYPE_CHECKING:
    from difflogic_tonic.runs.predictions import Predictions

State = Literal["finished", "stopped", "failed", "running", "unfinished", "unreadable"]
"""`running`: says its status.json, which a killed process cannot change; where its host is this one and its process is
gone, the run is `unfinished`. `unreadable`: not a run folder, or no part of it can be read."""

_POSITIONS = {name: str if name == "kind" else int | float for name in POSITION}
"""What a row says of its place, and as what."""

_T = TypeVar("_T")


@dataclass(frozen=True)
class Problem:
    """A part of a run folder that is missing or damaged. `part` is its file name."""

    part: str
    reason: str

    def __str__(self) -> str:
        return f"{self.part}: {self.reason}"


@dataclass(frozen=True)
class RecordedRun:
    """What a run folder holds; see the module."""

    files: RunFolder
    state: State
    reason: str
    config: dict[str, Any]
    environment: dict[str, Any]
    summary: dict[str, Any]
    status: dict[str, Any]
    rows: list[Row]
    commands: tuple[str, ...]
    confusion: dict[str, Any]
    problems: tuple[Problem, ...]

    @property
    def job_id(self) -> str:
        return self.files.job_id

    @property
    def epoch_rows(self) -> list[Row]:
        return [row for row in self.rows if row["kind"] == "epoch"]

    @property
    def step_rows(self) -> list[Row]:
        return [row for row in self.rows if row["kind"] == "step"]

    def value(self, key: str) -> Any:
        """A config value by its dotted key, e.g. `train.epochs`; None if it is not there."""
        found: Any = self.config
        for name in key.split("."):
            found = found.get(name) if isinstance(found, dict) else None
        return found

    def predictions(self) -> "Predictions":
        """What the chosen model says of the test data. Raises `RunError` where that cannot be read."""
        from difflogic_tonic.runs.predictions import load_predictions

        return load_predictions(self.files.predictions)


@dataclass
class _Reader:
    """Reads parts and keeps the reasons of those that cannot be read. `expected`: missing is a problem, too."""

    problems: list[Problem] = field(default_factory=list)

    def read(self, load: Callable[[Path], _T], path: Path, empty: _T, expected: bool = True) -> _T:
        try:
            return load(path)
        except FileNotFoundError:
            if expected:
                self.problems.append(Problem(path.name, "missing"))
        except OSError as error:
            self.problems.append(Problem(path.name, f"cannot be read ({error.strerror})"))
        except ConfigError as error:
            self.problems.append(Problem(path.name, str(error).removeprefix(f"{path}: ")))
        except UnicodeDecodeError:
            self.problems.append(Problem(path.name, "damaged (not text)"))
        except ValueError as error:
            self.problems.append(Problem(path.name, f"damaged ({error})"))
        return empty


def read_run(folder: Path) -> RecordedRun:
    """Read every part of `folder` that can be read."""
    files, reader = RunFolder(folder), _Reader()
    plain: dict[str, Any] = {}
    no_rows: list[Row] = []
    no_lines: tuple[str, ...] = ()
    status = reader.read(_json, files.status, plain, expected=False)
    is_gone = process_is_gone(files, status)  # at once: it may end well while the rest is read
    config = reader.read(_config, files.config, plain)
    environment = reader.read(_json, files.environment, plain)
    commands = reader.read(_lines, files.command, no_lines)
    rows = reader.read(lambda path: _rows(path, reader.problems), files.metrics, no_rows)
    summary = reader.read(_json, files.summary, plain, expected=status.get("state") == "finished")
    confusion = reader.read(_json, files.confusion, plain, expected=False)
    for path in sorted(files.tensorboard.glob("events.*")) if files.tensorboard.is_dir() else []:
        reader.read(_check_events, path, None)
    state, reason = _state_of(status, summary, rows)
    if is_gone:
        state, reason = "unfinished", f"{reason}: its process {status['pid']} is gone, killed or lost with its node"
    if not (config or rows or summary or status):
        state, reason = "unreadable", "not a run folder"
    return RecordedRun(
        files=files,
        state=state,
        reason=reason,
        config=config,
        environment=environment,
        summary=summary,
        status=status,
        rows=rows,
        commands=commands,
        confusion=confusion,
        problems=tuple(reader.problems),
    )


def _state_of(status: dict[str, Any], summary: dict[str, Any], rows: list[Row]) -> tuple[State, str]:
    """The state, and where it is not `finished` how far the run came and why it ended."""
    said = status.get("state")
    if said == "starting":  # nothing is known of it yet but that it lives
        return "running", f"starting from step {status.get('step', '?')}"
    if summary and said in ("finished", None):
        return "finished", ""
    if said in ("stopped", "failed", "running"):
        how_far = f"{status.get('epoch', '?')} of {status.get('epochs', '?')} epochs, step {status.get('step', '?')}"
        because = " ".join(str(status["reason"]).split()) if status.get("reason") else ""
        return said, f"{how_far}: {because}" if because else how_far
    how_far = f"{len(rows)} rows of metrics" if rows else "no metrics"
    return "unfinished", f"no summary.json, {how_far}"


def process_is_gone(files: RunFolder, status: dict[str, Any]) -> bool:
    """Whether the process of a status.json that does not say how it ended is known to have died.

    Of another host it is not known. The lease of the job, which a killed process leaves, knows a process from a later
    one with its number; a copy of a run folder has none.
    """
    pid = status.get("pid")
    if status.get("state") not in ("starting", "running") or not isinstance(pid, int):
        return False
    if (is_gone := holder_is_gone(lease_beside(files.path))) is not None:
        return is_gone
    if status.get("host") != socket.gethostname():
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:  # it is somebody else's, and lives
        return False
    return False


def _json(path: Path) -> dict[str, Any]:
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError(f"expected an object, found {type(content).__name__}")
    return content


def _config(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise FileNotFoundError(path)
    return read_yaml(path)


def _lines(path: Path) -> tuple[str, ...]:
    return tuple(path.read_text(encoding="utf-8").splitlines())


def _rows(path: Path, problems: list[Problem]) -> list[Row]:
    """Every row before the first damaged one. A last line without its end is what a kill leaves."""
    *lines, rest = path.read_bytes().split(b"\n")
    rows: list[Row] = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict) or not all(isinstance(row.get(name), kind) for name, kind in _POSITIONS.items()):
            problems.append(
                Problem(path.name, f"row {number} is damaged; left out, as are {len(lines) - number} after it")
            )
            return rows
        rows.append(row)
    if rest:
        problems.append(Problem(path.name, f"ends inside row {len(lines) + 1}"))
    return rows


def _check_events(path: Path) -> None:
    """Follow the lengths of the records (TFRecord: length u64, its check u32, content, its check u32) to the end."""
    size, at = path.stat().st_size, 0
    with path.open("rb") as file:
        while at < size:
            file.seek(at)
            head = file.read(12)
            end = at + 16 + struct.unpack("<Q", head[:8])[0] if len(head) == 12 else size + 1
            if end > size:
                raise ValueError(f"ends inside a record that begins at byte {at}; --resume mends it")
            at = end
