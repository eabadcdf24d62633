"""A step that outlasts the time between a signal and the kill: what is saved then, and that nothing is lost by it."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

pytestmark = pytest.mark.integration


@pytest.fixture
def paced(laboratory: Any) -> Any:
    """A laboratory whose network sleeps or burns as variables say: 19 steps an epoch."""
    laboratory.write_config("MLP", epochs=2, grace_seconds=0.5, schedule="none")
    laboratory.config["model"] = {"model_type": "paced:model"}
    laboratory.config_path.write_text(yaml.safe_dump(laboratory.config))
    return laboratory


def stop_in_a_step(paced: Any, repository: Path, pace: float) -> tuple[Any, dict[str, Any]]:
    """A run that gets SIGTERM inside its seventh step, which has no end; the process and its status.

    It is the eighth pass: the estimate of the memory makes the first.
    """
    burning = paced.root / "burning"
    child = paced.fork_main(repository, BURN_AT=f"8:{burning}", PACE=str(pace))
    end = time.monotonic() + 60
    while not burning.exists():
        assert time.monotonic() < end, child.text
        time.sleep(0.01)
    child.send("SIGTERM")
    assert child.wait(30) == 75, child.text
    return child, json.loads((paced.project / "runs" / "job" / "status.json").read_text())


def test_the_state_before_a_step_that_does_not_end_in_time_is_saved(paced: Any, repository: Path) -> None:
    assert paced.main(job="whole") == 0
    child, status = stop_in_a_step(paced, repository, pace=0.2)
    assert "what runs since SIGTERM takes longer than train.grace_seconds (0.5 s)" in child.text
    assert "stopped; the state of step 6 is saved; continue with --resume" in child.text
    assert (status["state"], status["step"], status["requeue"]) == ("stopped", 6, True)
    assert [path.name[:21] for path in paced.checkpoints()] == ["step-000000006-000000"]
    child = paced.fork_main(repository, "--resume")
    assert child.wait() == 0, child.text
    left, right = paced.weights(job="whole"), paced.weights()
    assert all(torch.equal(left[key], right[key]) for key in left)
    assert [row for row in paced.rows() if row["kind"] == "step"][-1]["step"] == 38


def test_where_steps_were_short_the_last_checkpoint_is_what_remains(paced: Any, repository: Path) -> None:
    child, status = stop_in_a_step(paced, repository, pace=0.0)
    assert "stopped before there was anything to save; it starts anew" in child.text
    assert (status["state"], status["exit_code"]) == ("stopped", 75)
    child = paced.fork_main(repository, "--resume=auto")
    assert child.wait() == 0, child.text
