"""`sync_code_to_remote.sh` against a real sshd: what arrives, what goes, and what must stay."""

import shutil
import subprocess
from pathlib import Path

import pytest

from ssh_host import SshHost, ssh_host, sshd  # noqa: F401

pytestmark = pytest.mark.cluster


@pytest.fixture
def checkout(repository: Path, tmp_path: Path) -> Path:
    """A small checkout whose path has a space."""
    root = tmp_path / "check out"
    shutil.copytree(
        repository / "helper_scripts", root / "helper_scripts", ignore=shutil.ignore_patterns("__pycache__")
    )
    files = {
        ".gitignore": "/storage/\n*.sif\nhelper_scripts/project_variables.local.sh\n__pycache__/\n/.venv\n",
        "train.sh": "#!/bin/sh\n",
        "src/a file.py": "one = 1\n",
        "src/größe.py": "two = 2\n",
        "src/__pycache__/x.pyc": "bytes",
        "storage/data/big": "not code",
        "image.sif": "not code",
        ".git/HEAD": "ref",
        ".venv/bin/python": "binary",
        "helper_scripts/project_variables.local.sh": "REMOTE_HOST=mine\n",
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (root / "train.sh").chmod(0o755)
    return root


CODE = {".gitignore", "train.sh", "src/a file.py", "src/größe.py"}


def sync(checkout: Path, host: SshHost, *words: str) -> str:
    command = [str(checkout / "helper_scripts" / "sync_code_to_remote.sh"), *words]
    done = subprocess.run(command, env=host.settings(), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def there(host: SshHost) -> dict[str, bytes]:
    root = host.root / "code here"
    found = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in found}


def code_there(host: SshHost) -> set[str]:
    return {name for name in there(host) if not name.startswith(("helper_scripts/", ".synced-files"))}


def test_the_code_arrives_and_nothing_that_is_ignored(checkout: Path, ssh_host: SshHost) -> None:  # noqa: F811
    sync(checkout, ssh_host)
    assert code_there(ssh_host) == CODE
    assert "helper_scripts/project_variables.local.sh" not in there(ssh_host)
    assert (ssh_host.root / "code here" / "train.sh").stat().st_mode & 0o777 == 0o755
    assert not list((ssh_host.root / "code here").rglob(".rsync-partial"))


def test_a_dry_run_changes_nothing(checkout: Path, ssh_host: SshHost) -> None:  # noqa: F811
    said = sync(checkout, ssh_host, "--dry-run")
    assert "would send src/a file.py" in said
    assert list(ssh_host.root.iterdir()) == []
    sync(checkout, ssh_host)
    before = there(ssh_host)
    (checkout / "src" / "a file.py").unlink()
    (checkout / "train.sh").write_text("#!/bin/sh\nexit 1\n")
    said = sync(checkout, ssh_host, "--dry-run")
    assert "would remove src/a file.py" in said
    assert "would send train.sh" in said
    assert there(ssh_host) == before


def test_only_what_was_sent_before_is_removed(checkout: Path, ssh_host: SshHost) -> None:  # noqa: F811
    sync(checkout, ssh_host)
    root = ssh_host.root / "code here"
    kept = {
        "slurm-17.out": "a job's output",
        "logs/job.log": "log",
        "runs/job/metrics.jsonl": "{}",
        "storage/checkpoints/job/step.pt": "checkpoint",
        ".venv/bin/python": "environment",
        "src/notes of somebody.py": "mine",
        "helper_scripts/project_variables.local.sh": "settings of the cluster",
        "image.sif": "image",
    }
    for name, text in kept.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (checkout / "src" / "a file.py").unlink()
    (checkout / "src" / "new.py").write_text("three = 3\n")
    said = sync(checkout, ssh_host)
    assert "1 files sent" in said
    assert "1 removed" in said
    found = there(ssh_host)
    assert {name: found[name].decode() for name in kept} == kept
    assert "src/a file.py" not in found
    assert found["src/new.py"] == b"three = 3\n"


def test_a_list_of_sent_files_that_somebody_forged_reaches_nothing_outside(
    checkout: Path,
    ssh_host: SshHost,  # noqa: F811
) -> None:
    sync(checkout, ssh_host)
    outside = ssh_host.root / "project storage"
    outside.mkdir()
    (outside / "precious").write_text("data")
    listed = ssh_host.root / "code here" / ".synced-files"
    listed.write_text(f"{listed.read_text()}../project storage/precious\n{outside}/precious\nsrc/../../x\n")
    sync(checkout, ssh_host)
    assert (outside / "precious").read_text() == "data"


def test_the_second_time_nothing_is_sent(checkout: Path, ssh_host: SshHost) -> None:  # noqa: F811
    sync(checkout, ssh_host)
    before = {path: path.stat().st_ino for path in (ssh_host.root / "code here").rglob("*") if path.is_file()}
    assert "0 files sent (0 B), 0 removed" in sync(checkout, ssh_host)
    after = {path: path.stat().st_ino for path in (ssh_host.root / "code here").rglob("*") if path.is_file()}
    assert after == before


def test_a_file_that_is_being_read_is_replaced_and_not_overwritten(
    checkout: Path,
    ssh_host: SshHost,  # noqa: F811
) -> None:
    """What a running job has open stays as it was."""
    sync(checkout, ssh_host)
    with (ssh_host.root / "code here" / "src" / "a file.py").open() as opened:
        (checkout / "src" / "a file.py").write_text("one = 'another'\n")
        sync(checkout, ssh_host)
        assert opened.read() == "one = 1\n"
    assert there(ssh_host)["src/a file.py"] == b"one = 'another'\n"
