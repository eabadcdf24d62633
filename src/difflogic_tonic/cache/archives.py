"""The members of zip and tar archives that are recordings. Nothing is ever written under a name from an archive."""

import bz2
import errno
import gzip
import lzma
import os
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

from difflogic_tonic.cache.progress import Progress
from difflogic_tonic.config import DatasetFacts
from difflogic_tonic.errors import DatasetMismatch
from difflogic_tonic.events.layout import Placed, place
from difflogic_tonic.storage import atomic_write

Kind = Literal["zip", "tar", "gz", "bz2", "xz"]

SUFFIXES = (".zip", ".tar", ".tgz", ".tbz2", ".txz", ".tar.gz", ".tar.bz2", ".tar.xz")
MAGIC: dict[bytes, Kind] = {b"PK\x03\x04": "zip", b"\x1f\x8b": "gz", b"BZh": "bz2", b"\xfd7zXZ\x00": "xz"}
OPENERS: dict[Kind, Any] = {"gz": gzip.open, "bz2": bz2.open, "xz": lzma.open}
LOCAL_HEADER = struct.Struct("<4s22xHH")  # of a zip member: signature, lengths of its name and of its extra field
UTF8_NAME = 0x800  # flag bit of a zip member; without it names are in code page 437
DAMAGE = (
    *(tarfile.TarError, lzma.LZMAError, zipfile.BadZipFile, zlib.error, gzip.BadGzipFile, EOFError, struct.error),
    *(ValueError, OverflowError, NotImplementedError),  # what zipfile makes of impossible numbers in a directory
)
BLOCK_BYTES = 1 << 20


class DamagedArchive(Exception):
    """What is wrong with an archive; the caller names it."""


class Member(NamedTuple):
    """Where the bytes of a recording lie: `stored` bytes at `offset`; `file` counts the files of an index."""

    file: int
    offset: int
    stored: int
    deflated: bool
    crc32: int


Listed = tuple[list[tuple[Placed, int, Member]], list[str]]
"""Recordings with their sizes, and the names of archives inside the archive."""


def is_archive_name(name: str) -> bool:
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def archive_kind(path: Path) -> Kind:
    """What the first bytes say; names lie. `DamagedArchive` for anything else."""
    with open(path, "rb") as file:
        start = file.read(512)
    for magic, kind in MAGIC.items():
        if start.startswith(magic):
            return kind
    if start[257:262] == b"ustar":
        return "tar"
    raise DamagedArchive("neither a zip nor a tar archive" if start else "empty file")


def list_zip(path: Path, facts: DatasetFacts) -> Listed:
    """The recordings of a zip archive, to be read where they are."""
    found, inner = [], []
    seen: set[str] = set()
    size = path.stat().st_size
    with _damage(), zipfile.ZipFile(path) as archive, open(path, "rb") as file:
        for info in archive.infolist():
            placed = _placed(info.filename, facts, path)
            if is_archive_name(info.filename.rpartition("/")[2]):
                inner.append(info.filename)
            if placed is None or info.is_dir():
                continue
            if stat.S_ISLNK(info.external_attr >> 16):
                raise DatasetMismatch(
                    f"{path}: {info.filename} is a link; expected a recording; make the archive again"
                )
            _refuse_twice(info.filename, seen, path)
            if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise DatasetMismatch(
                    f"{path}: {info.filename} is encrypted or compressed by method {info.compress_type}; "
                    "expected stored or deflated; unpack it and give the folder"
                )
            deflated = info.compress_type == zipfile.ZIP_DEFLATED
            offset = _data_offset(file, info)
            if offset + info.compress_size > size:
                raise DamagedArchive(f"{info.filename} goes beyond its end")
            found.append((placed, info.file_size, Member(0, offset, info.compress_size, deflated, info.CRC)))
    return found, inner


def pack_tar(path: Path, kind: Kind, facts: DatasetFacts, pack: Path, progress: Progress) -> Listed:
    """Write the recordings of a tar archive one after the other into the new file `pack`."""
    found, inner, offset = [], [], 0
    seen: set[str] = set()
    with open(path, "rb") as raw, open(pack, "wb") as out:
        for name, content in _tar_members(raw, kind, path, progress):
            if is_archive_name(name.rpartition("/")[2]):
                inner.append(name)
            placed = _placed(name, facts, path)
            if placed is None:
                continue
            if content is None:
                raise DatasetMismatch(
                    f"{path}: {name} is a link or device; expected a recording; make the archive again"
                )
            _refuse_twice(name, seen, path)
            with _damage():
                data = content.read()
            out.write(data)
            found.append((placed, len(data), Member(0, offset, len(data), False, zlib.crc32(data))))
            offset += len(data)
    return found, inner


def copy_inner(path: Path, name: str, target: Path) -> Path:
    """Copy an archive inside an archive to the file `target`."""
    kind = archive_kind(path)
    with atomic_write(target) as partial, open(partial, "wb") as out:
        if kind == "zip":
            with _damage(), zipfile.ZipFile(path) as archive, archive.open(name) as content:
                shutil.copyfileobj(content, out, BLOCK_BYTES)
        else:
            with open(path, "rb") as raw:
                for member, stream in _tar_members(raw, kind, path, None):
                    if member == name and stream:
                        with _damage():
                            shutil.copyfileobj(stream, out, BLOCK_BYTES)
                        break
    return target


def _tar_members(raw: IO[bytes], kind: Kind, path: Path, progress: Progress | None) -> Iterator[tuple[str, Any]]:
    """Name and content of every member in order; content is None for what is neither file nor folder.

    Read to the very end, so that the checksum of the compression is verified.
    """
    counted = _Counted(raw, progress)
    with _damage():
        stream = OPENERS[kind](counted) if kind in OPENERS else counted
        archive = tarfile.open(fileobj=stream, mode="r|", tarinfo=_StrictTarInfo)  # type: ignore[call-overload] # noqa: SIM115
    while True:
        with _damage():
            member = archive.next()
        if member is None:
            break
        if not member.isdir():
            yield member.name, archive.extractfile(member) if member.isreg() else None
    with _damage():
        while stream.read(BLOCK_BYTES):
            pass


class _StrictTarInfo(tarfile.TarInfo):
    """Headers that tarfile takes for the end of the archive although they are damaged or missing are errors."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> "_StrictTarInfo":
        try:
            return super().fromtarfile(archive)
        except tarfile.HeaderError as error:
            if isinstance(error, tarfile.EOFHeaderError):  # type: ignore[attr-defined]
                raise
            raise DamagedArchive(str(error) or "it ends too early") from None


class _Counted:
    """A file that tells a progress bar how much of it was read."""

    def __init__(self, file: IO[bytes], progress: Progress | None) -> None:
        self._file, self._progress = file, progress

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        if self._progress:
            self._progress.advance(len(data))
            self._progress.show()
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True


@contextmanager
def _damage() -> Iterator[None]:
    """What the libraries raise for a damaged archive, as one error."""
    try:
        yield
    except DAMAGE as error:
        raise DamagedArchive(str(error) or type(error).__name__) from None
    except OSError as error:
        # bz2 reports damage without a number, zipfile seeks to impossible places; the rest is a failing disk.
        if error.errno not in {None, errno.EINVAL}:
            raise
        raise DamagedArchive(str(error)) from None


def _placed(name: str, facts: DatasetFacts, path: Path) -> Placed | None:
    """Where a member belongs. `DatasetMismatch` for a recording whose name leads out of the archive."""
    parts = name.split("/")
    placed = place("/".join(part for part in parts if part not in {"", ".", ".."}), facts)
    if placed and (name.startswith("/") or ".." in parts or "\\" in name):
        raise DatasetMismatch(f"{path}: the name {name!r} leads out of the archive; make the archive again")
    return placed


def _refuse_twice(name: str, seen: set[str], path: Path) -> None:
    if name in seen:
        raise DatasetMismatch(f"{path}: holds {name} twice; make the archive again")
    seen.add(name)


def _data_offset(file: IO[bytes], info: zipfile.ZipInfo) -> int:
    """Where the content of a zip member starts: after its local header, whose length only it knows."""
    file.seek(info.header_offset)
    header = file.read(LOCAL_HEADER.size)
    if len(header) < LOCAL_HEADER.size or not header.startswith(b"PK\x03\x04"):
        raise DamagedArchive(f"the header of {info.filename} is damaged")
    _, name_length, extra_length = LOCAL_HEADER.unpack(header)
    name = info.orig_filename.encode("utf-8" if info.flag_bits & UTF8_NAME else "cp437")
    if file.read(name_length) != name:
        raise DamagedArchive(f"the name of {info.filename} in its header and in the directory of the archive differ")
    return info.header_offset + LOCAL_HEADER.size + int(name_length) + int(extra_length)
