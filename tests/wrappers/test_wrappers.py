"""The shell wrappers as a new user meets them: in a checkout without any environment, and in one that is set up."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

WRAPPERS = ("train.sh", "prepare_data.sh", "evaluate.sh", "deploy.sh", "check_and_sync_data.sh", "report.sh")


@pytest.fixture(scope="module")
def fresh_checkout(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the repository without .venv, in a folder whose name has a space."""
    folder = tmp_path_factory.mktemp("a new") / "check out"
    skipped = shutil.ignore_patterns(".venv", ".git", "storage", "__pycache__", "*.egg-info", ".*_cache")
    shutil.copytree(repository, folder, ignore=skipped)
    return folder


def run(command: list[str | Path], **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=300, **options)  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_help_needs_no_environment(fresh_checkout: Path, wrapper: str) -> None:
    result = run([fresh_checkout / wrapper, "--help"])
    assert result.returncode == 0, result.stderr
    assert f"usage: {wrapper}" in result.stdout
    assert not (fresh_checkout / ".venv").exists()


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["train.sh", "configs/quickstart.yaml", "a/b"], "error: job id 'a/b': expected letters"),
        (["train.sh", "configs/quickstrat.yaml", "demo"], "error: configs/quickstrat.yaml: no such config file; in "),
        (["train.sh", "configs/quickstart.yaml", "demo", "--epochs", "3"], "unrecognized arguments: --epochs 3"),
        (["train.sh", "--classic", "fmnist", "-chanels", "8"], "unknown -chanels (did you mean -channels?); it knows"),
        (["prepare_data.sh"], "the following arguments are required: CONFIG"),
        (["check_and_sync_data.sh", "--place", "scratch"], "error: --place belongs to --remove VARIANT; without"),
        (
            ["report.sh", "dashboard"],
            "error: report.sh dashboard: the following arguments are required: --csv, --output",
        ),
        (["deploy.sh", "export", "demo"], "the following arguments are required: --format"),
        (["evaluate.sh", ".."], "error: job id '..': expected letters"),
    ],
)
def test_a_wrong_argument_is_answered_before_anything_is_installed(
    fresh_checkout: Path, command: list[str], message: str
) -> None:
    result = run([fresh_checkout / command[0], *command[1:]], cwd=fresh_checkout)
    assert result.returncode == 2
    assert message in result.stderr
    assert not (fresh_checkout / ".venv").exists()


def test_the_doctor_looks_before_anything_is_installed(fresh_checkout: Path, tmp_path: Path) -> None:
    places = {f"{name}_STORAGE_DIR": str(tmp_path) for name in ("SCRATCH", "PROJECT")}
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "PROJECT_VARIABLES": os.devnull, **places}
    result = run([fresh_checkout / "check_and_sync_data.sh", "doctor"], env=environment)
    assert result.stderr == ""
    assert f"{tmp_path} can be written" in result.stdout
    assert "no .venv yet; the first run makes it" in result.stdout
    assert not (fresh_checkout / ".venv").exists()


def test_an_old_python_is_refused_by_name(fresh_checkout: Path, tmp_path: Path) -> None:
    for name in ("dirname", "bash", "cat", "cksum", "env", "id"):
        (tmp_path / name).symlink_to(shutil.which(name) or "")
    for name in ("python3", "python"):
        (tmp_path / name).write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    result = run([fresh_checkout / "train.sh", "configs/quickstart.yaml", "demo"], env={"PATH": str(tmp_path)})
    assert result.returncode == 1
    assert result.stderr.startswith("error: no Python 3.11 or newer found; install one")


@pytest.fixture
def ready_checkout(repository: Path) -> Path:
    """The repository itself, if its environment is set up, as ./run_tests.sh does."""
    if not (repository / ".venv" / "training.done").exists():
        pytest.skip("no .venv in the checkout; run ./run_tests.sh")
    return repository


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        (["--override", "train.epochs=0 train.amp=of"], ["train.epochs", "train.amp"]),
        (["--override", "train.epochs=0", "train.amp=of"], ["train.epochs", "train.amp"]),
        (["--override", "train.epochs=0", "--override", "train.amp=of"], ["train.epochs", "train.amp"]),
        (["--override", "base.tag=two words train.epochs=-3"], ["train.epochs"]),
        (
            ["--override", "train.step_epochs=[3, 1] train.schedule=step"],
            ["train.step_epochs [3, 1] must be ascending"],
        ),
    ],
)
def test_overrides_reach_the_config_through_the_wrapper(
    ready_checkout: Path, words: list[str], keys: list[str]
) -> None:
    result = run([ready_checkout / "train.sh", "configs/quickstart.yaml", "demo", *words], cwd="/")
    assert result.returncode == 2
    assert all(key in result.stderr for key in keys), result.stderr
    assert result.stderr.count("\n") == 1


def test_a_config_error_costs_well_under_a_second_of_python(ready_checkout: Path) -> None:
    """No wall clock of a shared machine is asserted: the modules that would cost seconds are not loaded."""
    code = (
        "import sys, runpy; sys.argv = ['main.py', 'configs/quickstart.yaml', 'demo', '--override', 'train.epochs=0']\n"
        "try: runpy.run_path('main.py', run_name='__main__')\n"
        "except SystemExit as end: print(end.code, sorted({'torch', 'numpy', 'numba', 'h5py'} & sys.modules.keys()))"
    )
    result = run([sys.executable, "-c", code], cwd=ready_checkout)
    assert result.stdout.strip() == "2 []"


def test_an_unreadable_container_falls_back_to_the_environment_and_says_so(ready_checkout: Path) -> None:
    environment = {**os.environ, "SINGULARITY_CONTAINER": "/nowhere/image.sif"}
    result = run([ready_checkout / "train.sh", "configs/none.yaml", "demo"], env=environment)
    assert "note: SINGULARITY_CONTAINER=/nowhere/image.sif is not readable; using" in result.stderr


def test_a_spool_copy_finds_the_checkout_through_the_submit_folder(repository: Path, tmp_path: Path) -> None:
    copy = tmp_path / "slurm_script"
    shutil.copy(repository / "train.sh", copy)
    result = run([copy, "--help"], env={**os.environ, "SLURM_SUBMIT_DIR": str(repository)}, cwd="/")
    assert result.returncode == 0, result.stderr
    assert "usage: train.sh" in result.stdout


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_spool_copy_without_a_checkout_says_so(repository: Path, tmp_path: Path, wrapper: str) -> None:
    shutil.copy(repository / wrapper, tmp_path / "slurm_script")
    result = run([tmp_path / "slurm_script"], env={**os.environ, "SLURM_SUBMIT_DIR": str(tmp_path)}, cwd="/")
    assert result.returncode == 2
    assert result.stderr.startswith(f"error: {tmp_path} is no checkout of this project; submit the script from one: ")
    assert result.stderr.count("\n") == 1


def test_the_job_scripts_find_the_checkout_by_the_same_lines(repository: Path) -> None:
    """They cannot share them: a spool copy has to find the checkout before it can source anything that lies there."""
    heads = set()
    for name in ("train", "prepare_data", "evaluate", "check_and_sync_data"):
        lines, found, _ = (
            (repository / f"{name}.sh").read_text().partition('. "$REPOSITORY/helper_scripts/environment.sh"')
        )
        assert found
        heads.add(
            lines[lines.index("#SBATCH --output") :].replace(f"{name}\\.sh", "SCRIPT").replace(f"{name}.sh", "SCRIPT")
        )
    assert len(heads) == 1


def test_a_second_setup_does_nothing(ready_checkout: Path) -> None:
    before = time.time_ns()
    result = run([ready_checkout / "helper_scripts" / "setup_environment.sh"])
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert (ready_checkout / ".venv" / "training.done").stat().st_mtime_ns < before


def test_every_file_and_command_of_the_readme_exists(repository: Path) -> None:
    text = (repository / "README.md").read_text()
    text = re.sub(
        r"([\w/]+)\{([\w,]+)\}([\w.]+)",
        lambda match: " ".join(match[1] + word + match[3] for word in match[2].split(",")),
        text,
    )
    names = set(
        re.findall(r"(?<![\w/])(?:\./)?((?:configs|docs|helper_scripts|benchmarks|requirements)/[\w./-]+\w)", text)
    )
    names |= set(re.findall(r"\./(\w+\.sh)", text))
    assert {"train.sh", "run_tests.sh", "configs/quickstart.yaml"} <= names
    assert [name for name in sorted(names) if not (repository / name).exists()] == []
