"""Training jobs on a real SLURM: whatever interrupts them, they end with the weights of an undisturbed run.

A scenario takes as long as its waiting, so they go side by side; each test looks at what one of them left.
"""

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

pytestmark = pytest.mark.cluster
PACE = 0.1  # seconds a step: a run takes long enough to be interrupted, and hardly any processor time
Equal = Callable[[dict[str, Any], dict[str, Any]], bool]
Scenario = Callable[[Any, str], str]


def time_limit(site: Any, name: str) -> str:
    """The real one, of two minutes: SLURM sends the signal 15 s before its end, or up to a minute earlier."""
    job = site.submit(name, sbatch=("--time=2", "--signal=B:USR1@15"), pace=1.6)  # 72 steps: some 115 s
    site.slurm.wait(job, seconds=500)
    return str(job)


def signal_of_the_limit(site: Any, name: str) -> str:
    job = site.submit(name, pace=PACE)
    site.until(name, "epoch 2/")
    site.slurm.command("scancel", "--batch", "--signal=USR1", job)
    site.until(name, "[job")
    site.slurm.wait(job)
    return str(job)


def preempted(site: Any, name: str) -> str:
    job = site.submit(name, sbatch=("--partition=low",), pace=PACE)
    site.until(name, "epoch 2/")
    urgent = site.slurm.submit("--partition=high", "--output=/dev/null", "--wrap", "sleep 1", cwd=site.root)
    assert site.slurm.wait(urgent) == "COMPLETED"
    site.slurm.wait(job)
    return str(job)


def requeued(site: Any, name: str) -> str:
    job = site.submit(name, pace=PACE)
    site.until(name, "epoch 2/")
    site.slurm.command("scontrol", "requeue", job)
    site.slurm.wait(job)
    return str(job)


def cancelled(site: Any, name: str) -> str:
    job = site.submit(name, pace=PACE)
    site.until(name, "epoch 2/")
    site.slurm.command("scancel", job)
    site.slurm.wait(job)
    return str(job)


def wiped(site: Any, name: str) -> str:
    """Node-local scratch is gone when the job starts again."""
    scratch = site.root / "node-local"
    job = site.submit(name, pace=PACE, SCRATCH_STORAGE_DIR=str(scratch))
    site.until(name, "epoch 2/")
    site.slurm.command("scancel", "--batch", "--signal=USR1", job)
    site.slurm.wait(job, "PENDING")
    shutil.rmtree(scratch)
    site.slurm.wait(job)
    return str(job)


def stops_at_once(site: Any, name: str) -> str:
    job = site.submit(name, STOP_AT_START="SIGUSR1", REQUEUES_WITHOUT_PROGRESS="1")
    site.slurm.wait(job)
    return str(job)


def bad_config(site: Any, name: str) -> str:
    job = site.submit(name, "--override", "train.epochs=0")
    site.slurm.wait(job)
    return str(job)


SCENARIOS: dict[str, Scenario] = {
    scenario.__name__: scenario
    for scenario in (
        *(time_limit, signal_of_the_limit, preempted, requeued, cancelled, wiped, stops_at_once, bad_config),
    )
}


@pytest.fixture(scope="module")
def played(site: Any, whole: dict[str, Any]) -> Iterator[dict[str, "Future[str]"]]:
    """The scenarios under way, by name; the result is the number of the job."""
    with ThreadPoolExecutor(max_workers=4) as pool:
        yield {name: pool.submit(scenario, site, name) for name, scenario in SCENARIOS.items()}


def test_a_job_is_submitted_from_any_folder(site: Any, whole: dict[str, Any]) -> None:
    assert "epoch 6/6" in site.output("whole")
    assert site.status("whole")["state"] == "finished"


@pytest.mark.parametrize("name", ["signal_of_the_limit", "preempted", "requeued", "wiped", "time_limit"])
def test_an_interrupted_job_ends_with_the_same_weights(
    name: str, played: dict[str, "Future[str]"], site: Any, whole: dict[str, Any], equal: Equal
) -> None:
    facts = site.slurm.show(played[name].result())
    assert facts["JobState"] == "COMPLETED", site.output(name)
    assert equal(site.weights(name), whole)
    status = site.status(name)
    assert (status["state"], status["requeue"], status["lost_steps"]) == ("finished", False, 0)
    assert status["slurm_restarts"] == int(facts["Restarts"])
    if name == "time_limit":
        assert int(facts["Restarts"]) >= 1
    else:
        assert facts["Restarts"] == "1"
        assert status["restarts"] == 1


def test_the_log_says_why_it_was_queued_again(played: dict[str, "Future[str]"], site: Any) -> None:
    played["signal_of_the_limit"].result()
    assert "stopped by USR1 and saved; queueing it again" in site.output("signal_of_the_limit")


def test_a_time_limit_that_is_too_short_is_warned_of(played: dict[str, "Future[str]"], site: Any) -> None:
    played["time_limit"].result()
    assert "SLURM ends this job in 0:0" in site.output("time_limit")


def test_what_is_gone_from_scratch_comes_from_project_storage(played: dict[str, "Future[str]"], site: Any) -> None:
    played["wiped"].result()
    assert f"resumed from {site.project}" in site.output("wiped")


def test_a_cancelled_job_has_saved_and_is_not_queued_again(
    played: dict[str, "Future[str]"], site: Any, whole: dict[str, Any], equal: Equal
) -> None:
    facts = site.slurm.show(played["cancelled"].result())
    assert (facts["JobState"], facts["Restarts"]) == ("CANCELLED", "0")
    assert "stopped by SIGTERM and saved" in site.output("cancelled")
    assert site.slurm.wait(site.submit("cancelled", "--resume")) == "COMPLETED", site.output("cancelled")
    assert equal(site.weights("cancelled"), whole)


def test_a_job_that_comes_no_further_is_not_queued_again_for_ever(played: dict[str, "Future[str]"], site: Any) -> None:
    facts = site.slurm.show(played["stops_at_once"].result())
    assert (facts["JobState"], facts["Restarts"], facts["ExitCode"]) == ("FAILED", "1", "75:0")
    assert "error: 1 requeues in a row without a step of progress" in site.output("stops_at_once")


def test_a_mistake_in_the_config_is_not_queued_again(played: dict[str, "Future[str]"], site: Any) -> None:
    facts = site.slurm.show(played["bad_config"].result())
    assert (facts["JobState"], facts["Restarts"], facts["ExitCode"]) == ("FAILED", "0", "2:0")
    assert "error: --override train.epochs: expected" in site.output("bad_config")
