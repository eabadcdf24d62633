"""Files that appear whole or not at all, and the leftovers of writers that died.

A file is written under a temporary name beside its final one, `<name>.tmp-<host>-<pid>-<n>`, fsynced, renamed, and the
folder is fsynced. Host and process id in the name tell whose leftover it is, so that one writer never removes the file
that a living neighbour is writing.
"""

import errno
import itertools
import json
import os
import re
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from difflogic_tonic.errors import StorageError
from difflogic_tonic.storage.space import storage_errors

LEFTOVER = re.compile(r".+\.tmp-(?P<host>.+)-(?P<pid>\d+)-\d+")
LEFTOVER_SECONDS = 2 * 24 * 3600
"""Age after which a leftover of another host, whose processes we cannot see, is taken for dead."""

_count = itertools.count()


def partial_path(path: Path) -> Path:
    """A temporary name beside `path` that no other writer uses: other threads, processes and hosts included."""
    return path.with_name(f"{path.name}.tmp-{host_of_processes()}-{os.getpid()}-{next(_count)}")


@contextmanager
def atomic_write(path: Path, needed: int | None = None) -> Iterator[Path]:
    """Yield a temporary path; when the block ends well it becomes `path`, durably, else it is removed.

    The block creates the file. A full disk is StorageFull naming the place and the `needed`
    bytes where they are known, a folder that is not there (any more) StorageError; the old `path`, if there was one, is
    then still there.
    """
    partial = partial_path(path)
    try:
        with storage_errors(path.parent, path.name, needed), needs_folder(path), _named_at_last(path, partial):
            yield partial
            fsync_file(partial)
            os.replace(partial, path)
            fsync_dir(path.parent)
    except BaseException:
        with suppress(OSError):  # as when the folder is a file: the first error says more
            partial.unlink(missing_ok=True)
        raise


@contextmanager
def needs_folder(path: Path) -> Iterator[None]:
    """Inside, a FileNotFoundError of `path` or its folder is StorageError: its place went away.

    Whether the folder is there now is not asked: it may have come back.
    """
    try:
        yield
    except FileNotFoundError as error:
        if str(error.filename) not in {str(path), str(path.parent)}:
            raise
        raise StorageError(f"{path.parent} is not there (any more); {path.name} could not be written") from error


@contextmanager
def _named_at_last(path: Path, partial: Path) -> Iterator[None]:
    """Inside, an OSError of `partial` names what it was to become: nobody knows the temporary name."""
    try:
        yield
    except OSError as error:
        if str(error.filename) == str(partial):
            error.filename, error.filename2 = str(path), None
        raise


def append_bytes(path: Path, content: bytes) -> None:
    """Append `content` whole or not at all; the file is made if absent, its folder is not.

    Raises `StorageFull` or `StorageError`; the file is then as before. It is opened anew each time, so a place that was
    away and came back is written to.
    """
    with storage_errors(path), needs_folder(path):
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            size = os.fstat(descriptor).st_size
            try:
                written = os.write(descriptor, content)
                while written < len(content):
                    written += os.write(descriptor, content[written:])
            except OSError:
                os.ftruncate(descriptor, size)
                raise
        finally:
            os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write a small UTF-8 file atomically."""
    with atomic_write(path, len(text.encode())) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write plain data as indented JSON atomically. NaN is refused: it is not JSON."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def fsync_file(path: Path) -> None:
    """Flush a file (or folder) to its disk. A disk that fails only now says so here, not at a later read."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_dir(folder: Path) -> None:
    """Make renames in a folder durable. File systems that cannot sync a folder (some network ones) are let be."""
    try:
        fsync_file(folder)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.EOPNOTSUPP}:
            raise


def dead_leftovers(folder: Path, own: bool = False) -> list[Path]:
    """Temporary files and folders in `folder` whose writers are dead.

    On this host: the process id lives no more. From other hosts: nothing was written for LEFTOVER_SECONDS. `own` takes
    this process's too, for a caller whose writers have all ended.
    """
    with storage_errors(folder, "looking for leftovers"):
        entries = sorted(folder.iterdir()) if folder.is_dir() else []
        matches = ((entry, LEFTOVER.fullmatch(entry.name)) for entry in entries)
        return [entry for entry, match in matches if match and _is_dead(entry, match["host"], int(match["pid"]), own)]


def foreign_leftovers(folder: Path) -> list[Path]:
    """Temporary files and folders in `folder` of other hosts, dead or alive: for a caller after whom none is needed."""
    entries = sorted(folder.iterdir())
    matches = ((entry, LEFTOVER.fullmatch(entry.name)) for entry in entries)
    return [entry for entry, match in matches if match and match["host"] != host_of_processes()]


def reap_leftovers(folder: Path, own: bool = False, foreign: bool = False) -> list[Path]:
    """Remove what `dead_leftovers` finds, and with `foreign` what `foreign_leftovers` finds, and return it."""
    reaped = dead_leftovers(folder, own)
    if foreign:
        reaped += [entry for entry in foreign_leftovers(folder) if entry not in reaped]
    with storage_errors(folder, "removing leftovers"):
        for entry in reaped:
            remove(entry)
    return reaped


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it; what is gone already, or will not go, is let be."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def host_of_processes() -> str:
    """This host and process-id namespace: a container may share the host's name but not its process ids."""
    try:
        namespace = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        namespace = 0
    return f"{socket.gethostname()}.{namespace}"


def _is_dead(path: Path, host: str, pid: int, own: bool) -> bool:
    if host != host_of_processes():
        return _age_seconds(path) > LEFTOVER_SECONDS
    if pid == os.getpid():
        return own
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # alive, and another user's
    return False


def _age_seconds(path: Path) -> float:
    try:
        newest = max(entry.stat().st_mtime for entry in (path, *path.glob("*")))
    except FileNotFoundError:
        return 0.0  # its writer renamed or removed it while we looked: alive
    return time.time() - newest
