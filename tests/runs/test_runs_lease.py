"""The lease on a job id: held by one living process, taken over at once from a dead one that can be known as such."""

import dataclasses
import json
import os
import threading
import time
from pathlib import Path

import pytest

from difflogic_tonic.errors import RunExists
from difflogic_tonic.runs import lease as lease_module
from difflogic_tonic.runs.lease import EXPIRY_SECONDS, Holder, lease, lease_path, this_process
from difflogic_tonic.storage import Storage

ELSEWHERE = Holder("abc", "other.4026531836", 4711, 12345, "77", 1)


def held_by(storage: Storage, holder: Holder, seconds_ago: float = 0.0) -> Path:
    """A lease file of `holder` whose last heartbeat was `seconds_ago`."""
    path = lease_path(storage, "job")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(dataclasses.asdict(holder)))
    beat = time.time() - seconds_ago
    os.utime(path, (beat, beat))
    return path


def test_a_second_process_is_refused_while_the_first_lives(storage: Storage) -> None:
    read, _keeps_it_open = os.pipe()
    ready_read, ready_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        with lease(storage, "job"):
            os.write(ready_write, b"1")
            os.read(read, 1)
        os._exit(0)
    os.read(ready_read, 1)
    try:
        with pytest.raises(RunExists, match=f"running in another process .host .*, pid {pid}"), lease(storage, "job"):
            pass
        with lease(storage, "another"):
            pass
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    with lease(storage, "job"):  # a dead holder holds nothing, however young its last heartbeat
        pass
    assert not lease_path(storage, "job").exists()


def test_a_process_id_that_is_used_again_is_not_the_holder(storage: Storage) -> None:
    held_by(storage, dataclasses.replace(this_process(), born=1))
    with lease(storage, "job"):
        pass


def test_a_holder_on_another_host_is_known_by_its_heartbeat(storage: Storage) -> None:
    path = held_by(storage, ELSEWHERE, seconds_ago=EXPIRY_SECONDS - 60)
    with pytest.raises(RunExists) as refused, lease(storage, "job"):
        pass
    assert str(refused.value) == (
        "job job is running in another process (host other, pid 4711, SLURM job 77, last heard of 120 s ago); wait for "
        "it, stop it (scancel 77), or choose another job id; if that process is dead, this lifts 180 s after it"
    )
    assert json.loads(path.read_text())["token"] == "abc"
    held_by(storage, ELSEWHERE, seconds_ago=EXPIRY_SECONDS + 60)
    with lease(storage, "job"):
        assert json.loads(path.read_text())["pid"] == os.getpid()
    assert [left.name for left in path.parent.iterdir()] == [".job.lock"]


@pytest.mark.parametrize(("job", "restarts", "taken"), [("77", "2", True), ("77", "1", False), ("78", "2", False)])
def test_the_next_run_of_a_slurm_job_takes_over_at_once(
    job: str, restarts: str, taken: bool, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    held_by(storage, ELSEWHERE)
    monkeypatch.setenv("SLURM_JOB_ID", job)
    monkeypatch.setenv("SLURM_RESTART_COUNT", restarts)
    try:
        with lease(storage, "job"):
            assert taken
    except RunExists:
        assert not taken


def test_a_half_written_lease_is_respected_until_it_is_old(storage: Storage) -> None:
    path = held_by(storage, ELSEWHERE)
    path.write_text("{")
    with pytest.raises(RunExists, match="last heard of 0 s ago"), lease(storage, "job"):
        pass
    os.utime(path, (0, 0))
    with lease(storage, "job"):
        pass


def test_of_many_that_take_over_a_dead_lease_one_gets_it(storage: Storage) -> None:
    """Processes, not threads: each has a token and a name of its own."""
    for _ in range(10):
        held_by(storage, ELSEWHERE, seconds_ago=10 * EXPIRY_SECONDS)
        results, write = os.pipe()
        read_end, end = os.pipe()
        start = time.monotonic() + 0.02
        pids = []
        for _ in range(6):
            pid = os.fork()
            if pid == 0:
                while time.monotonic() < start:
                    pass
                try:
                    with lease(storage, "job"):
                        os.write(write, b"1")
                        os.read(read_end, 1)  # until all have answered
                except RunExists:
                    os.write(write, b"0")
                os._exit(0)
            pids.append(pid)
        answers = b"".join(os.read(results, 1) for _ in pids)
        os.write(end, b"." * len(pids))
        for pid in pids:
            os.waitpid(pid, 0)
        assert sorted(answers) == sorted(b"000001")
        for descriptor in (results, write, read_end, end):
            os.close(descriptor)


def test_the_holder_keeps_it_young_and_learns_that_it_is_lost(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_module, "HEARTBEAT_SECONDS", 0.01)
    lost = threading.Event()
    with lease(storage, "job", lost.set):
        path = lease_path(storage, "job")
        os.utime(path, (0, 0))
        while path.stat().st_mtime < 1:
            time.sleep(0.005)
        path.unlink()  # somebody cleans up: it is made again
        while not path.exists():
            time.sleep(0.005)
        assert not lost.is_set()
        held_by(storage, ELSEWHERE)
        assert lost.wait(10)
    assert json.loads(path.read_text())["token"] == "abc"  # what is not ours stays
