"""Recordings inside archives, read at random, without a file for each of them on disk.

A zip is read in place. What has no random access (tar, compressed or not) is unpacked once into one file, a pack, in
scratch storage. Either way an index says where the bytes of each recording lie and what their CRC-32 is; it is kept in
scratch storage under a name made from path, size and time of the archives, and everything can be made again from them.
"""

import hashlib
import json
import logging
import os
import threading
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from difflogic_tonic.cache.archives import DamagedArchive, Member, archive_kind, copy_inner, list_zip, pack_tar
from difflogic_tonic.cache.progress import Progress
from difflogic_tonic.cache.sources import Recording, check_counts, check_recordings, check_size, class_names
from difflogic_tonic.config import DatasetFacts
from difflogic_tonic.errors import DatasetMismatch, DatasetMissing, RecordingError
from difflogic_tonic.events.layout import Placed, expected
from difflogic_tonic.storage import atomic_write, file_lock, reap_leftovers, storage_errors, write_text

log = logging.getLogger(__name__)

INDEX_VERSION = 2

_Found = tuple[Placed, int, Member]
"""Where a recording belongs, its size, and where it lies."""


@dataclass(frozen=True)
class Index:
    """Where recordings lie. `files` are archives and packs with (path, size, mtime_ns) as they were when listed.

    `columns` are those of `Member`; row i belongs to row i of `recordings`, which are ordered by path. `classes` are
    those that the labels of the recordings count.
    """

    files: tuple[tuple[str, int, int], ...]
    recordings: tuple[Recording, ...]
    columns: tuple[tuple[Any, ...], ...]
    classes: tuple[str, ...]

    def member(self, row: int) -> Member:
        """Where the bytes of the recording in this row lie."""
        return Member(*(column[row] for column in self.columns))

    def is_current(self) -> bool:
        """Whether all files are as they were."""
        try:
            return all(file_facts(Path(path)) == (path, size, mtime) for path, size, mtime in self.files)
        except OSError:
            return False

    def to_json(self) -> str:
        """Column by column: 70,000 rows load in a tenth of a second."""
        recordings = list(zip(*self.recordings, strict=True))
        content = {
            "version": INDEX_VERSION,
            "classes": self.classes,
            "files": self.files,
            "recordings": recordings,
            "members": self.columns,
        }
        return json.dumps(content, separators=(",", ":"))

    @staticmethod
    def from_json(text: bytes) -> "Index":
        """Raises `ValueError` for anything that `to_json` did not write."""
        try:
            content = json.loads(text)
            if content["version"] != INDEX_VERSION:
                raise ValueError(f"index version {content['version']}")
            recordings = tuple(map(Recording, *content["recordings"]))
            columns = tuple(map(tuple, content["members"]))
            classes = tuple(map(str, content["classes"]))
            files = tuple((str(path), int(size), int(mtime)) for path, size, mtime in content["files"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"not an index: {error}") from None
        if len(columns) != len(Member._fields) or {len(column) for column in columns} != {len(recordings)}:
            raise ValueError("not an index: columns are missing or of different lengths")
        return Index(files, recordings, columns, classes)


class ArchiveSource:
    """Recordings of one or several archives. Only `os.pread` is used: threads and forked processes share the files."""

    def __init__(
        self, facts: DatasetFacts, archives: Iterable[Path], folder: Path, allow_subset: bool, progress: bool
    ) -> None:
        paths = tuple(archives)
        self.describe = ", ".join(map(str, paths))
        self._folder = folder.resolve()
        self._index = open_index(facts, paths, folder, progress)
        self.recordings, self.classes, self.format = self._index.recordings, self._index.classes, facts.format
        self.subset = check_counts(self.recordings, self.describe, facts, allow_subset)
        self._rows = {recording.path: row for row, recording in enumerate(self.recordings)}
        self._forget_files()

    def read(self, recording: Recording) -> bytes:
        member = self._index.member(self._rows[recording.path])
        path = Path(self._index.files[member.file][0])
        with storage_errors(path, "reading a recording"):
            stored = os.pread(self._descriptor(member.file), member.stored, member.offset)
        try:
            data = zlib.decompress(stored, -zlib.MAX_WBITS) if member.deflated else stored
        except zlib.error:
            data = b""
        if zlib.crc32(data) != member.crc32:
            mend = "delete that file and run again" if path.parent == self._folder else "fetch the archive again"
            raise RecordingError(f"{path}: {recording.path} is damaged (its checksum differs); {mend}")
        return check_size(data, recording, self.describe)

    def _descriptor(self, number: int) -> int:
        with self._lock:
            if number not in self._descriptors:
                self._descriptors[number] = os.open(self._index.files[number][0], os.O_RDONLY | os.O_CLOEXEC)
            return self._descriptors[number]

    def _forget_files(self) -> None:
        self._descriptors: dict[int, int] = {}
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in {"_descriptors", "_lock"}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget_files()

    def __del__(self) -> None:
        for descriptor in getattr(self, "_descriptors", {}).values():
            os.close(descriptor)


def file_facts(path: Path) -> tuple[str, int, int]:
    """Resolved path, size and mtime_ns: what tells that a file is still the same."""
    resolved = path.resolve()
    found = resolved.stat()
    return str(resolved), found.st_size, found.st_mtime_ns


def open_index(facts: DatasetFacts, archives: tuple[Path, ...], folder: Path, progress: bool) -> Index:
    """The index of the archives, kept in `folder`; made, with the packs it needs, if it is not there or not current."""
    with storage_errors(archives[0], "opening an archive"):
        sources = [file_facts(path) for path in archives]
    layout = facts.layout
    looked_for = [INDEX_VERSION, facts.name, facts.classes, layout.format, layout.folders, layout.file, layout.labels]
    key = hashlib.sha256(json.dumps([looked_for, sources]).encode()).hexdigest()[:16]
    path = folder / f"{key}.json"
    found = _find_index(path)
    if found:
        return found
    with storage_errors(folder, "making a folder"):
        folder.mkdir(parents=True, exist_ok=True)
    with file_lock(folder / f"{key}.lock"):
        found = _find_index(path)  # another process may have made it while we waited
        if found:
            return found
        reap_leftovers(folder)
        index = _make_index(facts, archives, folder / key, progress)
        write_text(path, index.to_json())
    return index


def _find_index(path: Path) -> Index | None:
    try:
        index = Index.from_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        log.warning("%s is damaged (%s); making it again", path, error)
        return None
    return index if index.is_current() else None


def _make_index(facts: DatasetFacts, archives: tuple[Path, ...], stem: Path, progress: bool) -> Index:
    """List the archives; where one holds archives and no recordings, those. `stem` starts the names of new files."""
    files: list[Path] = []
    found: list[_Found] = []
    for number, path in enumerate(archives):
        new = stem.with_name(f"{stem.name}-{number}")
        file, members, inner = _list_archive(facts, path, str(path), new, progress)
        parts = [(file, members)]
        if not members:
            parts = [_list_inner(facts, path, name, f"{new}-{i}", progress) for i, name in enumerate(inner)]
        for part, listed in parts:
            found += [(placed, size, member._replace(file=len(files))) for placed, size, member in listed]
            files.append(part)
    where = ", ".join(map(str, archives))
    if not found:
        raise DatasetMissing(f"{where} holds no recordings of {facts.name}; expected {expected(facts)}")
    sized = [(placed, size) for placed, size, _ in found]
    classes = class_names((placed for placed, _ in sized), facts, where)
    recordings = check_recordings(sized, where, facts, classes)
    by_path = {placed.path: member for placed, _, member in found}
    return Index(
        tuple(file_facts(file) for file in files),
        recordings,
        tuple(zip(*(by_path[recording.path] for recording in recordings), strict=True)),
        classes,
    )


def _list_archive(
    facts: DatasetFacts, path: Path, shown: str, new: Path, progress: bool
) -> tuple[Path, list[_Found], list[str]]:
    """The file that the recordings of one archive are read from, the recordings, and names of archives inside it."""
    pack = new.with_name(f"{new.name}.pack")
    try:
        kind = archive_kind(path)
        if kind == "zip":
            return path, *list_zip(path, facts)
        bar = Progress(path.stat().st_size, "bytes", f"unpacking {path.name}", progress)
        with bar, atomic_write(pack) as partial:
            members, inner = pack_tar(path, kind, facts, partial, bar)
    except DamagedArchive as error:
        raise DatasetMismatch(f"{shown} is damaged: {error}; fetch it again") from None
    if not members:
        pack.unlink()
    return pack, members, inner


def _list_inner(facts: DatasetFacts, outer: Path, name: str, new: str, progress: bool) -> tuple[Path, list[_Found]]:
    """The same for an archive inside an archive, which is first copied out of it."""
    shown = f"{outer}: {name}"
    try:
        copy = copy_inner(outer, name, Path(f"{new}.archive"))
    except DamagedArchive as error:
        raise DatasetMismatch(f"{shown} is damaged: {error}; fetch it again") from None
    file, members, _ = _list_archive(facts, copy, shown, Path(new), progress)
    if file != copy:
        copy.unlink()  # all that it has is in the pack
    return file, members
