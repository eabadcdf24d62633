"""The sync scripts where they cannot work. What they do elsewhere: tests/cluster/test_cluster_sync_*.py."""

import shutil
import subprocess
from pathlib import Path

import pytest


@pytest.mark.parametrize("script", ["code_to_remote", "container_to_remote", "data_to_remote", "logs_from_remote"])
@pytest.mark.parametrize(("version", "works"), [("3 2", False), ("4 3", False), ("4 4", True), ("5 0", True)])
def test_a_shell_that_is_too_old_is_one_line(
    repository: Path, tmp_path: Path, script: str, version: str, works: bool
) -> None:
    helpers = tmp_path / "helper scripts"
    shutil.copytree(repository / "helper_scripts", helpers)
    functions = helpers / "sync_functions.sh"
    text = functions.read_text()
    assert "BASH_VERSINFO" in text
    # bash lets nobody change the array in which it says its version
    functions.write_text(f"PRETENDED_VERSION=({version})\n{text.replace('BASH_VERSINFO', 'PRETENDED_VERSION')}")
    result = subprocess.run([helpers / f"sync_{script}.sh", "--help"], capture_output=True, text=True)
    if works:
        assert (result.returncode, result.stderr) == (0, "")
        return
    assert result.returncode == 2
    assert result.stderr.startswith(f"error: sync_{script}.sh needs bash 4.4 or newer, and this is ")
    assert result.stderr.count("\n") == 1
