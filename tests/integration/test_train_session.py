"""Whole runs in one process: what is printed and written, what is refused, and what changes may be resumed."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from difflogic_tonic.config import StoragePaths
from difflogic_tonic.errors import (
    CacheMissing,
    CheckpointCorrupt,
    CheckpointMissing,
    ConfigError,
    OutOfMemory,
    ResumeMismatch,
    RunError,
    RunExists,
    StorageFull,
    TrainingDiverged,
)

pytestmark = pytest.mark.integration
MODELS = ("DiffLogic", "CNN", "MLP", "SNN")


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())


@pytest.mark.parametrize("model_type", MODELS)
def test_every_model_trains_and_is_evaluated_again_with_the_same_numbers(
    model_type: str, laboratory: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    from difflogic_tonic.train.evaluation import evaluate_run

    laboratory.write_config(model_type)
    assert laboratory.main() == 0
    printed = capsys.readouterr().out.splitlines()
    assert evaluate_run("job", "best", "cpu", StoragePaths(laboratory.scratch, laboratory.project)) == 0
    again = capsys.readouterr().out.splitlines()
    accuracies = [line for line in printed if "accuracy" in line]
    assert accuracies == [line for line in again if "accuracy" in line]
    assert len(accuracies) == (4 if model_type == "DiffLogic" else 2)
    assert all("[subset: 60 of 60,000 train, 20 of 10,000 test]" in line for line in accuracies)
    epochs = [line for line in printed if line.startswith("epoch ")]
    assert len(epochs) == 2
    assert all("[subset: 60 of 60,000 train" in line for line in epochs)


def test_a_run_folder_holds_what_is_promised(laboratory: Any, capsys: pytest.CaptureFixture[str]) -> None:
    laboratory.write_config("DiffLogic")
    laboratory.main()
    folder = laboratory.project / "runs" / "job"
    printed = capsys.readouterr().out
    assert printed.count(f"run folder: {folder}") == 2
    assert printed.count(f"tensorboard --logdir {folder / 'tensorboard'}") == 2
    assert "epoch 2/2" in (folder / "log.txt").read_text()
    assert yaml.safe_load((folder / "config.yaml").read_text())["train"]["dataloader"]["batch_size"] == 8
    assert {"python", "packages", "host", "cpu", "threads", "device"} <= read_json(folder / "environment.json").keys()
    status = read_json(folder / "status.json")
    assert (status["state"], status["epoch"], status["exit_code"], status["requeue"]) == ("finished", 2, 0, False)
    summary = read_json(folder / "summary.json")
    assert summary["test_recordings"] == summary["test_recordings_hard"] == 20
    assert summary["test_recordings_correct"] == round(20 * summary["test_recording_accuracy"])
    gap = summary["test_recording_accuracy"] - summary["test_recording_accuracy_hard"]
    assert summary["test_gap_recording"] == pytest.approx(gap)
    assert sum(summary["logic"]["histogram"].values()) == summary["gates"] == 2 * 1160
    assert summary["subset"] == "60 of 60,000 train, 20 of 10,000 test"


def test_metrics_that_a_model_does_not_have_are_absent(laboratory: Any) -> None:
    laboratory.write_config("SNN", epochs=1)
    laboratory.main()
    summary = read_json(laboratory.project / "runs" / "job" / "summary.json")
    names = " ".join([*summary, *(name for row in laboratory.rows() for name in row)])
    assert "frame_accuracy" not in names
    assert "hard" not in names
    assert "logic" not in names
    assert "gap" not in names


@pytest.mark.parametrize("which", ["best", "last"])
def test_saved_models_load_without_running_code_and_say_what_they_are(which: str, laboratory: Any) -> None:
    laboratory.write_config("MLP", epochs=1)
    laboratory.main()
    content = torch.load(laboratory.project / "models" / "job" / f"{which}.pt", weights_only=True)
    assert content["classes"] == [str(label) for label in range(10)]
    assert content["frame_shape"] == (2, 34, 34)
    assert len(content["fingerprint"]) == 64
    assert content["config"]["model"]["model_type"] == "MLP"


def test_a_saved_model_can_be_the_start_of_another_run(laboratory: Any) -> None:
    laboratory.write_config("MLP", epochs=1, learning_rate=1e-12)
    laboratory.main()
    path = laboratory.project / "models" / "job" / "last.pt"
    laboratory.main("--override", f"model.weights={path} base.seed=8", job="second")
    for name, weight in laboratory.weights().items():
        assert torch.allclose(weight, laboratory.weights(job="second")[name], atol=1e-6)


def test_an_existing_job_is_neither_overwritten_nor_lost(laboratory: Any) -> None:
    laboratory.write_config("MLP", epochs=1)
    laboratory.main()
    before = laboratory.weights()
    with pytest.raises(RunExists):
        laboratory.main()
    laboratory.main("--fresh", "--override", "base.seed=8")
    (aside,) = (laboratory.project / "models").glob("job.old-*")
    assert all(torch.equal(before[name], weight) for name, weight in laboratory.weights(job=aside.name).items())
    assert not all(torch.equal(before[name], weight) for name, weight in laboratory.weights().items())


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


def prepare_other(laboratory: Any, recordings: Path, **data: Any) -> str:
    """Replace the prepared dataset of the laboratory by another variant; its fingerprint."""
    from difflogic_tonic import cache
    from difflogic_tonic.config import load_prepare_config
    from difflogic_tonic.storage import open_storage

    for place in (laboratory.scratch, laboratory.project):
        (place / "data").unlink()
    path = laboratory.root / "prepare.yaml"
    values = {"name": "NMNIST", "data_root": str(recordings), "allow_subset": True, "events_per_frame": 120}
    path.write_text(yaml.safe_dump({"data": values | {"overlap": 0, "denoise_time": 0} | data}))
    storage = open_storage(StoragePaths(laboratory.scratch, laboratory.project))
    return cache.prepare(load_prepare_config(path), storage, progress=False).fingerprint


def test_a_resume_on_another_dataset_shows_both_fingerprints(laboratory: Any, small_recordings: Path) -> None:
    laboratory.write_config("MLP", epochs=1)
    laboratory.main()
    (first,) = {path.name for path in (laboratory.scratch / "data" / "NMNIST").iterdir() if len(path.name) == 64}
    second = prepare_other(laboratory, small_recordings)
    with pytest.raises(ResumeMismatch, match=f"was {first} .* is {second}"):
        laboratory.main("--resume")


def test_without_validation_early_stopping_is_refused_and_the_last_model_is_the_best(
    laboratory: Any, small_recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare_other(laboratory, small_recordings, val_fraction=0.0)
    laboratory.write_config("MLP", epochs=2)
    with pytest.raises(ConfigError, match=r"train\.early_stopping needs a validation split"):
        laboratory.main("--override", "train.early_stopping=3")
    assert laboratory.main() == 0
    assert "no validation split: the best model is the last one" in capsys.readouterr().out
    best, last = (laboratory.weights(which) for which in ("best", "last"))
    assert all(torch.equal(best[name], last[name]) for name in best)


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


def test_early_stopping_ends_the_run_after_its_patience(laboratory: Any, capsys: pytest.CaptureFixture[str]) -> None:
    laboratory.write_config("MLP", epochs=9, learning_rate=1e-12, schedule="none", early_stopping=2)
    laboratory.main()
    epochs = [row["epoch"] for row in laboratory.rows() if row["kind"] == "epoch"]
    summary = read_json(laboratory.project / "runs" / "job" / "summary.json")
    assert epochs[-1] == summary["best_epoch"] + 2 < 9
    assert summary["stopped_early"] is True
    assert "early stopping: no better validation for 2 epochs" in capsys.readouterr().out


def test_a_loss_that_is_not_finite_stops_the_run_and_is_no_reason_to_requeue(laboratory: Any) -> None:
    laboratory.write_config("MLP", epochs=1)
    laboratory.main()
    huge = laboratory.root / "huge.pt"
    torch.save({name: weight * 1e30 for name, weight in laboratory.weights().items()}, huge)
    with pytest.raises(TrainingDiverged, match=r"step 1: the loss is (inf|nan); nothing was updated"):
        laboratory.main("--override", f"model.weights={huge}", job="second")
    status = read_json(laboratory.project / "runs" / "second" / "status.json")
    assert (status["state"], status["exit_code"], status["requeue"]) == ("failed", 9, False)


def test_running_out_of_memory_is_one_line_that_says_what_to_change(
    laboratory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    laboratory.write_config("MLP", epochs=1)
    forward = torch.nn.functional.linear

    def greedy(*arguments: Any) -> Any:
        torch.empty(2**50)
        return forward(*arguments)

    monkeypatch.setattr(torch.nn.functional, "linear", greedy)
    with pytest.raises(OutOfMemory, match=r"batch_size 8, train\.accumulate 1, train\.amp off"):
        laboratory.main()
    assert read_json(laboratory.project / "runs" / "job" / "status.json")["exit_code"] == 10


def test_half_precision_on_a_cpu_is_refused(laboratory: Any) -> None:
    laboratory.write_config("MLP", amp="fp16")
    with pytest.raises(ConfigError, match="fp16 needs a CUDA device"):
        laboratory.main()


@pytest.mark.parametrize("model_type", MODELS)
def test_bf16_trains(model_type: str, laboratory: Any) -> None:
    laboratory.write_config(model_type, amp="bf16", epochs=1)
    assert laboratory.main() == 0
    assert all(weight.dtype != torch.bfloat16 for weight in laboratory.weights().values())


def test_a_subset_of_the_training_data_is_said_on_every_line(
    laboratory: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    laboratory.write_config("MLP", epochs=1)
    laboratory.main("--override", "data.subset=0.5")
    lines = [line for line in capsys.readouterr().out.splitlines() if "accuracy" in line or line.startswith("epoch")]
    assert len(lines) == 3
    assert all("trained on 25 of 50 recordings" in line for line in lines)


@pytest.mark.parametrize("model_type", MODELS)
def test_debug_runs_every_stage_and_leaves_nothing(
    model_type: str, laboratory: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    from difflogic_tonic.config import load_train_config
    from difflogic_tonic.runs.signals import StopRequest
    from difflogic_tonic.train.rehearsal import rehearse
    from difflogic_tonic.train.session import Request

    laboratory.write_config(model_type)
    config = load_train_config(laboratory.config_path, (), "job")
    request = Request(config, "new", [], StoragePaths(laboratory.scratch, laboratory.project))
    assert rehearse(request, StopRequest()) == 0
    printed = capsys.readouterr().out
    assert "stopped by SIGUSR1 and saved in epoch 1 at step 2" in printed
    assert "every stage works" in printed
    assert [path.name for path in laboratory.project.iterdir()] == ["data"]


def test_a_disk_too_small_for_the_checkpoints_is_told_before_training(
    laboratory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    laboratory.write_config("MLP")
    monkeypatch.setattr("difflogic_tonic.storage.space.free_bytes", lambda path: 1000)
    with pytest.raises(StorageFull, match="checkpoints in scratch storage needs about"):
        laboratory.main()
    assert laboratory.rows() == []


def test_evaluating_a_run_that_is_not_there_is_one_line(laboratory: Any) -> None:
    from difflogic_tonic.train.evaluation import evaluate_run

    with pytest.raises(RunError, match=r"no model .*nothing"):
        evaluate_run("nothing", "best", "cpu", StoragePaths(laboratory.scratch, laboratory.project))


def test_a_full_disk_for_the_metrics_saves_a_checkpoint_elsewhere(
    laboratory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from difflogic_tonic.runs.metrics import MetricsLog

    laboratory.write_config("MLP", epochs=2)
    laboratory.main(job="whole")
    append = MetricsLog.append

    def append_until_full(metrics: MetricsLog, row: dict[str, Any]) -> None:
        if metrics.n_rows == 5:
            raise StorageFull("no space left")
        append(metrics, row)

    monkeypatch.setattr(MetricsLog, "append", append_until_full)
    with pytest.raises(StorageFull, match="with --resume"):
        laboratory.main()
    assert laboratory.checkpoints()
    monkeypatch.undo()
    assert laboratory.main("--resume") == 0
    whole = laboratory.weights(job="whole")
    assert all(torch.equal(whole[name], weight) for name, weight in laboratory.weights().items())
    steps = [row["step"] for row in laboratory.rows() if row["kind"] == "step"]
    assert steps == [row["step"] for row in laboratory.rows("whole") if row["kind"] == "step"]


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


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "CPU", ""])
def test_a_device_that_does_not_exist_is_a_usage_error(device: str, capsys: pytest.CaptureFixture[str]) -> None:
    from difflogic_tonic.arguments import evaluate_parser, parse

    with pytest.raises(SystemExit) as ended:
        parse(evaluate_parser(), ["job", "--device", device])
    assert ended.value.code == 2
    assert "expected auto, cpu, cuda or cuda:N" in capsys.readouterr().err
    for good in ("auto", "cpu", "cuda", "cuda:1"):
        assert parse(evaluate_parser(), ["job", "--device", good]).device == good


def test_running_out_of_memory_in_an_evaluation_is_one_line(laboratory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from difflogic_tonic.train.evaluation import evaluate_run

    laboratory.write_config("MLP", epochs=1)
    laboratory.main()

    def greedy(*arguments: Any) -> Any:
        return torch.empty(2**50)

    monkeypatch.setattr(torch.nn.functional, "linear", greedy)
    with pytest.raises(OutOfMemory, match="out of memory on cpu"):
        evaluate_run("job", "best", "cpu", StoragePaths(laboratory.scratch, laboratory.project))
