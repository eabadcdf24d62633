"""What the sync scripts say when the other end is not there, not fit, or full: one line, and what to do."""

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ssh_host import SshHost, ssh_host, sshd  # noqa: F401

pytestmark = pytest.mark.cluster
SCRIPTS = ("sync_code_to_remote", "sync_container_to_remote", "sync_data_to_remote", "sync_logs_from_remote")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "an image.sif"
    path.write_bytes(bytes(3_000_000))
    return path


def call(repository: Path, settings: dict[str, str], script: str, *words: str | Path) -> tuple[int, str]:
    command = [str(repository / "helper_scripts" / f"{script}.sh"), *map(str, words)]
    done = subprocess.run(command, env=settings, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stderr


def one_line(answer: tuple[int, str], code: int) -> str:
    assert answer[0] == code, answer
    assert answer[1].count("\n") == 1, answer[1]
    assert answer[1].startswith("error: ")
    return answer[1]


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_needs_no_settings(repository: Path, script: str) -> None:
    command = [str(repository / "helper_scripts" / f"{script}.sh"), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"})
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: helper_scripts/{script}.sh")
    assert "--dry-run" in done.stdout


@pytest.mark.parametrize("script", SCRIPTS)
def test_an_unset_host_is_named_with_the_file_to_set_it_in(repository: Path, script: str, tmp_path: Path) -> None:
    settings = {"PATH": "/usr/bin:/bin", "PROJECT_VARIABLES": "/dev/null", "PROJECT_STORAGE_DIR": str(tmp_path)}
    said = one_line(call(repository, settings, script), 2)
    assert "REMOTE_HOST is not set" in said
    assert "helper_scripts/project_variables.local.sh" in said
    assert "unknown argument" in one_line(call(repository, settings, script, "--frobnicate"), 2)


def test_a_relative_folder_is_refused(repository: Path, ssh_host: SshHost, image: Path) -> None:  # noqa: F811
    settings = ssh_host.settings(REMOTE_PROJECT_STORAGE_DIR="storage")
    said = one_line(call(repository, settings, "sync_container_to_remote", image), 2)
    assert "REMOTE_PROJECT_STORAGE_DIR=storage: expected an absolute path" in said


def test_an_unreachable_host(repository: Path, ssh_host: SshHost, image: Path) -> None:  # noqa: F811
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens there
        text = ssh_host.config.read_text()
        ssh_host.config.write_text(text.replace(f"Port {ssh_host.port}", f"Port {taken.getsockname()[1]}"))
        answer = call(repository, ssh_host.settings(), "sync_container_to_remote", image)
    ssh_host.config.write_text(text)
    said = one_line(answer, 5)
    assert "cluster cannot be reached: " in said
    assert "Connection refused" in said


def test_a_key_that_is_not_accepted(repository: Path, ssh_host: SshHost, image: Path) -> None:  # noqa: F811
    ssh_host.write_config(key="host")
    answer = call(repository, ssh_host.settings(), "sync_container_to_remote", image)
    ssh_host.write_config()
    assert "Permission denied" in one_line(answer, 5)


def test_a_shell_that_prints_is_explained(repository: Path, ssh_host: SshHost, image: Path) -> None:  # noqa: F811
    ssh_host.force_command('echo Welcome to the cluster; eval "$SSH_ORIGINAL_COMMAND"')
    said = one_line(call(repository, ssh_host.settings(), "sync_container_to_remote", image), 5)
    assert "prints 'Welcome to the cluster'" in said
    assert "is your shell clean?" in said
    assert "~/.bashrc" in said


def test_no_rsync_at_the_other_end(repository: Path, ssh_host: SshHost, image: Path) -> None:  # noqa: F811
    ssh_host.force_command('PATH=/nowhere; eval "$SSH_ORIGINAL_COMMAND"')
    said = one_line(call(repository, ssh_host.settings(), "sync_container_to_remote", image), 5)
    assert "rsync is not installed at cluster" in said


def test_logs_of_a_storage_place_that_is_not_there(repository: Path, ssh_host: SshHost, tmp_path: Path) -> None:  # noqa: F811
    answer = call(repository, ssh_host.settings(), "sync_logs_from_remote", "--to", tmp_path / "logs")
    assert "has no folder" in one_line(answer, 2)


@pytest.fixture
def small_disk(ssh_host: SshHost) -> Iterator[Path]:  # noqa: F811
    """Project storage of the other end as a file system of 2 MB."""
    folder = ssh_host.root / "project storage"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_says_so_and_the_next_call_goes_on(
    repository: Path,
    ssh_host: SshHost,  # noqa: F811
    image: Path,
    small_disk: Path,
) -> None:
    image.write_bytes(bytes(range(250)) * 12_000)
    said = one_line(call(repository, ssh_host.settings(), "sync_container_to_remote", image), 5)
    assert "the disk or quota at the receiving end is full" in said
    assert "No space left on device" in said
    assert not (small_disk / "singularity" / "difflogic.sif").exists()
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    assert call(repository, ssh_host.settings(), "sync_container_to_remote", image) == (0, "")
    assert (small_disk / "singularity" / "difflogic.sif").read_bytes() == image.read_bytes()
    assert not (small_disk / "singularity" / ".rsync-partial").exists()


def test_a_read_only_disk(repository: Path, ssh_host: SshHost, image: Path, small_disk: Path) -> None:  # noqa: F811
    (small_disk / "singularity").mkdir()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    said = one_line(call(repository, ssh_host.settings(), "sync_container_to_remote", image), 5)
    assert "the receiving end is read-only" in said
