"""Training killed with SIGKILL at random moments, and resumed: it ends with the weights and rows of a whole run.

Processes are forked after the import of torch, which is as random a moment to begin with and seconds cheaper.
"""

import random
import shutil
import time
from typing import Any

import pytest
import torch

from difflogic_tonic.runs.metrics import EVENT_FILE, MetricsLog
from killing import Watched

pytestmark = pytest.mark.integration


INTERVAL_SECONDS = 0.05


def kill_and_resume(laboratory: Any, model_type: str, kills: int, seed: int) -> str:
    """Train again and again, each run killed up to three times before it may end, until `kills` found their process.

    Half of them are at a random time, half in a random file operation: before, after or half way through a write, fsync
    or rename of a checkpoint, its mirror, a row, a line of the log. Returns what they cost, in words.
    """
    rng = random.Random(seed)
    laboratory.write_config(model_type, epochs=3, checkpoint_interval_minutes=INTERVAL_SECONDS / 60)
    watched = Watched()
    child = laboratory.fork(job="whole", first=watched.begin)
    started = time.monotonic()
    assert child.wait() == 0, child.text
    duration, operations = time.monotonic() - started, watched.operations
    done = {"time": 0, "operation": 0}
    lost: list[tuple[int, float]] = []
    number = 0
    while sum(done.values()) < kills:
        number += 1
        job = f"killed-{number}"
        for _ in range(rng.randint(1, 3)):
            watched, kind = Watched(), rng.choice(sorted(done))
            at = rng.randint(1, operations) if kind == "operation" else 0
            how = rng.choice(["before", "after", "half"])
            child = laboratory.fork("--resume=auto", job=job, first=lambda: watched.begin(at, how))  # noqa: B023
            if kind == "time":
                time.sleep(rng.uniform(0, duration))
                child.send("SIGKILL")
            if child.wait() == -9:
                done[kind] += 1
                kept = newest(laboratory, job)
                assert kept >= watched.safe, (job, kept, watched.safe)
                lost.append(watched.lost(kept[0]))
        child = laboratory.fork("--resume=auto", job=job)
        assert child.wait() == 0, child.text
        assert_same_outcome(laboratory, job)
        if number > 1:
            for path in laboratory.root.glob(f"*/*/{job}"):
                shutil.rmtree(path)
    steps, seconds = (sorted(column) for column in zip(*lost, strict=True))
    return (
        f"{model_type}: {done['time']} kills at a random time and {done['operation']} in one of {operations} file "
        f"operations, over {number} runs of {duration:.1f} s; lost per kill: median {steps[len(steps) // 2]}, most "
        f"{steps[-1]} steps; median {seconds[len(seconds) // 2]:.2f} s, most {seconds[-1]:.2f} s at an interval of "
        f"{INTERVAL_SECONDS} s"
    )


def newest(laboratory: Any, job: str) -> tuple[int, int]:
    """Position of the newest checkpoint in either place; (0, 0) if there is none."""
    names = [path.name for place in ("scratch", "project") for path in laboratory.checkpoints(place, job)]
    return max(((int(name[5:14]), int(name[15:21])) for name in names), default=(0, 0))


def assert_same_outcome(laboratory: Any, job: str) -> None:
    for which in ("last", "best"):
        whole, killed = (laboratory.weights(which, name) for name in ("whole", job))
        assert all(torch.equal(whole[key], killed[key]) for key in whole), (which, job)
    assert [untimed(row) for row in laboratory.rows(job)] == [untimed(row) for row in laboratory.rows("whole")]
    run = laboratory.project / "runs" / job
    again = laboratory.root / "again"
    again.mkdir(exist_ok=True)
    MetricsLog(run / "metrics.jsonl", again, keep_rows=len(laboratory.rows(job)))
    assert (run / "tensorboard" / EVENT_FILE).read_bytes() == (again / EVENT_FILE).read_bytes()
    leftovers = [path.name for path in laboratory.root.rglob("*.tmp-*")]
    assert leftovers == []


def untimed(row: dict[str, Any]) -> dict[str, Any]:
    measured = ("time", "peak_memory_bytes")
    return {name: value for name, value in row.items() if name not in measured and "second" not in name}


def test_killed_runs_end_as_if_they_had_not_been(laboratory: Any) -> None:
    kill_and_resume(laboratory, "MLP", kills=4, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize(("model_type", "seed"), [("MLP", 2), ("DiffLogic", 3)])
def test_fifty_kills_cost_nothing_but_time(model_type: str, seed: int, laboratory: Any) -> None:
    print(kill_and_resume(laboratory, model_type, kills=50, seed=seed))
