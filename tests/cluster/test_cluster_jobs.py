"""Several jobs at once: two of one name, sweeps, parts of a preparation, chains, and staging on one node."""

import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.cluster


def run(site: Any, script: str, *words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """A script of the checkout as the user runs it on the login node."""
    return subprocess.run(
        [str(site.repository / script), *words],
        cwd=site.root,
        env=site.slurm.environment | site.environment(**environment),
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_second_job_of_the_same_name_is_refused(site: Any) -> None:
    first = site.submit("twin", pace=0.3)
    site.until("twin", "epoch 1/")
    second = site.submit("twin", "--resume", sbatch=("--output=second.out",))
    assert site.slurm.wait(second) == "FAILED"
    assert site.slurm.show(second)["ExitCode"] == "6:0"
    assert f", SLURM job {first}); wait for it, stop it (scancel {first})" in site.output("second")
    assert site.slurm.wait(first) == "COMPLETED", site.output("twin")


def test_a_sweep_is_one_array_of_runs_with_names_of_their_own(site: Any, tmp_path: Path) -> None:
    sweep = tmp_path / "seeds.yaml"
    fixed = {"train.epochs": 1, "model.model_type": "MLP", "model.mlp.hidden": "[8]"}
    sweep.write_text(yaml.safe_dump({"config": str(site.config), "grid": {"base.seed": [1, 2]}, "fixed": fixed}))
    result = run(site, "helper_scripts/slurm/sweep.sh", str(sweep), "--max-parallel", "2", "--", "--cpus-per-task=1")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("submitted 2 runs as job ")
    job = result.stdout.split()[5].rstrip(";")
    for task in (1, 2):
        assert site.slurm.wait(f"{job}_{task}") == "COMPLETED", site.output(f"slurm-seeds-{job}_{task}")
        assert site.status(f"seeds-seed{task}")["state"] == "finished"


def test_parts_of_a_preparation_are_an_array_one_is_queued_again_and_training_follows_them(site: Any) -> None:
    project = site.root / "parts"
    result = run(
        site,
        "helper_scripts/slurm/prepare_and_train.sh",
        *("configs/prepare_digits.yaml", str(site.config), "after", "--override", "train.epochs=1"),
        PREPARE_TASKS="2",
        PREPARE_OPTIONS="--cpus-per-task=1",
        TRAIN_OPTIONS=f"--cpus-per-task=1 --output={site.root}/after.out",
        PROJECT_STORAGE_DIR=str(project),
        SCRATCH_STORAGE_DIR=str(project),
    )
    assert result.returncode == 0, result.stderr
    prepare, train = (line.split("job ")[1].split(",")[0].strip() for line in result.stdout.splitlines())
    site.slurm.wait_for_trap(f"{prepare}_1", signal.SIGUSR1)
    time.sleep(1)  # wherever it is then: starting, importing, preparing
    site.slurm.command("scancel", "--batch", "--signal=USR1", f"{prepare}_1")
    for part in (f"{prepare}_1", f"{prepare}_2"):
        ended = site.slurm.wait(part)
        shown = site.slurm.show(part)
        assert ended == "COMPLETED", (shown, site.output(f"slurm-prepare-{shown['JobId']}"))
    assert site.slurm.show(f"{prepare}_1")["Restarts"] == "1"
    assert site.slurm.wait(train) == "COMPLETED", site.output("after")
    made = next(project.glob("data/DIGITS_DVS/*/manifest.json"))
    assert made.read_bytes() == next(site.project.glob("data/DIGITS_DVS/*/manifest.json")).read_bytes()


def test_training_is_cancelled_where_its_preparation_fails(site: Any) -> None:
    result = run(
        site,
        "helper_scripts/slurm/prepare_and_train.sh",
        *("configs/none.yaml", str(site.config), "never"),
        PREPARE_OPTIONS="--cpus-per-task=1",
        TRAIN_OPTIONS="--cpus-per-task=1",
    )
    prepare, train = (line.split("job ")[1].split(",")[0].strip() for line in result.stdout.splitlines())
    assert site.slurm.wait(prepare) == "FAILED"
    assert site.slurm.wait(train) == "CANCELLED"


def test_tasks_that_stage_at_once_make_one_copy(site: Any) -> None:
    scratch = site.root / "empty-scratch"
    job = site.slurm.submit(
        *("--array=1-8", "--cpus-per-task=1", "--output=stage-%a.out", site.repository / "check_and_sync_data.sh"),
        cwd=site.root,
        **site.environment(SCRATCH_STORAGE_DIR=str(scratch)),
    )
    for task in range(1, 9):
        assert site.slurm.wait(f"{job}_{task}") == "COMPLETED", site.output(f"stage-{task}")
    kept = [path.relative_to(site.project) for path in sorted(site.project.glob("data/*/*/*")) if path.is_file()]
    assert [path.relative_to(scratch) for path in sorted(scratch.glob("data/*/*/*")) if path.is_file()] == kept
    assert all((scratch / path).read_bytes() == (site.project / path).read_bytes() for path in kept)
    assert list(scratch.rglob("*.tmp-*")) == []
    assert sum("done: copy" in site.output(f"stage-{task}") for task in range(1, 9)) == 1
