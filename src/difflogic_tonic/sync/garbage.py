"""What is of no more use in either storage place: old checkpoints, failed runs, leftovers.

Kept in any case: models, summaries and curves; of a finished run the newest good checkpoint, for more epochs; of a
failed run its checkpoints, and the half of a prepared dataset, until nothing was written there for some days.
"""

import hashlib
import json
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from difflogic_tonic.cache.fingerprint import is_fingerprint
from difflogic_tonic.cache.publish import complete_manifest, lock_path
from difflogic_tonic.errors import RunExists
from difflogic_tonic.runs.folder import RunFolder, job_folders
from difflogic_tonic.runs.lease import lease
from difflogic_tonic.storage import Place, Storage, dead_leftovers, file_lock, storage_errors
from difflogic_tonic.sync.inventory import PARTIAL
from difflogic_tonic.sync.removal import last_written, maybe_worked_on, take_away
from difflogic_tonic.sync.usage import PARTS, count

log = logging.getLogger(__name__)

DAY = 86_400
Kind = Literal["checkpoints", "failed run", "leftover"]


@dataclass(frozen=True)
class Garbage:
    """Files and folders that go together. `job_id` is the run that they belong to, empty if none."""

    kind: Kind
    paths: tuple[Path, ...]
    why: str
    n_bytes: int
    n_files: int
    job_id: str = ""


def find_garbage(storage: Storage, days: int) -> list[Garbage]:
    """All of it; what could still be gone on from only if nothing was written there for so many days."""
    before = time.time() - days * DAY
    found = [garbage for job_id in _job_ids(storage) for garbage in _of_job(storage, job_id, before)]
    return found + [garbage for place in storage.places for garbage in _leftovers(place, before)]


def remove_garbage(storage: Storage, garbage: Garbage) -> bool:
    """Remove it; False, with a line in the log, if it is in use again."""
    if garbage.job_id:
        try:
            with lease(storage, garbage.job_id):
                if garbage not in _of_job(storage, garbage.job_id, time.time()):
                    log.warning("job %s has changed meanwhile and is kept", garbage.job_id)
                    return False
                _take_all(garbage.paths)
        except RunExists as error:
            log.warning("kept: %s", error)
            return False
        return True
    if garbage.paths[0].name.endswith(PARTIAL):
        with file_lock(_lock_of(garbage.paths[0]), wait=False) as free:
            if not free or maybe_worked_on(garbage.paths[0]):
                log.warning("%s is being worked on and is kept", garbage.paths[0])
                return False
            _take_all(garbage.paths)
        return True
    _take_all(garbage.paths)
    return True


def _take_all(paths: Sequence[Path]) -> None:
    for path in paths:
        take_away(path)


def _job_ids(storage: Storage) -> list[str]:
    parts = [place.root / name for place in storage.places for name in ("runs", "checkpoints")]
    return sorted({path.name for part in parts for path in _entries(part) if path.is_dir()})


def _entries(folder: Path) -> list[Path]:
    with storage_errors(folder, "looking for what is of no more use"):
        return [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")] if folder.is_dir() else []


def _of_job(storage: Storage, job_id: str, before: float) -> Iterator[Garbage]:
    """What is of no more use of one job."""
    folder = RunFolder(storage.project.run_dir(job_id))
    state = _status(folder).get("state")
    if state == "finished" and storage.project.models_dir(job_id).is_dir():
        files = _old_checkpoints(storage, job_id)
        if files:
            yield _garbage("checkpoints", files, f"run {job_id} is finished; its newest checkpoint is kept", job_id)
    if state == "failed" and not folder.summary.exists():
        folders = job_folders(storage, job_id)
        folders.sort(key=lambda path: path == folder.path)  # last, so that an interrupted removal is found again
        resumable = any(path != folder.path and any(path.iterdir()) for path in folders)
        if not resumable or max(last_written(path) for path in folders) < before:
            why = f"run {job_id} failed" + (", long ago" if resumable else " and left nothing to go on from")
            yield _garbage("failed run", folders, why, job_id)


def _status(folder: RunFolder) -> dict[str, Any]:
    """The content of `status.json`; empty if there is none that can be read."""
    try:
        content = json.loads(folder.status.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _old_checkpoints(storage: Storage, job_id: str) -> list[Path]:
    """All checkpoint files of a job but the newest good one, project storage first; none if no file is good."""
    folders = [place.checkpoints_dir(job_id) for place in storage.places]
    if not any(folder.is_dir() for folder in folders):
        return []
    from difflogic_tonic.runs.checkpoint import Checkpoints  # not at the top: it imports torch, which takes seconds

    found = Checkpoints(storage, job_id).find()
    found.sort(key=lambda file: (file.position, file.place.name == "project"), reverse=True)
    kept = next((file.path for file in found if _has_digest(file.path, file.digest)), None)
    if kept is None:
        return []
    damaged = [path for folder in folders for path in _entries(folder) if path.name.endswith(".damaged")]
    return [file.path for file in found if file.path != kept] + damaged


def _has_digest(path: Path, digest: str) -> bool:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == digest
    except OSError:
        return False


def _leftovers(place: Place, before: float) -> Iterator[Garbage]:
    """What writers that died, or were stopped for good, left in a place."""
    for part in PARTS:
        for folder in _entries(place.root / part):
            if not folder.is_dir():
                continue
            for path in dead_leftovers(folder):
                yield _garbage("leftover", [path], "its writer is dead")
            if part == "data":
                yield from _unfinished(folder, before)


def _unfinished(dataset: Path, before: float) -> Iterator[Garbage]:
    for folder in _entries(dataset):
        name, dot, rest = folder.name.partition(".")
        if not is_fingerprint(name):
            continue
        if f"{dot}{rest}" == PARTIAL:
            finished = complete_manifest(folder.with_name(name)) is not None
            if finished and maybe_worked_on(folder):
                log.info("%s was written to in the last hour, perhaps by a part, and is kept", folder)
            elif finished or last_written(folder) < before:
                why = "was prepared after all" if finished else "its preparation was not gone on with"
                yield _garbage("leftover", [folder], why)
        elif rest.startswith("damaged-") and last_written(folder) < before:
            yield _garbage("leftover", [folder], "a damaged copy that was set aside")


def _lock_of(partial: Path) -> Path:
    return lock_path(partial.with_name(partial.name.removesuffix(PARTIAL)))


def _garbage(kind: Kind, paths: Sequence[Path], why: str, job_id: str = "") -> Garbage:
    counts = [count(path) for path in paths]
    n_files, n_bytes = sum(each.n_files for each in counts), sum(each.n_bytes for each in counts)
    return Garbage(kind, tuple(paths), why, n_bytes, n_files, job_id)
