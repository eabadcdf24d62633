"""Training killed with SIGKILL at random moments, and resumed: it ends with the weights and rows of a whole run.

Processes are forked after the import of torch, which is as random a moment to begin with and seconds cheaper.
"""

import random
import time
from typing import Any

import pytest
import torch

from difflogic_tonic.runs.metrics import EVENT_FILE
from difflogic_tonic.runs.tags import points_of

pytestmark = pytest.mark.integration


def kill_and_resume(laboratory: Any, model_type: str, runs: int, seed: int) -> int:
    """Train `runs` times, each killed one to three times; returns how many kills found a living process."""
    rng = random.Random(seed)
    laboratory.write_config(model_type, epochs=4, checkpoint_interval_minutes=0.05 / 60)
    child = laboratory.fork(job="whole")
    started = time.monotonic()
    assert child.wait() == 0, child.text
    duration = time.monotonic() - started
    kills = 0
    for number in range(runs):
        job = f"killed-{number}"
        for _ in range(rng.randint(1, 3)):
            child = laboratory.fork("--resume=auto", job=job)
            time.sleep(rng.uniform(0, duration))
            child.send("SIGKILL")
            kills += child.wait() == -9
        child = laboratory.fork("--resume=auto", job=job)
        assert child.wait() == 0, child.text
        assert_same_outcome(laboratory, job)
    return kills


def assert_same_outcome(laboratory: Any, job: str) -> None:
    for which in ("last", "best"):
        whole, killed = (laboratory.weights(which, name) for name in ("whole", job))
        assert all(torch.equal(whole[key], killed[key]) for key in whole), (which, job)
    assert [untimed(row) for row in laboratory.rows(job)] == [untimed(row) for row in laboratory.rows("whole")]
    assert curves(laboratory, job) == [
        (row["step"], tag, pytest.approx(value))
        for row in laboratory.rows(job)
        for tag, value in points_of(row)
        if isinstance(value, int | float)
    ]
    leftovers = [path.name for path in laboratory.root.rglob("*.tmp-*")]
    assert leftovers == []


def untimed(row: dict[str, Any]) -> dict[str, Any]:
    """`row` without what depends on the machine."""
    return {name: row[name] for name in row if name != "time" and "second" not in name and "memory" not in name}


def curves(laboratory: Any, job: str) -> list[tuple[int, str, float]]:
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    path = laboratory.project / "runs" / job / "tensorboard" / EVENT_FILE
    return [
        (event.step, value.tag, value.simple_value)
        for event in LegacyEventFileLoader(str(path)).Load()
        for value in event.summary.value
        if not value.HasField("histo")
    ]


def test_killed_runs_end_as_if_they_had_not_been(laboratory: Any) -> None:
    kill_and_resume(laboratory, "MLP", runs=3, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize(("model_type", "seed"), [("MLP", 2), ("DiffLogic", 3)])
def test_twenty_killed_runs_end_as_if_they_had_not_been(model_type: str, seed: int, laboratory: Any) -> None:
    assert kill_and_resume(laboratory, model_type, runs=20, seed=seed) >= 15
