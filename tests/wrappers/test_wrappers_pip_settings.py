"""What singularity/build.sh takes over of pip's settings on the machine that it builds on."""

import subprocess
import sys
from pathlib import Path

CONFIG = """
[global]
timeout = 5
retries = 1
index-url = https://everything.example/simple
[install]
index-url = https://install.example/simple
[download]
prefer-binary = true
"""


def settings_of(repository: Path, folder: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    """What is taken over to `folder`/out of the settings in `folder`/pip.conf and of PIP_* in `variables`."""
    (folder / "out").mkdir()
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "PIP_CONFIG_FILE": str(folder / "pip.conf")}
    return subprocess.run(
        [sys.executable, repository / "singularity" / "pip_settings.py", folder / "out"],
        env=environment | variables,
        capture_output=True,
        text=True,
    )


def test_variables_win_over_the_section_of_install_and_that_over_the_global_one(
    repository: Path, tmp_path: Path
) -> None:
    (tmp_path / "pip.conf").write_text(CONFIG)
    done = settings_of(repository, tmp_path, PIP_TIMEOUT="7")
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "out" / "pip.conf").read_text().splitlines()
    assert "timeout = 7" in lines
    assert "index-url = https://install.example/simple" in lines
    assert "retries = 1" in lines
    assert not any("prefer-binary" in line for line in lines)


def test_certificates_that_are_not_there_are_one_line(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "pip.conf").write_text(f"[global]\ncert = {tmp_path}/gone.pem\n")
    done = settings_of(repository, tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: pip's setting cert={tmp_path}/gone.pem cannot be read (No such file")
    assert done.stderr.count("\n") == 1
