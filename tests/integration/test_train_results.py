"""What a finished run leaves for reports: predictions, confusion, speed, memory, spikes."""

import json
from typing import Any

import numpy as np
import pytest

from difflogic_tonic.errors import STOPPED
from difflogic_tonic.report.energy import operations_of
from difflogic_tonic.report.reading import read_run

pytestmark = pytest.mark.integration

TEST_RECORDINGS = 20


@pytest.mark.parametrize("model_type", ["DiffLogic", "CNN", "SNN"])
def test_predictions_are_what_the_accuracies_count(model_type: str, laboratory: Any) -> None:
    laboratory.write_config(model_type)
    assert laboratory.main() == 0
    run = read_run(laboratory.project / "runs" / "job")
    assert (run.state, run.problems) == ("finished", ())
    predictions = run.predictions()
    kinds = {"recordings"} | ({"frames"} if model_type != "SNN" else set())
    kinds |= {f"{kind}_hard" for kind in kinds} if model_type == "DiffLogic" else set()
    assert (predictions.split, set(predictions.kinds)) == ("test", kinds)
    for kind, answers in predictions.kinds.items():
        sample, _, hard = kind.partition("_")
        accuracy = run.summary[f"test_{sample.removesuffix('s')}_accuracy{'_hard' if hard else ''}"]
        assert np.mean(answers.predicted == answers.labels) == accuracy
        assert answers.scores.sum(1) == pytest.approx(1, abs=1e-6)
        matrix = np.array(run.confusion[kind]["confusion"])
        assert matrix.sum() == len(answers.labels)
        assert matrix.trace() / matrix.sum() == accuracy
    assert np.array_equal(np.unique(predictions.kinds["recordings"].rows), np.arange(TEST_RECORDINGS))
    assert len(run.confusion["classes"]) == 10


@pytest.mark.parametrize("model_type", ["DiffLogic", "MLP", "SNN"])
def test_a_summary_has_what_the_model_has_and_nothing_else(model_type: str, laboratory: Any) -> None:
    laboratory.write_config(model_type)
    assert laboratory.main() == 0
    run = read_run(laboratory.project / "runs" / "job")
    summary = run.summary
    assert summary["train_samples_per_second"] > 0
    assert summary["test_samples_per_second"] > 0
    assert summary["peak_memory_bytes"] > 10_000_000
    spiking = {name for name in summary if "spikes" in name or "synops" in name}
    assert bool(spiking) == (model_type == "SNN")
    assert ("netlist" in summary) == ("test_gap_recording" in summary) == (model_type == "DiffLogic")
    found = operations_of(summary)
    assert found is not None
    if model_type == "SNN":
        assert summary["test_spikes_samples"] == TEST_RECORDINGS  # of three batches, every one
        assert found.acs == summary["test_synops_per_sample"] > 0
        assert 2 <= summary["test_frames_per_recording"] <= 4
    assert found.nanojoules > 0
    assert run.commands[0].endswith("config.yaml job")


def test_a_run_that_is_stopped_at_its_last_look_goes_on_there(laboratory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from difflogic_tonic.train import final

    laboratory.write_config("MLP")
    laboratory.main(job="whole")
    add = final.Scores.add

    def stop_in_the_second_batch(scores: final.Scores, *told: Any) -> None:
        import os
        import signal

        add(scores, *told)
        if scores.n_batches == 2:
            os.kill(os.getpid(), signal.SIGUSR1)

    with monkeypatch.context() as patched:
        patched.setattr(final.Scores, "add", stop_in_the_second_batch)
        assert laboratory.main() == STOPPED
    folder = laboratory.project / "runs" / "job"
    assert not (folder / "summary.json").exists()
    assert json.loads((folder / "status.json").read_text())["state"] == "stopped"
    assert laboratory.main("--resume") == 0
    whole, resumed = (read_run(laboratory.project / "runs" / job) for job in ("whole", "job"))
    assert resumed.confusion == whole.confusion
    assert np.array_equal(resumed.predictions().kinds["frames"].scores, whole.predictions().kinds["frames"].scores)


def test_more_epochs_take_away_the_results_of_fewer(laboratory: Any) -> None:
    laboratory.write_config("MLP", epochs=1, schedule="none")
    assert laboratory.main() == 0
    laboratory.write_config("MLP", epochs=3, schedule="none")
    child = laboratory.fork("--resume")
    child.until("epoch 2/3")
    child.send("SIGKILL")
    child.wait()
    left = {path.name for path in (laboratory.project / "runs" / "job").iterdir()}
    assert not {"summary.json", "predictions.npz", "confusion.json"} & left
    assert read_run(laboratory.project / "runs" / "job").state == "unfinished"  # the process is gone
