"""Training jobs of two tasks on two nodes of a real SLURM."""

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.cluster
TWO_NODES = ("--partition=pair", "--nodes=2", "--ntasks=2")
PACE = 0.1
Equal = Callable[[dict[str, Any], dict[str, Any]], bool]


def submit(site: Any, name: str, pace: float = 0.0) -> str:
    """A job of two tasks. The nodes are virtual: their names are no addresses."""
    job: str = site.submit(name, sbatch=TWO_NODES, pace=pace, MASTER_ADDR="127.0.0.1")
    return job


@pytest.fixture(scope="module")
def pair(site: Any) -> dict[str, Any]:
    """The final weights of two tasks that nothing disturbed."""
    assert site.slurm.wait(submit(site, "pair")) == "COMPLETED", site.output("pair")
    weights: dict[str, Any] = site.weights("pair")
    return weights


def test_two_tasks_train_together_and_one_speaks(site: Any, pair: dict[str, Any], whole: dict[str, Any]) -> None:
    said = site.output("pair")
    assert said.count("2 processes train together (gloo)") == 1, said
    assert said.count("epoch 6/6") == 1
    assert site.status("pair")["state"] == "finished"
    assert pair.keys() == whole.keys()


def test_a_job_of_two_tasks_that_is_signalled_and_queued_again_ends_with_equal_weights(
    site: Any, pair: dict[str, Any], equal: Equal
) -> None:
    job = submit(site, "pair-limit", PACE)
    site.until("pair-limit", "epoch 2/")
    site.slurm.command("scancel", "--batch", "--signal=USR1", job)
    site.until("pair-limit", "stopped by USR1 and saved; queueing it again")
    assert site.slurm.wait(job) == "COMPLETED", site.output("pair-limit")
    assert site.slurm.show(job)["Restarts"] == "1"
    assert "resumed from" in site.output("pair-limit")
    assert equal(site.weights("pair-limit"), pair)


def test_a_task_that_is_killed_ends_the_job_and_does_not_queue_it_again(site: Any) -> None:
    job = submit(site, "pair-killed", PACE)
    site.until("pair-killed", "epoch 2/")
    began = time.monotonic()
    os.kill(site.status("pair-killed")["pid"], signal.SIGKILL)
    assert site.slurm.wait(job, seconds=60) == "FAILED", site.output("pair-killed")
    assert time.monotonic() - began < 60
    assert site.slurm.show(job)["Restarts"] == "0"
    assert "error: " in site.output("pair-killed")
