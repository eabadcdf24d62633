"""How many files and bytes a storage place holds, and how many more it can take."""

import os
from dataclasses import dataclass
from pathlib import Path

from difflogic_tonic.storage import Place, free_bytes
from difflogic_tonic.storage.space import free_inodes
from difflogic_tonic.sync.sizes import Quota, quota_of

PARTS = ("data", "raw", "checkpoints", "models", "runs")
COUNT_LIMIT = 200_000
"""Files after which counting ends: on a network file system the count of more would take minutes."""


@dataclass(frozen=True)
class Count:
    """Files below a folder and their bytes; `more` if there are more than were counted."""

    n_files: int
    n_bytes: int
    more: bool = False


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
