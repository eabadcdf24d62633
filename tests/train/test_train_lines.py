"""What a run prints to be pasted into a shell."""

import subprocess
import sys
from pathlib import Path

import pytest

from difflogic_tonic.config import outer_container
from difflogic_tonic.train.lines import tensorboard_command

ECHO = """#!/bin/sh
printf '%s\\n' "$@"
"""


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No container, whatever the tests run in."""
    for name in ("APPTAINER_NAME", "SINGULARITY_NAME"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(ECHO)
    path.chmod(0o755)
    return path


def pasted(command: str, path: str = "/usr/bin:/bin") -> list[str]:
    done = subprocess.run(["sh", "-c", command], env={"PATH": path}, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_the_curves_are_shown_by_the_environment_that_trained(outside: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program(tmp_path / "my checkout" / ".venv" / "bin" / "tensorboard")
    outside.setattr(sys, "executable", str(tmp_path / "my checkout" / ".venv" / "bin" / "python"))
    folder = tmp_path / "its runs"
    assert pasted(tensorboard_command(folder)) == ["--logdir", str(folder)]


def test_a_python_without_the_program_beside_it_runs_the_module(outside: pytest.MonkeyPatch, tmp_path: Path) -> None:
    outside.setattr(sys, "executable", str(program(tmp_path / "python")))
    assert pasted(tensorboard_command(tmp_path)) == ["-m", "tensorboard.main", "--logdir", str(tmp_path)]


def test_from_a_container_the_command_is_one_for_outside(outside: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program(tmp_path / "apptainer")
    outside.setenv("APPTAINER_NAME", "copy.sif")
    outside.setenv("APPTAINER_COMMAND", "exec")
    outside.setenv("APPTAINER_CONTAINER", "/scratch/copy.sif")
    outside.setenv("DIFFLOGIC_IMAGE", "/my project/image.sif")
    words = pasted(tensorboard_command(tmp_path), f"{tmp_path}:/usr/bin:/bin")
    assert words == [
        *("exec", "--bind", str(tmp_path), "/my project/image.sif"),
        *("tensorboard", "--logdir", str(tmp_path)),
    ]


@pytest.mark.parametrize(
    ("variables", "found"),
    [
        ({}, None),
        ({"SINGULARITY_CONTAINER": "/a.sif"}, None),  # the wrappers' setting, outside
        ({"SINGULARITY_CONTAINER": "/a.sif", "SINGULARITY_NAME": "a.sif"}, ("singularity", "/a.sif")),
        (
            {"APPTAINER_CONTAINER": "/a.sif", "APPTAINER_NAME": "a.sif", "SINGULARITY_NAME": "a"},
            ("apptainer", "/a.sif"),
        ),
        ({"APPTAINER_CONTAINER": "/a.sif", "APPTAINER_NAME": "a.sif", "APPTAINER_COMMAND": "shell"}, None),
    ],
)
def test_the_container_is_known_where_commands_are_typed_outside(
    variables: dict[str, str], found: tuple[str, str] | None
) -> None:
    assert outer_container(variables) == found
