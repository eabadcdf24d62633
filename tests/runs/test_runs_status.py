"""`status.json`: what is carried from start to start, and what the job script is told."""

import json
from pathlib import Path

import pytest

from difflogic_tonic.runs.folder import RunFolder, open_run
from difflogic_tonic.runs.status import begin_status, read_status, write_status
from difflogic_tonic.storage import Storage


@pytest.fixture
def folder(storage: Storage) -> RunFolder:
    return open_run(storage, "job", "new")


def test_restarts_and_lost_steps_are_summed_over_the_starts(folder: RunFolder) -> None:
    assert begin_status(folder, None) == 0
    write_status(folder, state="running", step=50, saves=2)
    assert begin_status(folder, step=40) == 10
    assert begin_status(folder, step=40, known=45) == 5  # metrics.jsonl knew of more than the status
    status = read_status(folder)
    assert (status["restarts"], status["lost_steps"], status["step"], status["saves"]) == (2, 15, 40, 2)
    begin_status(folder, None)
    assert (read_status(folder)["restarts"], read_status(folder)["lost_steps"]) == (0, 0)


def test_a_start_from_nothing_begins_at_epoch_0_whatever_was_there(folder: RunFolder) -> None:
    write_status(folder, state="running", epoch=3, step=50)
    begin_status(folder, step=40)
    assert (read_status(folder)["epoch"], read_status(folder)["step"]) == (3, 40)
    begin_status(folder, None)
    assert (read_status(folder)["epoch"], read_status(folder)["step"]) == (0, 0)


def test_a_failure_keeps_where_the_run_was(folder: RunFolder) -> None:
    write_status(folder, state="running", epoch=3, step=50)
    write_status(folder, state="failed", exit_code=9)
    status = read_status(folder)
    assert (status["state"], status["step"], status["epoch"], status["requeue"]) == ("failed", 50, 3, False)


def test_a_damaged_status_is_as_good_as_none(folder: RunFolder) -> None:
    folder.status.write_text("{")
    assert read_status(folder) == {}
    write_status(folder, state="running")


def test_the_job_script_learns_exit_code_and_step(
    folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = tmp_path / "report"
    monkeypatch.setenv("JOB_REPORT", str(report))
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "3")
    write_status(folder, state="running", step=7)
    assert not report.exists()
    write_status(folder, state="stopped", exit_code=75)
    assert report.read_text() == "75 step-7\n"
    content = json.loads(folder.status.read_text())
    assert (content["requeue"], content["slurm_job"], content["slurm_restarts"]) == (True, "77", 3)
    monkeypatch.setenv("JOB_REPORT", str(tmp_path / "nowhere" / "report"))
    write_status(folder, state="stopped", exit_code=75)  # a warning in the log, no more
