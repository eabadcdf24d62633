"""Fetch the files of a dataset: several addresses, resumable, checked, and whole or not at all."""

import hashlib
import http.client
import logging
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import IO

from difflogic_tonic import __version__
from difflogic_tonic.cache.progress import Progress
from difflogic_tonic.config import DatasetFacts, DownloadFile
from difflogic_tonic.errors import DatasetMissing
from difflogic_tonic.storage import check_space, file_lock, fsync_dir, fsync_file, storage_errors

log = logging.getLogger(__name__)

BLOCK_BYTES = 1 << 20
TIMEOUT_SECONDS = 30.0
ATTEMPTS = 5
"""Times in a row that one address may break off without having sent anything new."""


class DownloadFailed(Exception):
    """Why an address gave no file; the next one is tried."""


def download_dataset(facts: DatasetFacts, folder: Path, progress: bool) -> None:
    """Put all files of a dataset into `folder`, leaving those that are there.

    Raises `DatasetMissing` that names the files, their addresses and `folder`, for somebody who has to fetch them on
    another machine.
    """
    with storage_errors(folder, "making a folder"):
        folder.mkdir(parents=True, exist_ok=True)
    present = {path.name.lower() for path in folder.iterdir()}
    for file in facts.files:
        if file.name.lower() in present:
            continue
        try:
            download(file, folder, progress)
        except DownloadFailed as error:
            raise DatasetMissing(_missing_message(facts, folder, f"{file.name}: {error}")) from None
    if not facts.files:
        raise DatasetMissing(_missing_message(facts, folder, "it cannot be downloaded"))


def download(file: DownloadFile, folder: Path, progress: bool = False) -> Path:
    """`folder/file.name`, with the size and MD5 that are stated.

    What has arrived is kept in `<name>.part`, and an interrupted download goes on from there, also in a later run.
    Raises `DownloadFailed` with the reason of every address.
    """
    target, part = folder / file.name, folder / f"{file.name}.part"
    reasons = []
    with file_lock(folder / f".{file.name}.lock"):
        if target.exists():  # another process has fetched it meanwhile
            return target
        for url in file.urls:
            try:
                _fetch_checked(url, part, file, progress)
            except DownloadFailed as error:
                reasons.append(f"{urllib.parse.urlsplit(url).hostname}: {error}")
                log.info("%s: %s", url, error)
                continue
            with storage_errors(folder, f"renaming {part.name}"):
                fsync_file(part)
                part.replace(target)
                fsync_dir(folder)
            return target
    raise DownloadFailed("; ".join(reasons) or "no address is known")


def _fetch_checked(url: str, part: Path, file: DownloadFile, progress: bool) -> None:
    """Complete `part` and check it. What an earlier run left may be of another file: then once more from the start."""
    resumed = part.exists()
    try:
        _fetch(url, part, file, progress)
        _check(part, file)
    except DownloadFailed:
        if not resumed or part.exists():
            raise
        _fetch(url, part, file, progress)
        _check(part, file)


def _fetch(url: str, part: Path, file: DownloadFile, progress: bool) -> None:
    """Complete `part` from `url`, going on after interruptions as long as something new arrives."""
    idle = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        if file.size is not None and before == file.size:
            return
        try:
            if _fetch_rest(url, part, before, file, progress):
                return
            reason = "the connection broke off"
        except urllib.error.HTTPError as error:
            if error.code == 416 and before:  # nothing to send after `before`: complete, or not the same file
                return
            raise DownloadFailed(f"the server answered {error.code} {error.reason}") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = str(getattr(error, "reason", None) or error) or type(error).__name__
        arrived = part.stat().st_size if part.exists() else 0
        idle = 0 if arrived > before else idle + 1
        if idle >= ATTEMPTS or arrived == 0:
            raise DownloadFailed(reason)
        log.info("%s: %s after %s bytes; going on from there", url, reason, f"{arrived:,}")


def _fetch_rest(url: str, part: Path, start: int, file: DownloadFile, progress: bool) -> bool:
    """Append what the server has after byte `start`; whether that was everything. A server may also start again."""
    headers = {"User-Agent": f"difflogic-tonic/{__version__}"} | ({"Range": f"bytes={start}-"} if start else {})
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
        continues = response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        if not continues and response.status != 200:
            raise DownloadFailed(f"the server answered {response.status} {response.reason}")
        length = response.headers.get("Content-Length")
        expected = int(length) if length else None
        if not continues:
            start = 0
        if file.size is not None and expected is not None and start + expected != file.size:
            raise DownloadFailed(f"has {start + expected:,} bytes; expected {file.size:,}")
        if expected:
            check_space(part.parent, expected, f"downloading {file.name}")
        with storage_errors(part, "downloading", expected):
            out = open(part, "ab" if continues else "wb")  # noqa: SIM115
        with out, Progress(expected or 0, "bytes", f"downloading {file.name}", progress) as shown:
            arrived = _copy(response, out, part, shown)
    return arrived == expected if expected is not None else True


def _copy(response: IO[bytes], out: IO[bytes], part: Path, shown: Progress) -> int:
    """Bytes copied. An error of the connection passes; what arrived before it is written."""
    arrived = 0
    while block := response.read(BLOCK_BYTES):
        with storage_errors(part, "downloading"):
            out.write(block)
            out.flush()
        arrived += len(block)
        shown.advance(len(block))
        shown.show()
    return arrived


def _check(part: Path, file: DownloadFile) -> None:
    """Remove `part` and raise `DownloadFailed` unless it has the stated size and MD5."""
    md5 = hashlib.md5(usedforsecurity=False)
    with open(part, "rb") as content:
        while block := content.read(BLOCK_BYTES):
            md5.update(block)
    size = part.stat().st_size
    if file.size is not None and size != file.size:
        reason = f"has {size:,} bytes; expected {file.size:,}"
    elif file.md5 is not None and md5.hexdigest() != file.md5:
        reason = f"has the MD5 {md5.hexdigest()}; expected {file.md5}"
    else:
        return
    part.unlink()
    raise DownloadFailed(reason)


def _missing_message(facts: DatasetFacts, folder: Path, reason: str) -> str:
    files = " and ".join(f"{file.name} ({(*file.urls, file.page)[0]})" for file in facts.files)
    notes = f". {facts.notes}" if facts.notes else ""
    put = f"put {files} into {folder}, or " if files else ""
    return (
        f"{facts.name} is not here and could not be downloaded ({reason}); "
        f"{put}give a folder or archive that has it: data.data_root=PATH{notes}"
    )
