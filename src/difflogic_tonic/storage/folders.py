"""Folders that appear whole: copy with verification, publish by rename, swap for a new generation."""

import ctypes
import errno
import os
import shutil
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

from difflogic_tonic.errors import StorageError
from difflogic_tonic.storage.space import storage_errors
from difflogic_tonic.storage.writing import fsync_dir, fsync_file

BLOCK_BYTES = 4 << 20
RENAME_EXCHANGE = 2  # linux/fs.h
AT_FDCWD = -100  # fcntl.h


class ChecksumMismatch(StorageError):
    """A file reads back differently from what its manifest states. `path` is the file."""

    def __init__(self, path: Path, crc: int) -> None:
        super().__init__(f"{path} does not have the checksum that its manifest states ({crc:08x}): its disk is failing")
        self.path = path


def file_crc32(path: Path) -> int:
    """CRC-32 (as in zlib) of a file's content, read in blocks."""
    crc = 0
    with open(path, "rb", buffering=0) as file:
        while block := file.read(BLOCK_BYTES):
            crc = zlib.crc32(block, crc)
    return crc


def copy_files(
    source: Path, target: Path, checksums: Mapping[str, int], progress: Callable[[int], None] | None = None
) -> None:
    """Copy the named files of one folder into another, one after the other, each fsynced and read back.

    `checksums` maps names to CRC-32; `progress` is called with the bytes of each finished file. A copy that reads
    back differently is ChecksumMismatch with the path on the side that is wrong. `target` must exist.
    """
    for name, crc in checksums.items():
        size = (source / name).stat().st_size
        with storage_errors(target, f"a copy of {name}", size):
            shutil.copyfile(source / name, target / name)
            fsync_file(target / name)
        if file_crc32(target / name) != crc:
            wrong = source if file_crc32(source / name) != crc else target
            raise ChecksumMismatch(wrong / name, crc)
        if progress:
            progress(size)
    fsync_dir(target)


def publish_folder(partial: Path, final: Path) -> bool:
    """Rename a finished folder to its final name, durably. False if somebody else published that name first.

    The final folder is immutable and made by the same rule by everybody, so having lost the race is no failure.
    """
    with storage_errors(final.parent, f"publishing {final.name}"):
        try:
            os.rename(partial, final)
        except OSError as error:
            if error.errno in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT} and final.is_dir():
                return False
            raise
        fsync_dir(final.parent)
    return True


def swap_folders(new: Path, old: Path) -> None:
    """Let `new` and `old` exchange their names, so that a reader finds one or the other at every moment.

    Where the file system cannot exchange, `old` is moved aside first and readers may miss it for an instant.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    with storage_errors(old.parent, f"replacing {old.name}"):
        renamed = (
            hasattr(libc, "renameat2")
            and libc.renameat2(AT_FDCWD, os.fsencode(new), AT_FDCWD, os.fsencode(old), RENAME_EXCHANGE) == 0
        )
        if not renamed:
            aside = new.with_name(f"{new.name}.aside")
            os.rename(old, aside)
            os.rename(new, old)
            os.rename(aside, new)
        fsync_dir(old.parent)
