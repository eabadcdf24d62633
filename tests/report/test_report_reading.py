"""A run folder is read as far as it can be, and every part that cannot is named with its reason."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from difflogic_tonic.errors import RunError
from difflogic_tonic.report.reading import RecordedRun, read_run
from difflogic_tonic.runs.folder import RunFolder
from difflogic_tonic.runs.metrics import EVENT_FILE

MakeRun = Callable[..., RunFolder]


def problems(run: RecordedRun) -> list[str]:
    return [str(problem) for problem in run.problems]


def cut(path: Path, n_bytes: int) -> None:
    os.truncate(path, path.stat().st_size - n_bytes)


def test_a_finished_run_is_read_whole(make_run: MakeRun) -> None:
    run = read_run(make_run("cnn_3", {"test_recording_accuracy": 0.75}).path)
    assert (run.job_id, run.state, run.reason, run.problems) == ("cnn_3", "finished", "", ())
    assert (run.value("base.seed"), run.value("model.cnn.hidden")) == (3, None)
    assert run.summary["test_recording_accuracy"] == 0.75
    assert run.environment["packages"] == {"torch": "2.13.0"}
    assert [row["loss"] for row in run.step_rows] == [1.0, 0.5]
    assert [row["epoch"] for row in run.epoch_rows] == [1, 2]
    assert run.commands == ("2026-01-01T00:00:00+00:00 host: main.py c.yaml job",)


def test_a_missing_summary_of_a_finished_run_is_told(make_run: MakeRun) -> None:
    files = make_run()
    files.summary.unlink()
    run = read_run(files.path)
    assert (run.state, run.summary, problems(run)) == ("unfinished", {}, ["summary.json: missing"])
    assert run.reason == "no summary.json, 4 rows of metrics"


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ({"state": "running", "epoch": 1, "epochs": 2, "step": 7}, "1 of 2 epochs, step 7"),
        (
            {"state": "stopped", "epoch": 0, "epochs": 2, "step": 3, "reason": "SIGTERM"},
            "0 of 2 epochs, step 3: SIGTERM",
        ),
        ({"state": "starting", "step": 3}, "starting from step 3"),
        ({"state": "failed", "reason": "StorageFull: two\nlines"}, "? of ? epochs, step ?: StorageFull: two lines"),
    ],
)
def test_a_run_without_its_end_says_how_far_it_came(make_run: MakeRun, status: dict[str, object], reason: str) -> None:
    files = make_run()
    files.summary.unlink()
    files.status.write_text(json.dumps(status))
    run = read_run(files.path)
    state = "running" if status["state"] == "starting" else status["state"]
    assert (run.state, run.reason, run.problems) == (state, reason, ())


def test_rows_before_a_cut_are_kept_and_the_cut_is_told(make_run: MakeRun) -> None:
    files = make_run()
    cut(files.metrics, 9)
    run = read_run(files.path)
    assert (len(run.rows), problems(run)) == (3, ["metrics.jsonl: ends inside row 4"])


def test_rows_after_a_damaged_one_are_not_trusted(make_run: MakeRun) -> None:
    files = make_run()
    lines = files.metrics.read_bytes().split(b"\n")
    files.metrics.write_bytes(b"\n".join([lines[0], b"\xff{", *lines[2:]]))
    run = read_run(files.path)
    assert (len(run.rows), problems(run)) == (1, ["metrics.jsonl: row 2 is damaged; left out, as are 2 after it"])


@pytest.mark.parametrize("name", ["kind", "step", "epoch", "time"])
@pytest.mark.parametrize("value", ["absent", None, [3]])
def test_a_row_that_does_not_say_where_it_belongs_is_damaged(make_run: MakeRun, name: str, value: object) -> None:
    files = make_run()
    rows = [json.loads(line) for line in files.metrics.read_text().splitlines()]
    rows[-1][name] = value
    if value == "absent":
        del rows[-1][name]
    files.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = read_run(files.path)
    assert (len(run.rows), problems(run)) == (3, ["metrics.jsonl: row 4 is damaged; left out, as are 0 after it"])


@pytest.mark.parametrize("n_bytes", [1, 4, 30])
def test_a_half_written_event_file_is_told(make_run: MakeRun, n_bytes: int) -> None:
    files = make_run()
    cut(files.tensorboard / EVENT_FILE, n_bytes)
    (problem,) = problems(read_run(files.path))
    assert problem.startswith(f"{EVENT_FILE}: damaged (ends inside a record that begins at byte ")


def test_every_part_may_be_anything(make_run: MakeRun) -> None:
    """Garbage of several kinds in every file: a reason for each, and no exception."""
    for number, garbage in enumerate([b"", b"\x00\xff\x80", b"[1, 2]", b'"text"', b"{", b"null", b"a: [b", b"5\n5\n"]):
        files = make_run(f"job_{number}")
        parts = [path for path in files.path.iterdir() if path.is_file()] + [files.tensorboard / EVENT_FILE]
        for path in parts:
            path.write_bytes(garbage)
        run = read_run(files.path)
        assert run.state == "unreadable"
        assert {problem.part for problem in run.problems} >= {"config.yaml", "summary.json", "environment.json"} or (
            garbage == b""
        )


def test_a_folder_that_is_no_run_says_so(tmp_path: Path) -> None:
    run = read_run(tmp_path)
    assert (run.state, run.reason) == ("unreadable", "not a run folder")


def test_a_part_that_is_a_folder_is_a_reason(make_run: MakeRun) -> None:
    files = make_run()
    files.summary.unlink()
    files.summary.mkdir()
    assert problems(read_run(files.path)) == ["summary.json: cannot be read (Is a directory)"]


def test_predictions_of_an_older_run_are_missed_by_name(make_run: MakeRun) -> None:
    files = make_run()
    with pytest.raises(RunError, match=r"predictions\.npz: not there; runs of older versions have none"):
        read_run(files.path).predictions()
    files.predictions.write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(RunError, match=r"predictions\.npz: damaged"):
        read_run(files.path).predictions()
