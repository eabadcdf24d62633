"""The doctor's look at a storage place: there, writable, room, quota, speed, locks, clock. Needs nothing but Python."""

import errno
import fcntl
import os
import shlex
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from difflogic_tonic.sync.finding import Finding
from difflogic_tonic.sync.sizes import quota_of, size_text

VARIABLES = {"scratch": "SCRATCH_STORAGE_DIR", "project": "PROJECT_STORAGE_DIR"}
LOW_BYTES = 5_000_000_000
LOW_FILES = 10_000
SPEED_BYTES, SPEED_BLOCK, SPEED_SECONDS = 32 << 20, 4 << 20, 2.0
SLOW_BYTES_PER_SECOND = 20_000_000
"""Below this a checkpoint of a large network takes longer to write than a short interval between two."""

SKEW_SECONDS = 5.0
UNCOUNTED = 2**31
"""Free files where the file system does not count them."""


def check_places(variables: Mapping[str, str], scratch: Path, project: Path) -> list[Finding]:
    """Whether both places are named, and two."""
    unset = [name for name in VARIABLES.values() if not variables.get(name, "").strip()]
    for name in VARIABLES.values():
        text = variables.get(name, "").strip()
        if text and not os.path.isabs(os.path.expanduser(text)):
            return [Finding("storage", "failure", f"{name}={text} is not absolute", f"export {name}=/an/absolute/path")]
    how = "set them in helper_scripts/project_variables.local.sh, a copy of helper_scripts/project_variables.sh"
    if unset:
        one = f"{' and '.join(unset)} not set: both places are {project}"
        return [Finding("storage", "note", one, f"on a cluster: {how}")]
    if scratch.resolve() == project.resolve():
        return [Finding("storage", "note", f"scratch and project storage are one folder, {project}")]
    return [Finding("storage", "ok", "scratch and project storage are two places")]


def check_place(name: str, root: Path) -> list[Finding]:
    """Everything about one place; only whether it is there, if it is not."""
    at, variable = f"{name} storage", VARIABLES[name]
    instead = f"or set {variable} to a folder that can be written"
    if not root.exists():
        return [_absent(at, root, instead)]
    if not root.is_dir():
        return [Finding(at, "failure", f"{root} is no folder", f"move it away, {instead}")]
    room = [_room(at, root), *_quota(at, root)]
    try:
        with tempfile.TemporaryDirectory(prefix=".doctor-", dir=root) as folder:
            return [Finding(at, "ok", f"{root} can be written"), *room, *_trials(at, Path(folder))]
    except OSError as error:
        fix = {
            errno.ENOSPC: f"make room there: ./check_and_sync_data.sh gc; {instead}",
            errno.EDQUOT: f"make room there: ./check_and_sync_data.sh gc; {instead}",
            errno.EROFS: f"mount it writable, {instead}",
        }.get(error.errno or 0, f"mend its permissions, {instead}")
        return [Finding(at, "failure", f"{root} cannot be written: {error.strerror}", fix), *room]


def _absent(at: str, root: Path, instead: str) -> Finding:
    """What keeps a place that is not there from being made, if anything does."""
    for link in (root, *root.parents):
        if link.is_symlink() and not link.exists():  # nothing can be made where it stands
            text = f"{link} is a link to {os.readlink(link)}, which is not there"
            return Finding(at, "failure", text, f"mount it, {instead}")
    parent = next(folder for folder in root.parents if folder.exists())
    if not parent.is_dir():
        return Finding(at, "failure", f"{parent} is no folder", f"move it away, {instead}")
    if not os.access(parent, os.W_OK | os.X_OK):
        return Finding(at, "failure", f"{root} is not there and {parent} cannot be written", f"mount it, {instead}")
    make = f"mkdir -p {shlex.quote(str(root))}"
    return Finding(at, "warning", f"{root} is not there yet; the first run makes it", make)


def _room(at: str, root: Path) -> Finding:
    facts = os.statvfs(root)
    free = facts.f_bavail * facts.f_frsize
    files = facts.f_favail if facts.f_files else UNCOUNTED
    text = f"free: {size_text(free)}" + ("" if files >= UNCOUNTED else f" and {files:,} files")
    few = "; many small files are what a packed dataset avoids" if files < LOW_FILES else ""
    if free < LOW_BYTES or files < LOW_FILES:
        return Finding(at, "warning", text + few, "make room there: ./check_and_sync_data.sh gc")
    return Finding(at, "ok", text)


def _quota(at: str, root: Path) -> list[Finding]:
    quota = quota_of(root)
    if quota is None:
        return []
    used = f"{size_text(quota.used_kib * 1024)} of {size_text(quota.limit_kib * 1024)}, {quota.used_files:,} files"
    if (quota.limit_kib and quota.used_kib > 0.95 * quota.limit_kib) or (
        quota.limit_files and quota.used_files > 0.95 * quota.limit_files
    ):
        return [Finding(at, "warning", f"quota: {used}", "make room there: ./check_and_sync_data.sh gc")]
    return [Finding(at, "ok", f"quota: {used}")]


def _trials(at: str, folder: Path) -> list[Finding]:
    speed = _write_speed(folder / "speed")
    findings = [Finding(at, "ok", f"writes {size_text(int(speed))} a second, flushed to its disk")]
    if speed < SLOW_BYTES_PER_SECOND:
        slow = f"writes only {size_text(int(speed))} a second, flushed to its disk"
        findings = [Finding(at, "warning", slow, "use it for what must persist, and faster storage as scratch")]
    findings.append(_locks(at, folder / "lock"))
    before = time.time()
    (folder / "clock").write_bytes(b"x")
    skew = (folder / "clock").stat().st_mtime - before
    if abs(skew) > SKEW_SECONDS:
        text = f"its clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} that of this host"
        return [
            *findings,
            Finding(at, "warning", text, "have both synchronised (NTP); ages of files are wrong until then"),
        ]
    return [*findings, Finding(at, "ok", "its clock agrees with that of this host")]


def _write_speed(path: Path) -> float:
    """Bytes a second of a sequential write with its flush; at most SPEED_BYTES, and not much longer than
    SPEED_SECONDS.
    """
    block = os.urandom(SPEED_BLOCK)
    written, started = 0, time.perf_counter()
    with path.open("wb", buffering=0) as file:
        while written < SPEED_BYTES and time.perf_counter() - started < SPEED_SECONDS:
            written += file.write(block)
            os.fsync(file.fileno())
    return written / max(1e-9, time.perf_counter() - started)


def _locks(at: str, path: Path) -> Finding:
    """Whether a second descriptor is refused what the first has locked."""
    first, second = (os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC) for _ in range(2))
    advice = "nothing breaks, but jobs that start together may each copy the same data"
    try:
        fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return Finding(at, "ok", "file locks work")
    except OSError as error:
        return Finding(at, "warning", f"there are no file locks ({error.strerror})", advice)
    finally:
        os.close(first)
        os.close(second)
    return Finding(at, "warning", "file locks lie: two had the same one", advice)
