"""Checkpoint files: `checkpoints/<job_id>/step-000000120-000003.<sha256>.pt`.

The first number counts optimizer steps, the second the evaluation batches seen since that step, and one for the end of
the epoch, so later states sort after earlier ones. The digest is a part of the name: a file appears by one rename
together with what it must hash to, and `torch.load`, which accepts a flipped bit in a tensor silently, is only called
on bytes that match.

A file is written beside its final name, fsynced, read back and compared, renamed, and the folder fsynced. Older files
are removed only when `KEEP` newer ones in the same folder are known to be good. Every checkpoint also carries the best
weights so far, so that the newest one is all that a resume needs.
"""

import hashlib
import io
import logging
import os
import pickle
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from difflogic_tonic.errors import CheckpointCorrupt, StorageError
from difflogic_tonic.storage import Place, Storage, atomic_write, storage_errors

KEEP = 2
FORMAT = 1
_NAME = re.compile(r"step-(\d{9,})-(\d{6,})\.([0-9a-f]{64})\.pt")
_DAMAGED = ".damaged"

log = logging.getLogger(__name__)


@dataclass(frozen=True, order=True)
class Position:
    """How far training has come: optimizer steps, then evaluation batches (and the epoch's end) since the last."""

    step: int
    evaluated: int = 0


@dataclass(frozen=True)
class Found:
    """A checkpoint file by its name; nothing is known of its content."""

    path: Path
    place: Place
    position: Position
    digest: str


class Checkpoints:
    """The checkpoints of one job, in scratch and (where that is another place) mirrored in project storage."""

    def __init__(self, storage: Storage, job_id: str) -> None:
        self._places = storage.places
        self._job_id = job_id
        self._verified: set[Path] = set()
        self._opened: set[Place] = set()

    def folder(self, place: Place) -> Path:
        return place.checkpoints_dir(self._job_id)

    @property
    def verified(self) -> Position | None:
        """The newest position that is safe: written or read by this object and found to match its digest."""
        # A copy, because the writing threads change the set. Unlike Path.exists, os.path.exists raises nothing.
        return max((_parse(path.name)[0] for path in tuple(self._verified) if os.path.exists(path)), default=None)

    @property
    def exist(self) -> bool:
        """Whether there is any checkpoint, good or damaged."""
        return bool(self.find() or self._damaged())

    def n_bytes(self, place: Place) -> int:
        """What the checkpoints in one place take up now."""
        with storage_errors(self.folder(place)):
            return sum(file.path.stat().st_size for file in self.find(place))

    def find(self, *places: Place) -> list[Found]:
        """Checkpoint files of `places` (default: of both), newest first, scratch before project."""
        found = []
        for place in places or self._places:
            for path in sorted(self.folder(place).glob("step-*.pt")):
                if _NAME.fullmatch(path.name):
                    position, digest = _parse(path.name)
                    found.append(Found(path, place, position, digest))
        return sorted(found, key=lambda file: file.position, reverse=True)  # a stable sort: scratch stays first

    def load_newest(self) -> tuple[dict[str, Any], Found] | None:
        """State and file of the newest good checkpoint on the CPU; None if there never was one.

        A damaged file is set aside with a warning and the one before is tried; if all are damaged: `CheckpointCorrupt`.
        """
        rejected = self._damaged()
        for file in self.find():
            try:
                content = file.path.read_bytes()
            except OSError as error:
                problem = f"cannot be read ({error.strerror})"
            else:
                if hashlib.sha256(content).hexdigest() == file.digest:
                    self._verified.add(file.path)
                    return _unpack(content, file.path), file
                problem = f"is damaged ({len(content):,} bytes do not match the sha256 in its name)"
                _set_aside(file.path)
            log.warning("checkpoint %s %s; trying the one before", file.path, problem)
            rejected.append(file.path)
        if rejected:
            raise CheckpointCorrupt(
                f"no good checkpoint of job {self._job_id}: {len(rejected)} damaged, e.g. {rejected[0]}; "
                f"start anew with --fresh (it keeps the old files under another name)"
            )
        return None

    def write(self, place: Place, position: Position, content: bytes | memoryview) -> Path:
        """Write `content` as the checkpoint of `position` in one place, then remove what it makes superfluous.

        Raises `StorageFull` or `StorageError`; everything that was there before is then still there.
        """
        folder = self.folder(place)
        digest = hashlib.sha256(content).hexdigest()
        path = folder / f"step-{position.step:09d}-{position.evaluated:06d}.{digest}.pt"
        try:
            with storage_errors(folder, f"{place.name} checkpoints"):
                # A place that was unmounted leaves an empty folder, and what is written into that is not safe.
                folder.mkdir(parents=place.name == "scratch" or place not in self._opened, exist_ok=True)
                self._opened.add(place)
            with atomic_write(path, len(content)) as partial:
                _write_synced(partial, content)
                if hashlib.sha256(partial.read_bytes()).hexdigest() != digest:
                    raise StorageError(f"{path}: what was written reads back differently; check this disk")
        except FileNotFoundError as error:
            raise StorageError(f"{place.name} storage went away while writing {path} ({error.strerror})") from error
        except OSError as error:  # network file systems have many more ways to fail than storage_errors knows
            raise StorageError(f"{place.name} storage: {path}: {error.strerror or error}") from error
        self._verified.add(path)
        try:
            self._prune(place)
        except OSError as error:
            log.warning("%s storage: an old checkpoint cannot be removed: %s", place.name, error)
        return path

    def _damaged(self) -> list[Path]:
        return [path for place in self._places for path in self.folder(place).glob(f"*{_DAMAGED}")]

    def _prune(self, place: Place) -> None:
        files = [file.path for file in self.find(place)]  # not the other place, which may be away
        good = [path for path in files if path in self._verified]
        if len(good) < KEEP:
            return
        superfluous = [path for path in files if path not in good[:KEEP]]
        superfluous += self.folder(place).glob(f"*{_DAMAGED}")
        for path in superfluous:
            path.unlink(missing_ok=True)
            self._verified.discard(path)


def pack(state: dict[str, Any]) -> memoryview:
    """`state` (tensors and plain Python values only) as the bytes of a file for `torch.load`."""
    sink = _Sink(_n_bytes(state) + (1 << 20))
    torch.save(state, sink)  # type: ignore[arg-type]  # it asks for no more than `write`
    return sink.content


def _n_bytes(value: Any) -> int:
    """Bytes of all tensors in plain containers."""
    if isinstance(value, torch.Tensor):
        return value.nbytes
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return sum(map(_n_bytes, parts))


class _Sink:
    """A file in memory. NumPy copies without holding the interpreter, so that a training thread goes on meanwhile;
    `io.BytesIO` does not, and copies twice.
    """

    def __init__(self, n_bytes: int) -> None:
        """`n_bytes`: about as many as will be written."""
        self._room = np.empty(n_bytes, np.uint8)
        self._n = 0

    @property
    def content(self) -> memoryview:
        return self._room[: self._n].data

    def write(self, data: bytes | memoryview) -> int:
        new = np.frombuffer(data, np.uint8)
        if self._n + len(new) > len(self._room):
            room = np.empty(max(2 * len(self._room), self._n + len(new)), np.uint8)
            room[: self._n] = self._room[: self._n]
            self._room = room
        self._room[self._n : self._n + len(new)] = new
        self._n += len(new)
        return len(new)

    def flush(self) -> None:
        """Nothing waits."""


def _unpack(content: bytes, path: Path) -> dict[str, Any]:
    try:
        state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError) as error:
        raise CheckpointCorrupt(
            f"{path} holds more than tensors and plain values, so this project did not write it; "
            f"nothing in it was run; start anew with --fresh"
        ) from error
    return state


def _parse(name: str) -> tuple[Position, str]:
    match = _NAME.fullmatch(name)
    assert match is not None, name
    return Position(int(match[1]), int(match[2])), match[3]


def _set_aside(path: Path) -> None:
    try:
        path.rename(path.with_name(path.name + _DAMAGED))
    except OSError as error:
        log.warning("%s stays where it is: %s", path, error.strerror)


def _write_synced(path: Path, content: bytes | memoryview) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
