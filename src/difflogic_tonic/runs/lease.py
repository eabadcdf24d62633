"""Which process a job id belongs to: one file, `runs/.<job_id>.lease`, that its holder keeps young.

Locks lie on network storage, so this is a file made with O_EXCL. Its content says who holds the job (host, process,
SLURM job), its modification time when the holder was last alive. A lease is free at once when its process is known to
be gone: it ran on this host, or in an earlier run of the same SLURM job, whose processes SLURM ends before it starts
the job again. Otherwise it expires after EXPIRY_SECONDS without a heartbeat.

Taking over a dead lease renames it away, and the content that came along tells whether it was still the dead one. What
remains possible where locks lie and others come in just then is two runs of a job for a while: the loser sees at its
next heartbeat that the lease names another, and stops. Their files are whole all the same, as all of them are written
under unique names and renamed.
"""

import json
import logging
import os
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from difflogic_tonic.config import slurm_job_id, slurm_restart_count
from difflogic_tonic.errors import RunExists
from difflogic_tonic.storage import Storage, file_lock, host_of_processes, partial_path, storage_errors

HEARTBEAT_SECONDS = 20.0
EXPIRY_SECONDS = 180.0
"""Several heartbeats, and longer than network file systems keep an old modification time."""

_TRIES = 20

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Holder:
    """Who holds a lease. `born`: when its process was started, in ticks; process ids are used again."""

    token: str
    host: str
    pid: int
    born: int
    slurm_job: str = ""
    slurm_restarts: int = 0

    def __str__(self) -> str:
        slurm = f", SLURM job {self.slurm_job}" if self.slurm_job else ""
        return f"host {self.host.partition('.')[0]}, pid {self.pid}{slurm}"


def this_process() -> Holder:
    pid = os.getpid()
    return Holder(secrets.token_hex(8), host_of_processes(), pid, _born(pid), slurm_job_id(), slurm_restart_count())


def lease_path(storage: Storage, job_id: str) -> Path:
    return lease_beside(storage.project.run_dir(job_id))


def lease_beside(run_dir: Path) -> Path:
    """The lease of the job that this run folder belongs to."""
    return run_dir.with_name(f".{run_dir.name}.lease")


def holder_is_gone(path: Path) -> bool | None:
    """Whether the process that the lease at `path` names is known to have died; None if there is no lease.

    Of another host, or another namespace of process ids, it is not known.
    """
    try:
        holder = _read(path)
    except OSError:
        return None
    if holder is None or holder.host != host_of_processes():
        return False
    return _born(holder.pid) != holder.born


@contextmanager
def lease(storage: Storage, job_id: str, on_lost: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold `job_id` for this process. Raises `RunExists`, one line that names the holder, if another lives.

    `on_lost` is called, once and from a thread, if another process takes over all the same.
    """
    path = lease_path(storage, job_id)
    me = this_process()
    with storage_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        with file_lock(path.with_name(f".{job_id}.lock")):  # one after another, where locks do not lie
            _take(path, me, job_id)
    ended = threading.Event()
    beat = threading.Thread(target=_keep_young, args=(path, me, ended, on_lost), name="lease", daemon=True)
    beat.start()
    try:
        yield
    finally:
        ended.set()
        beat.join()
        with suppress(OSError):
            if _read(path) == me:
                path.unlink()


def _take(path: Path, me: Holder, job_id: str) -> None:
    for _ in range(_TRIES):
        if _create(path, me):
            return
        try:
            holder, age = _read(path), _age_seconds(path)
        except FileNotFoundError:
            continue  # given back, or just being taken over
        if _lives(holder, age, me):
            raise RunExists(_refusal(job_id, holder, age, path))
        _put_aside(path, holder, me)
    raise RunExists(f"job {job_id} is being started by several processes at once; start one of them again")


def _create(path: Path, me: Holder) -> bool:
    """Make the file; False if there is one."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "wb") as file:
        file.write(json.dumps(asdict(me)).encode())
        file.flush()
        os.fsync(file.fileno())
    return True


def _read(path: Path) -> Holder | None:
    """Who holds it; None where the file says nothing (its maker is writing it, or died)."""
    try:
        content = json.loads(path.read_bytes())
        return Holder(**{item.name: content[item.name] for item in fields(Holder)})
    except (ValueError, KeyError, TypeError):
        return None


def _age_seconds(path: Path) -> float:
    """Seconds since the last heartbeat, both times by the clock of the file system's server."""
    probe = partial_path(path)
    try:
        probe.write_bytes(b"")
        return probe.stat().st_mtime - path.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)


def _lives(holder: Holder | None, age: float, me: Holder) -> bool:
    if holder is not None and holder.host == me.host:
        return _born(holder.pid) == holder.born
    same_job = holder is not None and me.slurm_job and holder.slurm_job == me.slurm_job
    if holder is not None and same_job and holder.slurm_restarts < me.slurm_restarts:
        return False
    return age < EXPIRY_SECONDS


def _refusal(job_id: str, holder: Holder | None, age: float, path: Path) -> str:
    stop = f"stop it (scancel {holder.slurm_job})" if holder and holder.slurm_job else "stop it"
    heard = f", last heard of {max(0, age):.0f} s ago" if holder is None or holder.host != host_of_processes() else ""
    return (
        f"job {job_id} is running in another process ({holder or path}{heard}); wait for it, {stop}, or choose another "
        f"job id" + (f"; if that process is dead, this lifts {EXPIRY_SECONDS:.0f} s after it" if heard else "")
    )


def _put_aside(path: Path, dead: Holder | None, me: Holder) -> None:
    """Rename a dead lease away. If another process was faster, what is renamed is its living one: put that back."""
    aside = path.with_name(f"{path.name}-{me.token}")
    with suppress(FileNotFoundError):
        path.rename(aside)
        if _read(aside) != dead:
            with suppress(FileExistsError):
                os.link(aside, path)
        aside.unlink()


def _keep_young(path: Path, me: Holder, ended: threading.Event, on_lost: Callable[[], None] | None) -> None:
    while not ended.wait(HEARTBEAT_SECONDS):
        try:
            if _read(path) == me:
                os.utime(path)
                continue
        except FileNotFoundError:
            # Somebody removed it; whoever makes it anew first has it.
            with suppress(OSError):
                if _create(path, me):
                    continue
        except OSError:
            continue  # storage is away: nobody else can take the lease either
        if ended.wait(1.0) or _is_mine(path, me):  # not while another process renames it to and fro
            continue
        log.error("another process has taken over this job (%s); stopping", path)
        if on_lost is not None:
            on_lost()
        return


def _is_mine(path: Path, me: Holder) -> bool:
    try:
        return _read(path) == me
    except OSError:
        return True  # cannot be told now


def _born(pid: int) -> int:
    """When the process was started, in clock ticks since this machine was; 0 if it is not there, or cannot be told."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return _born_without_proc(pid)
    state, *rest = stat.rpartition(")")[2].split()
    return 0 if state == "Z" else int(rest[18])


def _born_without_proc(pid: int) -> int:
    """1 for a process that lives, where there is no /proc to ask (macOS)."""
    if Path("/proc/self/stat").exists():
        return 0
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return 0
    except PermissionError:
        pass
    return 1
