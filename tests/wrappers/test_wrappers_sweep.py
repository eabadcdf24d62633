"""helper_scripts/slurm/sweep.sh without SLURM: what it would run, what it refuses, and one run after another."""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

BASE = "configs/digits_mlp.yaml"


@pytest.fixture
def ready_checkout(repository: Path) -> Path:
    """The repository itself, if its environment is set up, as ./run_tests.sh does."""
    if not (repository / ".venv" / "training.done").exists():
        pytest.skip("no .venv in the checkout; run ./run_tests.sh")
    return repository


def sweep(
    checkout: Path, folder: Path, content: dict[str, object], *options: str
) -> "subprocess.CompletedProcess[str]":
    path = folder / "try.yaml"
    path.write_text(yaml.safe_dump(content))
    places = {"PROJECT_STORAGE_DIR": str(folder / "project"), "PROJECT_VARIABLES": "/dev/null"}
    return subprocess.run(
        [checkout / "helper_scripts" / "slurm" / "sweep.sh", str(path), *options],
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), **places},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_dry_run_shows_every_combination_and_makes_nothing(ready_checkout: Path, tmp_path: Path) -> None:
    grid = {"base.seed": [1, 2], "train.learning_rate": [0.01, 0.1]}
    content = {"config": BASE, "name": "lr", "grid": grid, "fixed": {"train.epochs": 3}}
    result = sweep(ready_checkout, tmp_path, content, "--dry-run", "--max-parallel", "2", "--", "--time=1:00:00")
    assert result.returncode == 0, result.stderr
    command, *tasks = result.stdout.splitlines()
    assert command.startswith("sbatch --parsable --array=1-4%2 --job-name=try --time=1:00:00 ")
    assert tasks[1] == (
        "configs/digits_mlp.yaml lr-seed1-learning_rate0.1 --resume=auto --override train.epochs=3 base.seed=1 "
        "train.learning_rate=0.1"
    )
    assert len(tasks) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["try.yaml"]


def test_listed_runs_are_crossed_with_the_grid(ready_checkout: Path, tmp_path: Path) -> None:
    runs = [{"model.mlp.hidden": "[8, 4]"}, {"model.mlp.dropout": 0}]
    content = {"config": BASE, "grid": {"base.seed": [1, 2]}, "runs": runs}
    result = sweep(ready_checkout, tmp_path, content, "--dry-run", "--local")
    assert [line.split()[2] for line in result.stdout.splitlines()] == [
        "try-seed1-hidden_8_4",
        "try-seed1-dropout0",
        "try-seed2-hidden_8_4",
        "try-seed2-dropout0",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"grid": {"base.seed": [1]}}, "no config is given"),
        ({"config": BASE, "gird": {}}, "'gird' is unknown; expected config, fixed, grid, name, runs"),
        ({"config": BASE}, "neither grid nor runs: nothing to vary"),
        ({"config": BASE, "grid": {"base.seed": 3}}, "grid.base.seed: expected a list of values, found 3"),
        ({"config": BASE, "grid": {"base.seed": [1, 1]}}, "two runs have the same job id try-seed1"),
        (
            {"config": BASE, "grid": {"train.epoch": [1]}},
            "try.yaml: try-epoch1: unknown key train.epoch (did you mean train.epochs?)",
        ),
        ({"config": BASE, "grid": {"base.seed": ["x"]}}, "try.yaml: try-seedx: base.seed: expected a valid integer"),
        ({"config": "configs/none.yaml", "grid": {"base.seed": [1]}}, "configs/none.yaml: no such config file"),
    ],
)
def test_a_sweep_with_a_mistake_starts_nothing(
    content: dict[str, object], message: str, ready_checkout: Path, tmp_path: Path
) -> None:
    result = sweep(ready_checkout, tmp_path, content, "--dry-run")
    assert result.returncode == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_without_sbatch_the_way_to_run_it_here_is_named(ready_checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for name in ("bash", "dirname", "sed", "wc", "cksum", "cut", "basename", "cat", "env", "sort"):
        (tmp_path / "bin" / name).symlink_to(f"/usr/bin/{name}")
    path = tmp_path / "try.yaml"
    path.write_text(yaml.safe_dump({"config": BASE, "grid": {"base.seed": [1]}}))
    result = subprocess.run(
        [ready_checkout / "helper_scripts" / "slurm" / "sweep.sh", str(path)],
        env={"PATH": str(tmp_path / "bin"), "PROJECT_STORAGE_DIR": str(tmp_path), "PROJECT_VARIABLES": "/dev/null"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 2
    assert result.stderr == "error: there is no sbatch here; add --local to train the 1 runs one after another\n"


def test_an_environment_that_cannot_be_made_is_the_only_error(repository: Path, tmp_path: Path) -> None:
    for name in ("bash", "dirname", "sed", "cat", "cksum", "env", "id"):  # and no Python
        (tmp_path / name).symlink_to(shutil.which(name) or "")
    checkout = tmp_path / "check out"
    shutil.copytree(repository / "helper_scripts", checkout / "helper_scripts")
    shutil.copytree(repository / "requirements", checkout / "requirements")
    result = subprocess.run(
        [checkout / "helper_scripts" / "slurm" / "sweep.sh", "any.yaml", "--local"],
        env={"PATH": str(tmp_path), "PROJECT_VARIABLES": "/dev/null"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert result.stderr.startswith("error: no Python 3.11 or newer found; install one")
    assert result.stderr.count("\n") == 1


def test_inside_a_container_its_python_lists_the_runs_and_no_environment_is_made(
    repository: Path, tmp_path: Path
) -> None:
    checkout = tmp_path / "check out"
    shutil.copytree(repository / "helper_scripts", checkout / "helper_scripts")
    for name in ("src", "configs", "requirements"):
        (checkout / name).symlink_to(repository / name)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    (tmp_path / "bin" / "python3").chmod(0o755)
    path = tmp_path / "try.yaml"
    path.write_text(yaml.safe_dump({"config": BASE, "grid": {"base.seed": [1]}}))
    inside = {"APPTAINER_NAME": "difflogic.sif", "SINGULARITY_CONTAINER": str(path)}  # readable, as where it is bound
    result = subprocess.run(
        [checkout / "helper_scripts" / "slurm" / "sweep.sh", str(path), "--local", "--dry-run"],
        env={"PATH": f"{tmp_path}/bin:/usr/bin:/bin", "PROJECT_VARIABLES": "/dev/null", **inside},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"./train.sh {BASE} try-seed1 --resume=auto --override base.seed=1\n"
    assert not (checkout / ".venv").exists()


@pytest.mark.integration
def test_a_sweep_runs_here_and_a_second_call_has_nothing_left_to_do(ready_checkout: Path, tmp_path: Path) -> None:
    content = {
        "config": "configs/digits_mlp.yaml",
        "grid": {"base.seed": [1, 2]},
        "fixed": {"train.epochs": 1, "data.subset": 0.05, "model.mlp.hidden": "[8]"},
    }
    result = sweep(ready_checkout, tmp_path, content, "--local")
    assert result.returncode == 0, result.stderr
    runs = tmp_path / "project" / "runs"
    summaries = {path.parent.name: path.read_text() for path in runs.glob("*/summary.json")}
    assert sorted(summaries) == ["try-seed1", "try-seed2"]
    assert sweep(ready_checkout, tmp_path, content, "--local").returncode == 0
    assert {path.parent.name: path.read_text() for path in runs.glob("*/summary.json")} == summaries
