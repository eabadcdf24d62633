"""A real sshd on loopback as the cluster of the sync scripts, with keys, port and ssh configuration of its own."""

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass
class SshHost:
    """`root` stands for the disk of the other machine; `config` is what `ssh -F` takes, with a Host cluster."""

    folder: Path
    root: Path
    port: int

    @property
    def config(self) -> Path:
        return self.folder / "ssh config"

    def settings(self, **more: str) -> dict[str, str]:
        """The environment of a sync script: nothing of the user's own settings, and storage places of this host."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("REMOTE_", "SSH_"))}
        return kept | {
            "PROJECT_VARIABLES": os.devnull,
            "REMOTE_HOST": "cluster",
            "REMOTE_SSH_CONFIG": str(self.config),
            "REMOTE_CODE_DIR": str(self.root / "code here"),
            "REMOTE_PROJECT_STORAGE_DIR": str(self.root / "project storage"),
            **more,
        }

    def write_config(self, key: str = "id") -> None:
        lines = [
            "Host cluster",
            "  HostName 127.0.0.1",
            f"  Port {self.port}",
            f"  User {getpass.getuser()}",
            f'  IdentityFile "{self.folder / key}"',
            "  IdentitiesOnly yes",
            "  BatchMode yes",
            f'  UserKnownHostsFile "{self.folder / "known_hosts"}"',
            "  StrictHostKeyChecking accept-new",
            "  LogLevel ERROR",
        ]
        self.config.write_text("\n".join(lines) + "\n")

    def force_command(self, command: str | None) -> None:
        """What every login runs in place of what it asked for, which is then in SSH_ORIGINAL_COMMAND."""
        key = (self.folder / "id.pub").read_text()
        option = "" if command is None else 'command="{}" '.format(command.replace('"', '\\"'))
        (self.folder / "authorized_keys").write_text(option + key)


def start(folder: Path, sshd_path: str) -> tuple[SshHost, int]:
    """The host and the process id of its sshd."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    host = SshHost(folder, folder / "remote disk", port)
    host.root.mkdir()
    for key in ("host", "id"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)], check=True)
    host.force_command(None)
    host.write_config()
    options = [
        f"Port {port}",
        "ListenAddress 127.0.0.1",
        f'HostKey "{folder / "host"}"',
        f'AuthorizedKeysFile "{folder / "authorized_keys"}"',
        f'PidFile "{folder / "sshd.pid"}"',
        "StrictModes no",
        "UsePAM no",
        "PasswordAuthentication no",
        "MaxStartups 100",
    ]
    (folder / "sshd_config").write_text("\n".join(options) + "\n")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd wants it, and the Debian package makes it only at boot
    command = [sshd_path, "-f", str(folder / "sshd_config"), "-E", str(folder / "sshd.log")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    end = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            return host, int((folder / "sshd.pid").read_text())
        except (OSError, ValueError):
            assert time.monotonic() < end, (folder / "sshd.log").read_text()
            time.sleep(0.02)


@pytest.fixture(scope="module")
def sshd(program: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshHost]:
    """One sshd for the tests of a file."""
    for name in ("ssh", "rsync"):
        program(name)
    host, pid = start(tmp_path_factory.mktemp("ssh host"), program("sshd"))
    yield host
    os.kill(pid, 15)


@pytest.fixture
def ssh_host(sshd: SshHost) -> SshHost:
    """That host with an empty disk."""
    shutil.rmtree(sshd.root)
    sshd.root.mkdir()
    sshd.force_command(None)
    return sshd
