"""Runs of logic networks whose thresholds come from the data and whose temperature changes."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

pytestmark = pytest.mark.integration

RECIPE = {
    "num_neurons": 2320,
    "num_layers": 2,
    "encoding": "distributive",
    "thermometer_levels": 2,
    "estimator": "gumbel",
    "temperature": 1.5,
    "temperature_end": 0.3,
    "temperature_schedule": "exponential",
}


def write_recipe(laboratory: Any, **train: Any) -> None:
    laboratory.write_config("DiffLogic", **train)
    laboratory.config["model"]["difflogic"] = RECIPE
    laboratory.config_path.write_text(yaml.safe_dump(laboratory.config))


def test_a_resumed_run_equals_an_uninterrupted_one_and_finds_no_thresholds_again(
    laboratory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from difflogic_tonic.cache import SplitReader
    from difflogic_tonic.errors import CacheMissing
    from difflogic_tonic.train import inputs

    write_recipe(laboratory, epochs=2)
    laboratory.main(job="whole")
    read, calls = SplitReader.read_frames, iter(range(10**6))

    def vanishing(reader: SplitReader, frames: Any, out: Any) -> None:
        if next(calls) > 68:  # after the sample for the thresholds, in the second epoch
            raise CacheMissing("scratch storage was cleaned")
        read(reader, frames, out)

    monkeypatch.setattr(SplitReader, "read_frames", vanishing)
    with pytest.raises(CacheMissing):
        laboratory.main()
    assert laboratory.rows()[-1]["epoch"] == 2
    monkeypatch.undo()

    def must_not_run(*arguments: object) -> None:
        raise AssertionError("thresholds belong to the checkpoint")

    monkeypatch.setattr(inputs, "fit_thresholds", must_not_run)
    laboratory.main("--resume")
    whole, resumed = laboratory.weights(job="whole"), laboratory.weights()
    assert resumed["encoder.thresholds"].max() > 2
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], weight) for name, weight in resumed.items())
    measured = [
        {key: value for key, value in row.items() if "second" not in key and "memory" not in key and key != "time"}
        for job in ("whole", "job")
        for row in laboratory.rows(job)
    ]
    assert measured[: len(measured) // 2] == measured[len(measured) // 2 :]


def test_the_saved_model_is_evaluated_again_with_its_thresholds_and_temperature(
    laboratory: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    from difflogic_tonic.config import StoragePaths
    from difflogic_tonic.train.evaluation import evaluate_run

    write_recipe(laboratory, epochs=1)
    laboratory.main()
    printed = [line for line in capsys.readouterr().out.splitlines() if "loss" in line and "(soft)" in line]
    assert evaluate_run("job", "best", "cpu", StoragePaths(laboratory.scratch, laboratory.project)) == 0
    again = [line for line in capsys.readouterr().out.splitlines() if "loss" in line and "(soft)" in line]
    assert [line[line.index("soft") :] for line in again] == [line[line.index("soft") :] for line in printed] != []


def test_a_rehearsal_evaluates_its_saved_model_to_the_same_numbers(laboratory: Any) -> None:
    from difflogic_tonic.config import StoragePaths, load_train_config
    from difflogic_tonic.runs.signals import StopRequest
    from difflogic_tonic.train.rehearsal import rehearse
    from difflogic_tonic.train.session import Request

    write_recipe(laboratory)
    config = load_train_config(laboratory.config_path, (), "job")
    request = Request(config, "new", [], StoragePaths(laboratory.scratch, laboratory.project))
    assert rehearse(request, StopRequest()) == 0


def test_the_default_learning_rate_is_said_and_kept(laboratory: Any, capsys: pytest.CaptureFixture[str]) -> None:
    laboratory.write_config("DiffLogic", epochs=1)
    laboratory.main()
    captured = capsys.readouterr()
    assert "learning rate 0.05 (the default)" in captured.out + captured.err
    summary: Path = laboratory.project / "runs" / "job" / "summary.json"
    assert json.loads(summary.read_text())["learning_rate"] == 0.05
    rows = [row for row in laboratory.rows() if row["kind"] == "step"]
    assert rows[0]["learning_rate"] == 0.05


def test_a_model_trained_by_the_kernels_of_another_device_is_evaluated_by_those_that_are_there(
    laboratory: Any,
) -> None:
    write_recipe(laboratory, epochs=1)
    laboratory.main()
    assert laboratory.evaluate_as_from_another_device("difflogic", "triton") == 0
