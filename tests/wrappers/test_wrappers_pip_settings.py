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


def test_variables_win_over_the_section_of_install_and_that_over_the_global_one(
    repository: Path, tmp_path: Path
) -> None:
    (tmp_path / "pip.conf").write_text(CONFIG)
    (tmp_path / "out").mkdir()
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PIP_CONFIG_FILE": str(tmp_path / "pip.conf")}
    done = subprocess.run(
        [sys.executable, repository / "singularity" / "pip_settings.py", tmp_path / "out"],
        env=environment | {"PIP_TIMEOUT": "7"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "out" / "pip.conf").read_text().splitlines()
    assert "timeout = 7" in lines
    assert "index-url = https://install.example/simple" in lines
    assert "retries = 1" in lines
    assert not any("prefer-binary" in line for line in lines)
