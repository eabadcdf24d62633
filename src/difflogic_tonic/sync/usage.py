"""How many files and bytes a storage place holds, and how many more it can take."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from difflogic_tonic.storage import Place, free_bytes
from difflogic_tonic.storage.space import free_inodes

PARTS = ("data", "raw", "checkpoints", "models", "runs")
COUNT_LIMIT = 200_000
"""Files after which counting ends: on a network file system the count of more would take minutes."""

QUOTA_SECONDS = 10


@dataclass(frozen=True)
class Count:
    """Files below a folder and their bytes; `more` if there are more than were counted."""

    n_files: int
    n_bytes: int
    more: bool = False


@dataclass(frozen=True)
class Quota:
    """What this user has used and may use: KiB of blocks and files; a limit of 0 is none."""

    used_kib: int
    limit_kib: int
    used_files: int
    limit_files: int


@dataclass(frozen=True)
class Usage:
    """One place. `free_files` is 2**31 where the file system does not count files; `quota` None where none is told."""

    place: Place
    parts: dict[str, Count]
    free_bytes: int
    free_files: int
    quota: Quota | None

    @property
    def total(self) -> Count:
        counts = self.parts.values()
        n_files, n_bytes = sum(part.n_files for part in counts), sum(part.n_bytes for part in counts)
        return Count(n_files, n_bytes, any(part.more for part in counts))


def usage_of(place: Place) -> Usage:
    """Count what lies in a place, and ask for its free space and quota."""
    parts = {name: count(place.root / name) for name in PARTS if (place.root / name).is_dir()}
    return Usage(place, parts, free_bytes(place.root), free_inodes(place.root), quota_of(place.root))


def count(folder: Path, limit: int = COUNT_LIMIT) -> Count:
    """Files below a folder, or a file itself; links are not followed, and what may not be read is not counted."""
    if not folder.is_dir():
        return Count(1, folder.lstat().st_size) if folder.exists() else Count(0, 0)
    n_files = n_bytes = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                n_bytes += os.lstat(os.path.join(root, name)).st_size
            except OSError:
                continue  # removed while we counted
            n_files += 1
        if n_files >= limit:
            return Count(n_files, n_bytes, more=True)
    return Count(n_files, n_bytes)


def size_text(n_bytes: int) -> str:
    """Bytes in the largest decimal unit of which there is one: 53.1 MB."""
    size = float(n_bytes)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 999.95 or unit == "TB":
            break
        size /= 1000
    return f"{n_bytes} B" if unit == "B" else f"{size:,.1f} {unit}"


def quota_of(path: Path) -> Quota | None:
    """What the command `quota` says of the file system of `path`; None without it, or without a quota there."""
    command = shutil.which("quota")
    if command is None:
        return None
    call = [command, "-w", "-p", "-f", str(_mount_point(path))]
    try:
        answer = subprocess.run(call, capture_output=True, text=True, timeout=QUOTA_SECONDS, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parse_quota(answer.stdout)


def parse_quota(text: str) -> Quota | None:
    """The last line of `quota -w -p`: file system, then used, soft, hard limit and grace of blocks and of files.

    The soft limit counts where there is one: what is above it is only lent.
    """
    pattern = r"\s*\S+\s+(\d+)\*?\s+(\d+)\s+(\d+)\s+\d+\s+(\d+)\*?\s+(\d+)\s+(\d+)\s+\d+\s*"
    rows = [match for line in text.splitlines() if (match := re.fullmatch(pattern, line))]
    if not rows:
        return None
    used, soft, hard, used_files, soft_files, hard_files = map(int, rows[-1].groups())
    return Quota(used, soft or hard, used_files, soft_files or hard_files)


def _mount_point(path: Path) -> Path:
    path = path.resolve()
    while not os.path.ismount(path):
        path = path.parent
    return path
