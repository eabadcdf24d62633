"""Weights & Biases as a second sink of curves, with a double of its package (tests/support/wandb_double)."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from difflogic_tonic.errors import STOPPED, ConfigError, RunError
from difflogic_tonic.runs.tags import Histogram, points_of

pytestmark = pytest.mark.integration

DOUBLE = Path(__file__).resolve().parents[1] / "support" / "wandb_double"
OFFLINE = ("--override", "logging.wandb=offline")


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(DOUBLE)
    monkeypatch.delitem(sys.modules, "wandb", raising=False)


def calls(laboratory: Any, job: str = "job") -> list[dict[str, Any]]:
    text = (laboratory.project / "runs" / job / "wandb.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def logged(laboratory: Any) -> list[dict[str, Any]]:
    return [call for call in calls(laboratory) if call["call"] == "log"]


@pytest.mark.usefixtures("double")
def test_every_row_goes_there_once(laboratory: Any) -> None:
    laboratory.write_config("SNN")
    assert laboratory.main(*OFFLINE, "logging.wandb_project=mine") == 0
    first, metric, *rows, last = calls(laboratory)
    assert (first["project"], first["name"], first["mode"], first["resume"]) == ("mine", "job", "offline", "allow")
    assert first["config"]["model"]["model_type"] == "SNN"
    assert (metric["name"], metric["step_metric"]) == ("*", "optimizer_step")
    assert last == {"call": "finish", "exit_code": 0}
    expected = laboratory.rows()
    assert [call["step"] for call in rows] == list(range(len(expected)))
    for call, row in zip(rows, expected, strict=True):
        points = dict(points_of(row))
        assert call["data"].keys() == points.keys() | {"optimizer_step", "epoch"}
        assert (call["data"]["optimizer_step"], call["data"]["epoch"]) == (row["step"], row["epoch"])
        for tag, value in points.items():
            told = {"counts": list(value.counts), "edges": list(value.edges)} if isinstance(value, Histogram) else value
            assert call["data"][tag] == told


@pytest.mark.usefixtures("double")
def test_a_resumed_run_goes_on_there_and_a_fresh_one_is_another(
    laboratory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from difflogic_tonic.train.saving import Saver

    laboratory.write_config("MLP")
    laboratory.main(*OFFLINE, job="whole")
    looks = iter(range(10**6))
    look = Saver.between_steps

    def stop_once(saver: Saver) -> bool:
        if next(looks) == 9:
            saver._stop.request("SIGUSR1")
        return look(saver)

    monkeypatch.setattr(Saver, "between_steps", stop_once)
    assert laboratory.main(*OFFLINE) == STOPPED
    assert laboratory.main("--resume", *OFFLINE) == 0
    assert [call["step"] for call in logged(laboratory)] == list(range(len(laboratory.rows())))
    first, second = (call for call in calls(laboratory) if call["call"] == "init")
    assert first["id"] == second["id"]
    laboratory.main("--fresh", *OFFLINE)
    (fresh,) = (call for call in calls(laboratory) if call["call"] == "init")
    assert fresh["id"] != first["id"]


@pytest.mark.usefixtures("double")
def test_what_cannot_be_sent_is_one_warning(laboratory: Any, caplog: pytest.LogCaptureFixture) -> None:
    laboratory.write_config("MLP", epochs=1, schedule="none")
    assert laboratory.main(*OFFLINE, job="fails") == 0
    assert caplog.text.count("Weights & Biases does not take a row (nobody answers); the run goes on") == 1


@pytest.mark.usefixtures("double")
def test_what_cannot_be_started_is_told_before_training(laboratory: Any) -> None:
    laboratory.write_config("MLP")
    with pytest.raises(RunError, match=r"cannot be started \(no account\); use logging\.wandb: offline"):
        laboratory.main("--override", "logging.wandb=online")


def test_it_is_missed_only_by_those_who_ask_for_it(laboratory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)  # importing it raises
    laboratory.write_config("MLP", epochs=1, schedule="none")
    assert laboratory.main() == 0
    with pytest.raises(ConfigError, match=r"logging\.wandb: offline needs the package wandb, which is not installed"):
        laboratory.main(*OFFLINE, job="other")
    assert not (laboratory.project / "runs" / "other").exists()


def test_a_project_without_a_sink_is_refused(laboratory: Any) -> None:
    laboratory.write_config("MLP")
    with pytest.raises(ConfigError, match=r"logging\.wandb_project has no effect with wandb: off"):
        laboratory.main("--override", "logging.wandb_project=mine")
