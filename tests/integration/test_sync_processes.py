"""`check_and_sync_data.py` as processes of their own, side by side and killed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration
PROCESSES = 10


def start(repository: Path, scratch: Path, project: Path, *words: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "SCRATCH_STORAGE_DIR": str(scratch), "PROJECT_STORAGE_DIR": str(project)}
    command = [sys.executable, str(repository / "check_and_sync_data.py"), *words]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def digest(root: Path) -> dict[str, bytes]:
    """Every file of the prepared variants, without lock files."""
    files = [path for path in sorted((root / "data").rglob("*")) if path.is_file() and path.suffix != ".lock"]
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def test_ten_processes_at_once_stage_once(repository: Path, small_storage: Path, tmp_path: Path) -> None:
    """All look before any has finished: the lock of the variant is held until each has printed its table."""
    from difflogic_tonic.cache.publish import lock_path
    from difflogic_tonic.storage import file_lock

    shutil.copytree(small_storage / "data", tmp_path / "project" / "data")
    (variant,) = [path for path in (small_storage / "data" / "NMNIST").iterdir() if path.is_dir()]
    final = tmp_path / "scratch" / "data" / "NMNIST" / variant.name
    final.parent.mkdir(parents=True)
    with file_lock(lock_path(final)):
        started = [start(repository, tmp_path / "scratch", tmp_path / "project") for _ in range(PROCESSES)]
        for process in started:
            assert process.stdout is not None
            while "waiting for it" not in (line := process.stdout.readline()):
                assert line, process.communicate()
    answers = [process.communicate(timeout=120) for process in started]
    assert [process.returncode for process in started] == [0] * PROCESSES, answers
    assert sum("done: copy" in out for out, _ in answers) == 1
    assert sum("another process was faster" in out for out, _ in answers) == PROCESSES - 1
    assert digest(tmp_path / "scratch") == digest(tmp_path / "project")
    assert not [path for path in final.parent.iterdir() if ".tmp-" in path.name]


def test_a_killed_copy_is_no_copy_and_the_next_run_makes_it(
    repository: Path, small_storage: Path, tmp_path: Path
) -> None:
    shutil.copytree(small_storage / "data", tmp_path / "project" / "data")
    process = start(repository, tmp_path / "scratch", tmp_path / "project")
    copies = tmp_path / "scratch" / "data" / "NMNIST"
    while process.poll() is None and not (copies.is_dir() and any(path.is_dir() for path in copies.iterdir())):
        time.sleep(0.0005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    after = start(repository, tmp_path / "scratch", tmp_path / "project", "--json")
    out, errors = after.communicate(timeout=60)
    assert after.returncode == 0, errors
    assert json.loads(out)["exit_code"] == 0
    assert digest(tmp_path / "scratch") == digest(tmp_path / "project")


def test_a_full_disk_is_one_line_and_exit_code_5(repository: Path, small_storage: Path, tmp_path: Path) -> None:
    shutil.copytree(small_storage / "data", tmp_path / "project" / "data")
    limited = ["bash", "-c", 'ulimit -f 1; exec "$@"', "-", sys.executable, str(repository / "check_and_sync_data.py")]
    environment = {
        **os.environ,
        "SCRATCH_STORAGE_DIR": str(tmp_path / "scratch"),
        "PROJECT_STORAGE_DIR": str(tmp_path / "project"),
    }
    result = subprocess.run(limited, env=environment, capture_output=True, text=True, timeout=60)
    assert result.returncode == 5, result.stderr
    assert result.stderr.startswith("error: file size limit reached in ")
    assert result.stderr.count("\n") == 1
    assert not [path for path in (tmp_path / "scratch" / "data" / "NMNIST").iterdir() if path.is_dir()]


def test_a_place_that_may_not_be_read_is_said_and_nothing_is_guessed(
    repository: Path, small_storage: Path, tmp_path: Path
) -> None:
    """The variant is in both places, but only scratch can be looked into."""
    unprivileged = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"] if os.geteuid() == 0 else []
    if unprivileged and not shutil.which("setpriv"):
        pytest.skip("permissions do not bind root")
    for name in ("scratch", "project"):
        shutil.copytree(small_storage / "data", tmp_path / name / "data")
    hidden = tmp_path / "project" / "data"
    hidden.chmod(0)
    environment = {
        **os.environ,
        "SCRATCH_STORAGE_DIR": str(tmp_path / "scratch"),
        "PROJECT_STORAGE_DIR": str(tmp_path / "project"),
    }
    command = [*unprivileged, sys.executable, str(repository / "check_and_sync_data.py")]
    (variant,) = [path.name for path in (tmp_path / "scratch" / "data" / "NMNIST").iterdir() if path.is_dir()]
    shown, removed = (
        subprocess.run([*command, *words], env=environment, capture_output=True, text=True, timeout=60)
        for words in ((), ("--remove", variant, "--place", "scratch"))
    )
    hidden.chmod(0o755)
    assert shown.returncode == 5
    assert f"error: {hidden} may not be accessed by this user" in shown.stderr
    assert "Traceback" not in shown.stderr
    assert removed.returncode == 4
    assert "the only complete copy" in removed.stderr
    assert digest(tmp_path / "scratch") == digest(tmp_path / "project")
