"""The run folder and what belongs to the same job: models and checkpoints.

    runs/<job_id>/            (project storage)
    ├── config.yaml           resolved config of the latest start
    ├── command.txt           one line per start: time, host, command
    ├── environment.json      versions, commit, host, CPU, threads of the latest start
    ├── status.json           state, position and exit code, for scripts
    ├── metrics.jsonl         one line per measurement
    ├── summary.json          final numbers, when the run is finished
    ├── predictions.npz       what the chosen model says of each test recording and frame
    ├── confusion.json        which classes it takes for which
    ├── log.txt
    └── tensorboard/

A job is never overwritten silently: `--resume` continues it, `--fresh` renames all its folders to
`<job_id>.old-<time>`, which is an ordinary job id of its own.
"""

import datetime
import logging
import shlex
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

from difflogic_tonic.config import TrainConfig
from difflogic_tonic.errors import RunExists, StorageError
from difflogic_tonic.storage import Storage, atomic_write, reap_leftovers, storage_errors, write_json

Start = Literal["new", "resume", "auto", "fresh"]
"""`new` refuses a job that exists, `resume` continues it, `auto` too if it has a checkpoint, `fresh` sets it aside."""


log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunFolder:
    """Owns every file name inside a run folder."""

    path: Path

    @property
    def job_id(self) -> str:
        return self.path.name

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def command(self) -> Path:
        return self.path / "command.txt"

    @property
    def environment(self) -> Path:
        return self.path / "environment.json"

    @property
    def status(self) -> Path:
        return self.path / "status.json"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def summary(self) -> Path:
        return self.path / "summary.json"

    @property
    def predictions(self) -> Path:
        return self.path / "predictions.npz"

    @property
    def confusion(self) -> Path:
        return self.path / "confusion.json"

    @property
    def log(self) -> Path:
        return self.path / "log.txt"

    @property
    def tensorboard(self) -> Path:
        return self.path / "tensorboard"


def job_folders(storage: Storage, job_id: str) -> list[Path]:
    """The folders of this job that exist, in both places."""
    candidates = [
        folder
        for place in storage.places
        for folder in (place.run_dir(job_id), place.models_dir(job_id), place.checkpoints_dir(job_id))
    ]
    return [folder for folder in candidates if folder.exists()]


def check_absent(storage: Storage, job_id: str) -> None:
    """Raise `RunExists` if anything of this job exists."""
    existing = job_folders(storage, job_id)
    if existing:
        raise RunExists(
            f"job {job_id} exists: {existing[0]}; continue it with --resume, "
            f"set it aside and start anew with --fresh, or choose another job id"
        )


def open_run(storage: Storage, job_id: str, start: Start, has_checkpoint: bool = True) -> RunFolder:
    """Make the run folder of `job_id`, or find it. Raises `RunExists` for a job that exists if `start` is `new`.

    `auto` without a checkpoint starts anew: what there is of results is set aside, as `fresh` does.
    """
    folder = RunFolder(storage.project.run_dir(job_id))
    if start == "new":
        check_absent(storage, job_id)
    if start == "fresh" and job_folders(storage, job_id):
        log.info("the old run is kept as job %s", set_aside(storage, job_id))
    if start == "auto" and not has_checkpoint and has_results(storage, job_id):
        log.info("job %s has results but no checkpoint to go on from: starting anew", job_id)
        log.info("the old run is kept as job %s", set_aside(storage, job_id))
    with storage_errors(folder.path):
        folder.tensorboard.mkdir(parents=True, exist_ok=True)
    return folder


def check_present(folder: RunFolder) -> None:
    """Raise `StorageError` if the run folder, made at the start, is gone.

    A place that was unmounted leaves an empty folder; what is written into that is hidden when the place comes back.
    """
    with storage_errors(folder.path):
        present = folder.path.is_dir()
    if not present:
        raise StorageError(f"{folder.path} is not there any more: project storage went away")


def has_results(storage: Storage, job_id: str) -> bool:
    """Whether this job has left anything that is worth keeping without its checkpoints."""
    summary = RunFolder(storage.project.run_dir(job_id)).summary
    return summary.exists() or storage.project.models_dir(job_id).exists()


def set_aside(storage: Storage, job_id: str) -> str:
    """Rename every folder of `job_id` in both places to `<job_id>.old-<time>` and return that name.

    What killed writers left half-written goes: nobody would look for it there.
    """
    remove_leftovers(storage, job_id)
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    name = f"{job_id}.old-{stamp}"
    number = 1
    while job_folders(storage, name):
        number += 1
        name = f"{job_id}.old-{stamp}-{number}"
    # The run folder last: while it is there, the job still counts as existing, and an interrupted call is repeated.
    for folder in sorted(job_folders(storage, job_id), key=lambda path: path == storage.project.run_dir(job_id)):
        with storage_errors(folder):
            folder.rename(folder.with_name(name))
    return name


def remove_leftovers(storage: Storage, job_id: str) -> None:
    """Delete what killed writers of this job left half-written."""
    for folder in job_folders(storage, job_id):
        reap_leftovers(folder)


def write_start(folder: RunFolder, config: TrainConfig, argv: Sequence[str], environment: dict[str, object]) -> None:
    """Record what this start of the run was asked for and where: `config.yaml`, `command.txt`, `environment.json`."""
    with atomic_write(folder.config) as partial:
        partial.write_text(yaml.safe_dump(config.to_dict(), sort_keys=False, allow_unicode=True), encoding="utf-8")
    now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    with storage_errors(folder.command), folder.command.open("a", encoding="utf-8") as file:
        file.write(f"{now} {socket.gethostname()}: {shlex.join([Path(sys.argv[0]).name, *argv])}\n")
    write_json(folder.environment, environment)
