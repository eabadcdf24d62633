"""Runs that go on after a stop, or find no room: what is kept, what is refused, and what is advised."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from difflogic_tonic.errors import (
    CacheMissing,
    CheckpointCorrupt,
    CheckpointMissing,
    ResumeMismatch,
    StorageFull,
)

pytestmark = pytest.mark.integration


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())


def test_resume_without_a_checkpoint_is_an_error_and_auto_starts(laboratory: Any) -> None:
    laboratory.write_config("MLP", epochs=1)
    with pytest.raises(CheckpointMissing, match="start it without --resume, or use --resume=auto"):
        laboratory.main("--resume")
    assert not (laboratory.project / "runs" / "job").exists()
    assert laboratory.main("--resume=auto") == 0


def test_a_run_that_died_before_its_first_checkpoint_is_started_with_auto_or_fresh(laboratory: Any) -> None:
    laboratory.write_config("MLP", epochs=1)
    (laboratory.project / "runs" / "job").mkdir(parents=True)
    (laboratory.project / "runs" / "job" / "metrics.jsonl").write_text('{"kind": "step", "step": 1}\n')
    with pytest.raises(CheckpointMissing, match="start anew with --fresh, or use --resume=auto"):
        laboratory.main("--resume")
    assert laboratory.main("--resume=auto") == 0
    assert laboratory.rows()[0]["epoch"] == 1


def test_prepared_data_that_vanish_under_a_run_cost_nothing(laboratory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from difflogic_tonic.cache import SplitReader

    laboratory.write_config("MLP", epochs=2)
    laboratory.main(job="whole")
    read, calls = SplitReader.read_frames, iter(range(10**6))

    def vanishing(reader: SplitReader, frames: Any, out: Any) -> None:
        if next(calls) > 25:  # in the second epoch
            raise CacheMissing("scratch storage was cleaned")
        read(reader, frames, out)

    monkeypatch.setattr(SplitReader, "read_frames", vanishing)
    with pytest.raises(CacheMissing):
        laboratory.main()
    assert "error: scratch storage was cleaned" in (laboratory.project / "runs" / "job" / "log.txt").read_text()
    monkeypatch.undo()
    laboratory.main("--resume")
    whole = laboratory.weights(job="whole")
    assert all(torch.equal(whole[name], weight) for name, weight in laboratory.weights().items())
    steps = [row["step"] for row in laboratory.rows() if row["kind"] == "step"]
    assert steps == list(range(1, len(steps) + 1))


@pytest.mark.parametrize(
    ("override", "both"),
    [
        ("model.mlp.hidden=[17]", r"model.mlp.hidden was \[16\] .* is \[17\]"),
        ("train.dataloader.batch_size=9", "batch_size was 8 .* is 9"),
        ("base.seed=8", "base.seed was 7 .* is 8"),
        ("train.optimizer=sgd", "train.optimizer was adam .* is sgd"),
        ("model.model_type=CNN", "model.model_type was MLP .* is CNN"),
    ],
)
def test_a_resume_as_something_else_shows_both_values(override: str, both: str, laboratory: Any) -> None:
    laboratory.write_config("MLP", epochs=1)
    laboratory.main()
    with pytest.raises(ResumeMismatch, match=both):
        laboratory.main("--resume", "--override", override)


def test_more_epochs_and_another_rate_may_be_resumed(laboratory: Any, capsys: pytest.CaptureFixture[str]) -> None:
    laboratory.write_config("MLP", epochs=1, schedule="none", learning_rate=0.01)
    laboratory.main()
    capsys.readouterr()
    laboratory.main("--resume", "--override", "train.epochs=2 train.learning_rate=0.001")
    assert "changed since the last start: train.epochs 1, now 2" in capsys.readouterr().out
    rates = {row["epoch"]: row["learning_rate"] for row in laboratory.rows() if row["kind"] == "step"}
    assert rates == {1: 0.01, 2: 0.001}
    assert [row["epoch"] for row in laboratory.rows() if row["kind"] == "epoch"] == [1, 2]


def test_a_damaged_newest_checkpoint_falls_back_with_a_warning(
    laboratory: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    laboratory.write_config("MLP", checkpoint_interval_minutes=1e-9)
    laboratory.main()
    whole = laboratory.weights()
    for place in ("scratch", "project"):
        laboratory.checkpoints(place)[-1].write_bytes(b"damaged")
    (laboratory.project / "models" / "job" / "last.pt").unlink()
    capsys.readouterr()
    assert laboratory.main("--resume") == 0
    assert "is damaged" in capsys.readouterr().out
    assert all(torch.equal(whole[name], weight) for name, weight in laboratory.weights().items())


def test_all_checkpoints_damaged_is_refused_but_for_fresh(laboratory: Any) -> None:
    laboratory.write_config("MLP", epochs=1)
    laboratory.main()
    for path in laboratory.checkpoints("scratch") + laboratory.checkpoints("project"):
        path.write_bytes(b"")
    for option in ("--resume", "--resume=auto"):
        with pytest.raises(CheckpointCorrupt):
            laboratory.main(option)
    assert laboratory.main("--fresh") == 0


def test_scratch_may_be_wiped_between_two_starts(laboratory: Any) -> None:
    laboratory.write_config("MLP", epochs=2)
    laboratory.main()
    whole = laboratory.weights()
    laboratory.write_config("MLP", epochs=1)
    laboratory.main(job="second")
    for path in laboratory.checkpoints(job="second"):
        path.unlink()
    laboratory.write_config("MLP", epochs=2)
    laboratory.main("--resume", job="second")
    assert [row["epoch"] for row in laboratory.rows("second") if row["kind"] == "epoch"] == [1, 2]
    assert whole.keys() == laboratory.weights(job="second").keys()


def test_a_disk_too_small_for_the_checkpoints_is_told_before_training(
    laboratory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    laboratory.write_config("MLP")
    monkeypatch.setattr("difflogic_tonic.storage.space.free_bytes", lambda path: 1000)
    with pytest.raises(StorageFull, match="checkpoints in scratch storage needs about"):
        laboratory.main()
    assert laboratory.rows() == []


def test_a_full_disk_for_the_metrics_lets_training_go_on_and_keeps_the_rows(
    laboratory: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from difflogic_tonic.runs.metrics import MetricsLog

    laboratory.write_config("MLP", epochs=2)
    laboratory.main(job="whole")
    append = MetricsLog.append

    def append_until_full(metrics: MetricsLog, row: dict[str, Any]) -> None:
        if metrics.n_rows == 5:
            raise StorageFull("no space left for a row")
        append(metrics, row)

    monkeypatch.setattr(MetricsLog, "append", append_until_full)
    with pytest.raises(StorageFull, match="with --resume"):
        laboratory.main()
    assert capsys.readouterr().out.count("no space left for a row") == 1
    assert len(laboratory.rows()) == 5
    monkeypatch.undo()
    assert laboratory.main("--resume") == 0
    whole = laboratory.weights(job="whole")
    assert all(torch.equal(whole[name], weight) for name, weight in laboratory.weights().items())
    kinds = [(row["kind"], row["step"]) for row in laboratory.rows()]
    assert kinds == [(row["kind"], row["step"]) for row in laboratory.rows("whole")]


def test_auto_keeps_a_finished_run_whose_checkpoints_are_gone(
    laboratory: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    laboratory.write_config("MLP", epochs=1)
    laboratory.main()
    before, rows = laboratory.weights(), laboratory.rows()
    for path in laboratory.checkpoints("scratch") + laboratory.checkpoints("project"):
        path.unlink()
    assert laboratory.main("--resume=auto", "--override", "base.seed=8") == 0
    (aside,) = (laboratory.project / "models").glob("job.old-*")
    assert f"the old run is kept as job {aside.name}" in capsys.readouterr().out
    assert all(torch.equal(before[name], weight) for name, weight in laboratory.weights(job=aside.name).items())
    assert laboratory.rows(aside.name) == rows


def test_a_stopped_run_is_saved_although_its_model_file_finds_no_room(
    laboratory: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from difflogic_tonic.cache import SplitReader
    from difflogic_tonic.train import run as run_module

    laboratory.write_config("MLP", epochs=2)
    read, calls = SplitReader.read_frames, iter(range(10**6))

    def signalling(reader: SplitReader, frames: Any, out: Any) -> None:
        if next(calls) == 25:
            os.kill(os.getpid(), signal.SIGTERM)
        read(reader, frames, out)

    def full(path: Path, model: Any) -> None:
        raise StorageFull(f"no space left for {path.name}")

    monkeypatch.setattr(SplitReader, "read_frames", signalling)
    monkeypatch.setattr(run_module, "save_model", full)
    assert laboratory.main() == 75
    assert laboratory.checkpoints()
    assert "warning: no space left for last.pt" in capsys.readouterr().out


def test_a_resume_with_a_dataset_that_is_not_prepared_shows_both_datasets(laboratory: Any) -> None:
    laboratory.write_config("MLP", epochs=1)
    laboratory.main()
    with pytest.raises(ResumeMismatch, match=r"data\.name was NMNIST .* is DIGITS_DVS"):
        laboratory.main("--resume", "--override", "data.name=DIGITS_DVS")


def test_a_resume_as_another_model_type_names_the_type_first(laboratory: Any) -> None:
    laboratory.write_config("MLP", epochs=1)
    laboratory.main()
    with pytest.raises(ResumeMismatch, match=r"model\.model_type was MLP .* is CNN"):
        laboratory.main("--resume", "--override", "model.model_type=CNN model.cnn.dropout=0.4")


def test_a_resume_does_not_need_the_file_of_the_first_weights(laboratory: Any) -> None:
    laboratory.write_config("MLP", epochs=1)
    laboratory.main()
    first = laboratory.root / "first.pt"
    torch.save(laboratory.weights(), first)
    laboratory.main("--override", f"model.weights={first}", job="second")
    first.unlink()
    options = ("--resume", "--override", f"model.weights={first} train.epochs=2")
    assert laboratory.main(*options, job="second") == 0


def test_a_view_written_out_is_the_one_that_auto_means(laboratory: Any) -> None:
    laboratory.write_config("MLP", epochs=1)
    laboratory.main()
    assert laboratory.main("--resume", "--override", "data.view=frames train.epochs=2") == 0


def test_no_room_before_the_first_checkpoint_advises_to_start_anew(
    laboratory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    laboratory.write_config("MLP")
    monkeypatch.setattr("difflogic_tonic.storage.space.free_bytes", lambda path: 1000)
    with pytest.raises(StorageFull, match="with --fresh"):
        laboratory.main()


def test_an_extended_run_has_no_summary_until_it_is_finished_again(
    laboratory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    laboratory.write_config("MLP", epochs=1)
    laboratory.main()
    summary = laboratory.project / "runs" / "job" / "summary.json"
    assert summary.exists()
    assert laboratory.main("--resume") == 0
    assert summary.exists()

    def gone(*arguments: Any) -> None:
        raise CacheMissing("scratch storage was cleaned")

    extended = ("--resume", "--override", "train.epochs=2")
    monkeypatch.setattr("difflogic_tonic.train.run.fit", gone)
    with pytest.raises(CacheMissing):
        laboratory.main(*extended)
    monkeypatch.undo()
    assert not summary.exists()
    assert laboratory.main(*extended) == 0
    assert read_json(summary)["epochs"] == 2
