"""Whole runs in one process: what is printed and written, what is refused, and what changes may be resumed."""

import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from difflogic_tonic.config import StoragePaths
from difflogic_tonic.errors import (
    ConfigError,
    OutOfMemory,
    ResumeMismatch,
    RunError,
    RunExists,
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
    with pytest.raises(OutOfMemory, match=r"batch_size 8, train\.accumulate 1, train\.amp auto"):
        laboratory.main()
    assert read_json(laboratory.project / "runs" / "job" / "status.json")["exit_code"] == 10


@pytest.mark.parametrize(
    ("model_type", "size"),
    [
        ("MLP", "model.mlp.hidden=[2147483647]"),
        ("SNN", "model.snn.architecture=2147483647C5-FC10"),
    ],
)
def test_a_network_that_memory_cannot_hold_is_one_line_that_names_its_section(
    model_type: str, size: str, laboratory: Any
) -> None:
    laboratory.write_config(model_type, epochs=1)
    complaint = rf"weights of the {model_type} network.*under model\.{model_type.lower()}$"
    with at_most_more(4 * 2**30), pytest.raises(OutOfMemory, match=complaint):
        laboratory.main("--override", size)


@contextmanager
def at_most_more(size: int) -> Iterator[None]:
    """Inside, this process may map `size` bytes more: some machines promise more than they have, or have terabytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    mapped = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


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


def test_evaluating_a_run_that_is_not_there_is_one_line(laboratory: Any) -> None:
    from difflogic_tonic.train.evaluation import evaluate_run

    with pytest.raises(RunError, match=r"no model .*nothing"):
        evaluate_run("nothing", "best", "cpu", StoragePaths(laboratory.scratch, laboratory.project))


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "CPU", ""])
def test_a_device_that_does_not_exist_is_a_usage_error(device: str) -> None:
    from difflogic_tonic.arguments import evaluate_parser, parse

    with pytest.raises(ConfigError, match="expected auto, cpu, cuda or cuda:N") as refused:
        parse(evaluate_parser(), ["job", "--device", device])
    assert refused.value.exit_code == 2
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
