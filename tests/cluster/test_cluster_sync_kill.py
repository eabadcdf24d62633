"""Sending a dataset, killed at random times: the other end has all of it or nothing, and the next call goes on."""

import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from ssh_host import SshHost, ssh_host, sshd  # noqa: F401


@pytest.fixture
def variant(tmp_path: Path) -> Path:
    """What sync_data_to_remote.sh takes for a complete variant: three shards of 1 MB and a manifest."""
    folder = tmp_path / "storage" / "data" / "NMNIST" / ("0123456789abcdef" * 4)
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(3):
        (folder / f"train-{number:05d}.h5").write_bytes(rng.integers(0, 256, 1_000_000, np.uint8).tobytes())
    (folder / "manifest.json").write_text('{"dataset": "NMNIST"}\n')
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "kills", [pytest.param(3, marks=pytest.mark.cluster), pytest.param(50, marks=pytest.mark.slow)]
)
def test_killed_transfers_leave_all_of_a_variant_or_nothing(
    kills: int,
    repository: Path,
    ssh_host: SshHost,  # noqa: F811
    variant: Path,
) -> None:
    wanted = files(variant)
    final = ssh_host.root / "project storage" / "data" / "NMNIST" / variant.name
    settings = ssh_host.settings(PROJECT_STORAGE_DIR=str(variant.parents[2]), SYNC_KBYTES_PER_SECOND="1500")

    def start() -> subprocess.Popen[bytes]:
        command = [repository / "helper_scripts" / "sync_data_to_remote.sh"]
        return subprocess.Popen(command, env=settings, stdout=subprocess.DEVNULL, start_new_session=True)

    started = time.monotonic()
    assert start().wait(60) == 0
    duration = time.monotonic() - started
    rng = random.Random(kills)
    done = unfinished = 0
    while done < kills:
        shutil.rmtree(final, ignore_errors=True)
        for _ in range(rng.randint(1, 3)):
            process = start()
            time.sleep(rng.uniform(0, duration))
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                done += 1
            process.wait()
            unfinished += not final.exists()
            assert not final.exists() or files(final) == wanted
        assert start().wait(120) == 0
        assert files(final) == wanted
        assert [path.name for path in final.parent.iterdir()] == [final.name]
    print(f"{done} kills of a transfer of {duration:.1f} s, {unfinished} before it was done")
    assert unfinished >= kills // 3
