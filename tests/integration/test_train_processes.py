"""Real processes: signals at every stage, exit codes, two runs of one job, full disks."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

pytestmark = pytest.mark.integration
LONG = 10_000  # epochs: more than any of these tests waits for


def status(laboratory: Any, job: str = "job") -> dict[str, Any]:
    content: dict[str, Any] = json.loads((laboratory.project / "runs" / job / "status.json").read_text())
    return content


def start_main(laboratory: Any, repository: Path) -> "subprocess.Popen[str]":
    """`python main.py` as a user's shell starts it."""
    places = {"PROJECT_STORAGE_DIR": str(laboratory.project), "SCRATCH_STORAGE_DIR": str(laboratory.scratch)}
    return subprocess.Popen(
        [sys.executable, "main.py", *laboratory.arguments()],
        cwd=repository,
        env=os.environ | places | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def read_until(process: "subprocess.Popen[str]", text: str) -> str:
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if text in line:
            return seen
    pytest.fail(f"ended without saying {text!r}: {seen}")


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 75), ("SIGUSR1", 75), ("SIGINT", 130)])
def test_a_signal_is_obeyed_within_a_step_and_the_run_goes_on_bit_by_bit(
    name: str, code: int, laboratory: Any, repository: Path
) -> None:
    laboratory.write_config("MLP", epochs=20, schedule="none")
    laboratory.main(job="whole")
    laboratory.write_config("MLP", epochs=LONG, schedule="none")
    child = laboratory.fork()
    child.until("epoch 3/")
    sent = time.monotonic()
    child.send(name)
    assert child.wait() == code
    assert time.monotonic() - sent < 5
    assert f"stopped by {name} and saved" in child.text
    stopped = status(laboratory)
    assert (stopped["state"], stopped["exit_code"], stopped["requeue"]) == ("stopped", code, code == 75)
    assert 3 <= stopped["epoch"] < 20, "too slow a machine for this test"
    laboratory.write_config("MLP", epochs=20, schedule="none")
    child = laboratory.fork("--resume")
    assert child.wait() == 0, child.text
    assert f"resumed from {laboratory.scratch}" in child.text
    whole = laboratory.weights(job="whole")
    assert all(torch.equal(whole[key], weight) for key, weight in laboratory.weights().items())


@pytest.mark.parametrize(("name", "delay"), [("SIGTERM", 0.1), ("SIGUSR1", 0.6), ("SIGTERM", 1.5), ("SIGUSR1", 2.5)])
def test_a_signal_during_the_imports_is_no_failure(name: str, delay: float, laboratory: Any, repository: Path) -> None:
    laboratory.write_config("MLP", epochs=LONG)
    with start_main(laboratory, repository) as process:
        # The handler is there once the process ignores or catches the signal; before that, it is Python starting up.
        while not catches(process.pid, name):
            time.sleep(0.001)
        time.sleep(delay)
        process.send_signal(getattr(signal, name))
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 75, output
    assert f"stopped by {name}" in output
    assert "Traceback" not in output


def catches(pid: int, name: str) -> bool:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) >> (getattr(signal, name) - 1) & 1)
    return False


def test_ctrl_c_saves_and_exits_130_and_resume_finishes(laboratory: Any, repository: Path) -> None:
    laboratory.write_config("MLP", epochs=LONG)
    with start_main(laboratory, repository) as process:
        read_until(process, "epoch 2/")
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "continue with --resume" in output
    done = status(laboratory)["epoch"]
    child = laboratory.fork_main(repository, "--resume", "--override", f"train.epochs={done + 1}")
    assert child.wait() == 0, child.text
    assert "recording accuracy" in child.text


def test_a_requeued_job_resumes_by_itself(laboratory: Any, repository: Path) -> None:
    laboratory.write_config("MLP", epochs=1)
    for epochs in (1, 2):  # without a checkpoint it starts, with one it goes on
        options = ("--override", f"train.epochs={epochs}")
        child = laboratory.fork_main(repository, *options, SLURM_RESTART_COUNT="1")
        assert child.wait() == 0, child.text
    assert [row["epoch"] for row in laboratory.rows() if row["kind"] == "epoch"] == [1, 2]


def test_a_fresh_job_that_is_requeued_goes_on(laboratory: Any, repository: Path) -> None:
    laboratory.write_config("MLP", epochs=1)
    laboratory.main()
    for epochs, restarts in ((1, 0), (2, 1)):
        options = ("--fresh", "--override", f"train.epochs={epochs}")
        child = laboratory.fork_main(repository, *options, SLURM_RESTART_COUNT=str(restarts))
        assert child.wait() == 0, child.text
    assert len(list((laboratory.project / "runs").glob("job.old-*"))) == 1
    assert "resumed from" in child.text


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--resume",), 7, "error: job job has no checkpoint"),
        (("--override", "train.epoch=3"), 2, "did you mean train.epochs?"),
        (("--override", "data.variant=0123456789ab"), 4, "error: "),
    ],
)
def test_errors_are_one_line_with_their_exit_code(
    options: tuple[str, ...], code: int, message: str, laboratory: Any, repository: Path
) -> None:
    laboratory.write_config("MLP")
    child = laboratory.fork_main(repository, *options)
    assert child.wait() == code
    assert message in child.text
    assert len([line for line in child.text.splitlines() if line.startswith("error: ")]) == 1
    assert "Traceback" not in child.text


def test_two_runs_of_one_job_are_refused(laboratory: Any) -> None:
    laboratory.write_config("MLP", epochs=LONG)
    first = laboratory.fork()
    first.until("epoch 1/")
    for option in ("--resume", "--fresh"):
        laboratory.root.joinpath("job.out").rename(laboratory.root / "first.out")
        first.output = laboratory.root / "first.out"
        second = laboratory.fork(option)
        assert second.wait() == 6, second.text
        assert f"running in another process (host {os.uname().nodename}, pid {first.pid})" in second.text
        laboratory.root.joinpath("first.out").rename(laboratory.root / "job.out")
        first.output = laboratory.root / "job.out"
    first.send("SIGTERM")
    assert first.wait() == 75


@pytest.fixture
def small_disk(tmp_path: Path) -> Path:
    """A file system of 6 MB, really full when it is full."""
    folder = tmp_path / "small-disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a tmpfs needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(path: Path) -> None:
    """Write until there is no space left."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        while True:
            os.write(descriptor, b"0" * 4096)
    except OSError:
        os.close(descriptor)


def test_a_disk_that_fills_up_costs_checkpoints_but_not_the_run(laboratory: Any, small_disk: Path) -> None:
    """Scratch is full after the first checkpoint and project is the same place: training goes on and says so; a stop,
    which could not be saved, is an error, and a resume goes on from the newest checkpoint that there was room for."""
    (small_disk / "data").symlink_to(laboratory.scratch / "data")
    laboratory.scratch = laboratory.project = small_disk
    laboratory.write_config("MLP", epochs=LONG, checkpoint_interval_minutes=1e-9)
    child = laboratory.fork()
    child.until("epoch 2/")
    assert sorted((small_disk / "checkpoints" / "job").glob("step-*.pt"))
    fill(small_disk / "fill")
    child.until("no space left")
    newest = int(re.findall(r"^epoch (\d+)/", child.text, re.MULTILINE)[-1])
    child.until(f"epoch {newest + 2}/")
    child.send("SIGTERM")
    assert child.wait() == 5, child.text
    lines = child.text.splitlines()
    assert lines[-1].startswith("error: no space left")
    assert "--resume" in lines[-1]
    assert "Traceback" not in child.text
    (small_disk / "fill").unlink()
    child = laboratory.fork("--resume", "--override", f"train.epochs={newest + 4}")
    assert child.wait() == 0, child.text
    steps = [row["step"] for row in laboratory.rows() if row["kind"] == "step"]
    assert steps == sorted(set(steps))
