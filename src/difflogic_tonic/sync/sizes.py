"""Sizes as people read them, and what the command `quota` says. Needs nothing but Python."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

QUOTA_SECONDS = 10


@dataclass(frozen=True)
class Quota:
    """What this user has used and may use: KiB of blocks and files; a limit of 0 is none."""

    used_kib: int
    limit_kib: int
    used_files: int
    limit_files: int


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
