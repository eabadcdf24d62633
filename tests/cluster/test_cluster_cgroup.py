"""SLURM that tracks processes by cgroups, as production does: the command of a job script gets no signal at all."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from slurm_cluster import Slurm

pytestmark = pytest.mark.cluster


@pytest.fixture
def tracking_site(site: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The same storage under another SLURM."""
    if os.geteuid() != 0 or not Path("/sys/fs/cgroup/freezer").is_dir():
        pytest.skip("tracking by cgroups needs root and a mounted cgroup hierarchy of version 1")
    started = Slurm(tmp_path_factory.mktemp("cgroup") / "lab", tracking="cgroup", nodes=("n1",)).start()
    yield type(site)(site.root, started, site.repository)
    started.stop()


def test_the_wrapper_passes_the_signals_of_a_requeue_on(
    tracking_site: Any, whole: dict[str, Any], equal: Callable[[dict[str, Any], dict[str, Any]], bool]
) -> None:
    job = tracking_site.submit("tracked", pace=0.1)
    tracking_site.until("tracked", "epoch 2/")
    tracking_site.slurm.command("scontrol", "requeue", job)
    tracking_site.until("tracked", "stopped by SIGTERM and saved")
    assert tracking_site.slurm.wait(job) == "COMPLETED", tracking_site.output("tracked")
    assert tracking_site.slurm.show(job)["Restarts"] == "1"
    assert equal(tracking_site.weights("tracked"), whole)
