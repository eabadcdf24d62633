"""A running job seen from outside: its progress, its end, its death."""

import io
import json
import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from difflogic_tonic.config import StoragePaths
from difflogic_tonic.errors import RunError
from difflogic_tonic.report.reading import read_run
from difflogic_tonic.report.watch import QUIET_SECONDS, follow, progress_line, reason_of_death
from difflogic_tonic.runs.folder import RunFolder
from difflogic_tonic.runs.lease import Holder, lease, lease_beside
from difflogic_tonic.runs.status import SHORT_EPOCH_SECONDS, write_status
from difflogic_tonic.storage import host_of_processes, open_storage

MakeRun = Callable[..., RunFolder]


def set_status(files: RunFolder, **facts: object) -> None:
    known = {"state": "running", "epoch": 2, "epochs": 4, "step": 10, "host": socket.gethostname(), "time": time.time()}
    files.status.write_text(json.dumps(known | facts))
    files.summary.unlink(missing_ok=True)


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def test_the_line_says_where_the_run_is_and_when_it_ends(make_run: MakeRun) -> None:
    files = make_run("job")
    rows = files.metrics.read_text().splitlines()
    epoch = json.loads(rows[-1]) | {"seconds": 60.0, "test_recording_accuracy": 0.875, "train_samples_per_second": 1234}
    files.metrics.write_text("\n".join([*rows[:-1], json.dumps(epoch)]) + "\n")
    set_status(files, time=20.0)
    line = progress_line(read_run(files.path), now=30.0)
    assert "job running  epoch 2/4, step 10" in line
    assert "test 87.50%" in line
    assert "1,234 samples/s" in line
    assert f"ends about {time.strftime('%Y-%m-%d %H:%M', time.localtime(20 + 2 * 60))}" in line


@pytest.mark.parametrize(("seconds", "known"), [(SHORT_EPOCH_SECONDS - 1, False), (SHORT_EPOCH_SECONDS, True)])
def test_a_short_first_epoch_does_not_say_when_the_run_ends(make_run: MakeRun, seconds: float, known: bool) -> None:
    files = make_run("job")
    files.metrics.write_text(
        json.dumps({"kind": "epoch", "step": 5, "epoch": 1, "time": 20, "seconds": seconds}) + "\n"
    )
    set_status(files, epoch=1, time=20.0)
    assert ("ends about" in progress_line(read_run(files.path), now=30.0)) == known


def test_a_run_that_is_quiet_for_long_is_pointed_out(make_run: MakeRun) -> None:
    files = make_run("job")
    set_status(files, time=20.0)
    assert "nothing new for" not in progress_line(read_run(files.path), now=20.0 + QUIET_SECONDS)
    assert "nothing new for 20 minutes" in progress_line(read_run(files.path), now=20.0 + 2 * QUIET_SECONDS)


def test_a_run_whose_process_is_gone_is_dead(make_run: MakeRun, sleeper: subprocess.Popen) -> None:
    files = make_run("job")
    set_status(files, pid=sleeper.pid)
    assert reason_of_death(read_run(files.path)) is None
    sleeper.kill()
    sleeper.wait()
    with pytest.raises(RunError, match=f"dead: .*process {sleeper.pid} is gone.*--resume"):
        follow(files, io.StringIO())
    set_status(files, pid=sleeper.pid, saves=0)
    assert "--fresh starts it anew" in str(reason_of_death(read_run(files.path)))


def test_the_command_that_goes_on_can_be_copied_from_a_folder_with_blanks(tmp_path: Path) -> None:
    files = RunFolder(tmp_path / "my runs" / "job")
    files.path.mkdir(parents=True)
    set_status(files, state="stopping")
    words = shlex.split(str(reason_of_death(read_run(files.path))).partition("; ")[2])
    assert words[:4] == ["./train.sh", str(files.config), "job", "--resume"]


@pytest.mark.parametrize(
    ("host", "gone"),
    [(host_of_processes(), True), (f"{socket.gethostname()}.1", False), ("elsewhere", False)],
    ids=["a later process with its number", "a container with numbers of its own", "another host"],
)
def test_a_lease_tells_more_than_the_number_of_a_process(make_run: MakeRun, host: str, gone: bool) -> None:
    files = make_run("job")
    set_status(files, pid=os.getpid())
    assert reason_of_death(read_run(files.path)) is None
    lease_beside(files.path).write_text(json.dumps(asdict(Holder("token", host, os.getpid(), born=1))))
    assert (reason_of_death(read_run(files.path)) is not None) == gone


def test_a_process_that_holds_the_job_lives(make_run: MakeRun, tmp_path: Path) -> None:
    files = make_run("job")
    set_status(files, pid=os.getpid())
    with lease(open_storage(StoragePaths(tmp_path, tmp_path)), "job"):
        assert read_run(files.path).state == "running"


def test_of_another_host_nobody_knows_whether_the_process_lives(make_run: MakeRun, sleeper: subprocess.Popen) -> None:
    files = make_run("job")
    sleeper.kill()
    sleeper.wait()
    set_status(files, pid=sleeper.pid, host="elsewhere")
    assert reason_of_death(read_run(files.path)) is None


def test_watching_ends_when_the_job_ends_with_its_exit_code(make_run: MakeRun, sleeper: subprocess.Popen) -> None:
    files, out = make_run("job"), io.StringIO()
    set_status(files, pid=sleeper.pid)

    def the_job_goes_on() -> None:
        write_status(files, state="stopped", epoch=2, epochs=4, step=12, exit_code=75, reason="SIGUSR1")

    assert follow(files, out, pause=the_job_goes_on) == 75
    first, last = out.getvalue().splitlines()
    assert first.startswith("job running")
    assert last.startswith("job stopped")
    assert "SIGUSR1" in last


def test_without_a_terminal_a_line_is_written_once(make_run: MakeRun, sleeper: subprocess.Popen) -> None:
    files, out, pauses = make_run("job"), io.StringIO(), iter(range(5))
    set_status(files, pid=sleeper.pid)

    def nothing_happens() -> None:
        if next(pauses) == 4:
            write_status(files, state="finished", exit_code=0)
            files.summary.write_text('{"job_id": "job"}')

    assert follow(files, out, pause=nothing_happens) == 0
    assert len(out.getvalue().splitlines()) == 2
    assert "\033" not in out.getvalue()


def test_a_folder_without_a_status_has_nothing_to_watch(make_run: MakeRun) -> None:
    files = make_run("job")
    files.status.unlink()
    files.summary.unlink()
    with pytest.raises(RunError, match="unfinished"):
        follow(files, io.StringIO())
