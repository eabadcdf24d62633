"""The SLURM of the tests is a real one, with more than one node."""

from pathlib import Path

import pytest

from slurm_cluster import Slurm

pytestmark = pytest.mark.cluster


def test_two_tasks_of_a_job_run_on_two_nodes(slurm: Slurm, tmp_path: Path) -> None:
    script = tmp_path / "job.sh"
    script.write_text("#!/bin/bash\nsrun bash -c 'echo \"task $SLURM_PROCID on $SLURMD_NODENAME\"'\n")
    job = slurm.submit("--partition=pair", "--nodes=2", "--ntasks=2", "--output=job.out", script, cwd=tmp_path)
    assert slurm.wait(job) == "COMPLETED"
    said = sorted(line for line in (tmp_path / "job.out").read_text().splitlines() if line.startswith("task"))
    assert said == ["task 0 on n3", "task 1 on n4"]
