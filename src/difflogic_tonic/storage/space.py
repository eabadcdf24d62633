"""Free space, and what a full, read-only or unreachable disk is called."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from difflogic_tonic.config.environment import PROJECT_VARIABLE, SCRATCH_VARIABLE
from difflogic_tonic.errors import StorageError, StorageFull

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

MAKE_ROOM = f"make room or choose another place ({SCRATCH_VARIABLE}, {PROJECT_VARIABLE})"

SAME_COMMAND = ", then run the same command again: what is finished is kept"
"""How a message of `full_message` ends; a caller that knows another command cuts it off."""

REASONS = {
    errno.EROFS: "is read-only",
    errno.EACCES: "may not be accessed by this user",
    errno.EPERM: "may not be changed by this user",
    errno.ENOTDIR: "has a file where a folder is expected",
    errno.EISDIR: "has a folder where a file is expected",
    errno.EEXIST: "has a file where a folder is expected",
    errno.EIO: "has an input/output error",
    errno.ESTALE: "went away (stale network file handle)",
    errno.ENAMETOOLONG: "has a name too long for its file system",
    errno.ENOTCONN: "is not connected",
    errno.ESHUTDOWN: "is not connected (its server has ended the connection)",
    errno.ETIMEDOUT: "does not answer (timed out)",
    errno.EHOSTDOWN: "does not answer (its server is down)",
    errno.EREMOTEIO: "has an input/output error on its server",
    errno.ENODEV: "went away (no such device)",
    errno.EBUSY: "is busy",
}


@contextmanager
def storage_errors(path: Path, what: str = "", needed: int | None = None) -> Iterator[None]:
    """Turn the OSErrors of a failing disk into one line that names the path: StorageFull or StorageError.

    `what` says what was being done there; `needed` is how many bytes it takes, where that is known. Other OSErrors
    (a missing file, say) pass unchanged, for the caller knows what they mean.
    """
    doing = f" ({what})" if what else ""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise StorageFull(full_message(path, what, needed, error.errno)) from error
        if error.errno in REASONS:
            raise StorageError(f"{error.filename or path} {REASONS[error.errno]}{doing}") from error
        raise


def full_message(path: Path, what: str, needed: int | None, code: int | None = errno.ENOSPC) -> str:
    """The line for a full disk: place, bytes, what is kept, and what to do."""
    cause = {errno.EDQUOT: "quota exceeded", errno.EFBIG: "file size limit reached"}.get(code or 0, "no space left")
    size = f" of {needed:,} bytes" if needed is not None else ""
    doing = f" while writing {what}{size}" if what else ""
    return (
        f"{cause} in {path}{doing}: {free_bytes(path):,} bytes and {free_inodes(path):,} files free there; "
        f"{MAKE_ROOM}{SAME_COMMAND}"
    )


def free_bytes(path: Path) -> int:
    """Bytes that this user may still write on the file system of `path` (of its nearest folder that exists)."""
    facts = os.statvfs(_existing(path))
    return facts.f_bavail * facts.f_frsize


def free_inodes(path: Path) -> int:
    """Files that may still be created there; a large number where the file system does not count them."""
    facts = os.statvfs(_existing(path))
    return facts.f_favail if facts.f_files else 2**31


def check_space(path: Path, needed: int, what: str, files: int = 1) -> None:
    """Raise StorageFull unless `needed` bytes and `files` new files fit on the file system of `path`."""
    if free_bytes(path) < needed or free_inodes(path) < files:
        raise StorageFull(
            f"{what} needs about {needed:,} bytes in {files:,} files, but {path} has {free_bytes(path):,} bytes and "
            f"{free_inodes(path):,} files free; {MAKE_ROOM}"
        )


def _existing(path: Path) -> Path:
    while not path.exists() and path != path.parent:
        path = path.parent
    return path
