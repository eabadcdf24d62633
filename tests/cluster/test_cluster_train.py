"""Training jobs on a real SLURM: whatever interrupts them, they end with the weights of an undisturbed run."""

import shutil
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.cluster
PACE = 0.1  # seconds a step: a run takes long enough to be interrupted, and hardly any processor time
Equal = Callable[[dict[str, Any], dict[str, Any]], bool]


def test_a_job_is_submitted_from_any_folder(site: Any, whole: dict[str, Any]) -> None:
    assert "epoch 6/6" in site.output("whole")
    assert site.status("whole")["state"] == "finished"


def test_the_signal_of_the_time_limit_saves_and_queues_the_job_again(
    site: Any, whole: dict[str, Any], equal: Equal
) -> None:
    job = site.submit("limit", pace=PACE)
    site.until("limit", "epoch 2/")
    site.slurm.command("scancel", "--batch", "--signal=USR1", job)
    site.until("limit", "stopped by USR1 and saved; queueing it again")
    assert site.slurm.wait(job) == "COMPLETED", site.output("limit")
    assert site.slurm.show(job)["Restarts"] == "1"
    assert "resumed from" in site.output("limit")
    assert equal(site.weights("limit"), whole)


def test_preemption_queues_the_job_again(site: Any, whole: dict[str, Any], equal: Equal) -> None:
    job = site.submit("preempted", sbatch=("--partition=low",), pace=PACE)
    site.until("preempted", "epoch 2/")
    urgent = site.slurm.submit("--partition=high", "--output=/dev/null", "--wrap", "sleep 1", cwd=site.root)
    assert site.slurm.wait(urgent) == "COMPLETED"
    assert site.slurm.wait(job) == "COMPLETED", site.output("preempted")
    assert site.slurm.show(job)["Restarts"] == "1"
    assert equal(site.weights("preempted"), whole)


def test_a_requeue_from_outside_is_resumed(site: Any, whole: dict[str, Any], equal: Equal) -> None:
    job = site.submit("requeued", pace=PACE)
    site.until("requeued", "epoch 2/")
    site.slurm.command("scontrol", "requeue", job)
    assert site.slurm.wait(job) == "COMPLETED", site.output("requeued")
    assert site.slurm.show(job)["Restarts"] == "1"
    assert equal(site.weights("requeued"), whole)


def test_a_cancelled_job_has_saved_and_is_not_queued_again(site: Any, whole: dict[str, Any], equal: Equal) -> None:
    job = site.submit("cancelled", pace=PACE)
    site.until("cancelled", "epoch 2/")
    site.slurm.command("scancel", job)
    assert site.slurm.wait(job) == "CANCELLED"
    site.until("cancelled", "cancelled: not queued again")
    assert site.slurm.show(job)["Restarts"] == "0"
    assert site.slurm.wait(site.submit("cancelled", "--resume")) == "COMPLETED", site.output("cancelled")
    assert equal(site.weights("cancelled"), whole)


def test_a_job_goes_on_from_project_storage_where_scratch_was_wiped(
    site: Any, whole: dict[str, Any], equal: Equal
) -> None:
    scratch = site.root / "node-local"
    job = site.submit("wiped", pace=PACE, SCRATCH_STORAGE_DIR=str(scratch))
    site.until("wiped", "epoch 2/")
    site.slurm.command("scancel", "--batch", "--signal=USR1", job)
    site.slurm.wait(job, "PENDING")
    shutil.rmtree(scratch)
    assert site.slurm.wait(job) == "COMPLETED", site.output("wiped")
    assert f"resumed from {site.project}" in site.output("wiped")
    assert equal(site.weights("wiped"), whole)
