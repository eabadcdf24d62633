"""helper_scripts/project_variables.sh: where its values come from, and that nothing of a cluster is written in it."""

import shutil
import subprocess
from pathlib import Path

import pytest

SHOW = 'printf "%s\\n" "${REMOTE_HOST-unset}" "${SBATCH_PARTITION-unset}"; env | grep -c "^REMOTE_HOST=" || true'


def sourced(file: Path, **environment: str) -> list[str]:
    """REMOTE_HOST, SBATCH_PARTITION, and how often the environment of a child holds REMOTE_HOST."""
    command = ["bash", "-c", f'set -eu; . "$1"; . "$1"; {SHOW}', "bash", str(file)]
    result = subprocess.run(command, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin", **environment})
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return result.stdout.split()


@pytest.fixture
def variables(repository: Path, tmp_path: Path) -> Path:
    """A copy in a folder whose name has a space."""
    folder = tmp_path / "helper scripts"
    folder.mkdir()
    return Path(shutil.copy(repository / "helper_scripts" / "project_variables.sh", folder))


def test_nothing_is_set_as_it_comes(variables: Path) -> None:
    assert sourced(variables) == ["unset", "unset", "0"]


def test_a_local_copy_gives_the_values_and_the_environment_wins(variables: Path) -> None:
    text = variables.read_text()
    assert "${REMOTE_HOST:=}" in text
    local = variables.with_name("project_variables.local.sh")
    local.write_text(text.replace("${REMOTE_HOST:=}", "${REMOTE_HOST:=login.example}"))
    assert sourced(variables) == ["login.example", "unset", "1"]
    assert sourced(variables, REMOTE_HOST="other.example") == ["other.example", "unset", "1"]


def test_a_local_file_may_set_a_few_values_plainly(variables: Path) -> None:
    variables.with_name("project_variables.local.sh").write_text("SBATCH_PARTITION=gpu\n")
    assert sourced(variables) == ["unset", "gpu", "0"]


def test_project_variables_names_another_file_or_none(variables: Path, tmp_path: Path) -> None:
    variables.with_name("project_variables.local.sh").write_text("SBATCH_PARTITION=gpu\n")
    other = tmp_path / "other.sh"
    other.write_text("SBATCH_PARTITION=preempt\n")
    assert sourced(variables, PROJECT_VARIABLES=str(other)) == ["unset", "preempt", "0"]
    assert sourced(variables, PROJECT_VARIABLES="/dev/null") == ["unset", "unset", "0"]


def test_a_file_that_project_variables_names_in_vain_is_said(variables: Path) -> None:
    command = ["bash", "-c", 'set -eu; . "$1"', "bash", str(variables)]
    result = subprocess.run(
        command, capture_output=True, text=True, env={"PROJECT_VARIABLES": "/none", "PATH": "/usr/bin"}
    )
    assert result.returncode == 0
    assert result.stderr == "warning: PROJECT_VARIABLES=/none cannot be read: no settings are taken from it\n"


def test_the_local_copy_is_not_under_version_control(repository: Path) -> None:
    assert "helper_scripts/project_variables.local.sh" in (repository / ".gitignore").read_text().splitlines()
