"""Datasets and images to a real sshd, and run folders back: interrupted, resumed, twice, and watched meanwhile."""

import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from difflogic_tonic import cache
from difflogic_tonic.cache.publish import complete_manifest, damage_of
from difflogic_tonic.config import PrepareConfig, StoragePaths
from difflogic_tonic.storage import open_storage
from ssh_host import SshHost, ssh_host, sshd  # noqa: F401

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A storage root, in a folder with a space, with one variant of six shards."""
    root = tmp_path_factory.mktemp("my storage")
    for split in ("train", "test"):
        for label in ("wave", "clap"):
            for number in range(6):
                rows = "".join(f"{t},{(t + number) % 5},{t % 3},{t % 2}\n" for t in range(40))
                path = root / "mine" / split / label / f"{number}.csv"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text("t,x,y,p\n" + rows)
    data = {"name": "FOLDER", "data_root": root / "mine", "sensor": [5, 3], "val_fraction": 0.0}
    data |= {"events_per_frame": 4, "shard_recordings": 4}
    storage = open_storage(StoragePaths(root / "storage", root / "storage"))
    cache.prepare(PrepareConfig.model_validate({"data": data}), storage, progress=False)
    return root / "storage"


def variant_of(root: Path) -> Path:
    (folder,) = (path for path in (root / "data" / "FOLDER").iterdir() if not path.name.startswith("."))
    return folder


def start(repository: Path, host: SshHost, script: str, *words: str | Path, **settings: str) -> subprocess.Popen[str]:
    command = [str(repository / "helper_scripts" / f"{script}.sh"), *map(str, words)]
    return subprocess.Popen(
        command, env=host.settings(**settings), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip


def sync(repository: Path, host: SshHost, script: str, *words: str | Path, **settings: str) -> str:
    process = start(repository, host, script, *words, **settings)
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return out


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def kill(process: subprocess.Popen[str]) -> None:
    """SIGKILL to the script and everything it started but its connection, which would be gone with the machine."""
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def test_a_dataset_arrives_complete_and_the_second_time_nothing_is_sent(
    repository: Path,
    ssh_host: SshHost,  # noqa: F811
    prepared: Path,
) -> None:
    place = {"PROJECT_STORAGE_DIR": str(prepared)}
    assert "would send FOLDER/" in sync(repository, ssh_host, "sync_data_to_remote", "--dry-run", **place)
    assert list(ssh_host.root.iterdir()) == []
    said = sync(repository, ssh_host, "sync_data_to_remote", **place)
    assert "sent FOLDER/" in said
    remote = ssh_host.root / "project storage" / "data" / "FOLDER"
    assert [path.name for path in remote.iterdir()] == [variant_of(prepared).name]
    assert files(remote) == {
        f"{variant_of(prepared).name}/{name}": data for name, data in files(variant_of(prepared)).items()
    }
    assert complete_manifest(remote / variant_of(prepared).name) is not None
    before = {path: path.stat().st_ino for path in remote.rglob("*")}
    said = sync(repository, ssh_host, "sync_data_to_remote", "FOLDER", **place)
    assert said.startswith("0 variants sent, 1 were there already")
    assert {path: path.stat().st_ino for path in remote.rglob("*")} == before


def test_an_interrupted_dataset_is_gone_on_with_and_never_seen_torn(
    repository: Path,
    ssh_host: SshHost,  # noqa: F811
    prepared: Path,
    tmp_path: Path,
) -> None:
    """A large variant at a low speed, killed in the middle; a reader looks at the final name all the time."""
    place = tmp_path / "large"
    shutil.copytree(prepared, place)
    pad(variant_of(place), 2_000_000)
    final = ssh_host.root / "project storage" / "data" / "FOLDER" / variant_of(place).name
    wanted = files(variant_of(place))
    seen: list[bool] = []
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            if final.exists():
                seen.append(files(final) == wanted)
            time.sleep(0.002)

    watcher = threading.Thread(target=watch)
    watcher.start()
    settings = {"PROJECT_STORAGE_DIR": str(place)}
    process = start(repository, ssh_host, "sync_data_to_remote", SYNC_KBYTES_PER_SECOND="1000", **settings)
    staging = final.with_name(f".sync-{final.name}")
    until(lambda: sum(len(data) for data in files_if(staging).values()) > 2_500_000, process)
    kill(process)
    assert not final.exists()
    until(lambda: not list(staging.rglob(".*.h5.*")))  # the other end keeps what came of the last file
    before = sum(map(len, files(staging).values()))
    said = sync(repository, ssh_host, "sync_data_to_remote", **settings)
    over.set()
    watcher.join()
    assert seen == [True] * len(seen)
    assert files(final) == wanted
    total = sum(map(len, wanted.values()))
    assert sent_bytes(said) <= total - before + 200_000, (said, before, total)


def pad(variant: Path, n_bytes: int) -> None:
    """Make the shards larger. What is in them is nothing to rsync; the sizes in the manifest no longer hold."""
    random = np.random.default_rng(0)
    for shard in sorted(variant.glob("train-*.h5")):
        shard.write_bytes(shard.read_bytes() + random.integers(0, 256, n_bytes, np.uint8).tobytes())


def files_if(folder: Path) -> dict[str, bytes]:
    try:
        return files(folder)
    except OSError:
        return {}  # a file was renamed while we looked


def until(reached: object, process: subprocess.Popen[str] | None = None) -> None:
    end = time.monotonic() + 60
    while not reached():  # type: ignore[operator]
        assert time.monotonic() < end
        assert process is None or process.poll() is None, process.communicate()
        time.sleep(0.01)


def sent_bytes(said: str) -> float:
    match = re.search(r"\(([\d.]+) (B|kB|MB)\)", said)
    assert match is not None, said
    return float(match[1]) * {"B": 1, "kB": 1e3, "MB": 1e6}[match[2]]


def test_a_damaged_copy_is_replaced_and_other_variants_are_left_alone(
    repository: Path,
    ssh_host: SshHost,  # noqa: F811
    prepared: Path,
) -> None:
    place = {"PROJECT_STORAGE_DIR": str(prepared)}
    sync(repository, ssh_host, "sync_data_to_remote", **place)
    remote = ssh_host.root / "project storage"
    other = remote / "data" / "FOLDER" / ("f" * 64)
    other.mkdir()
    (other / "manifest.json").write_text("of somebody else")
    copy = remote / "data" / "FOLDER" / variant_of(prepared).name
    (copy / "train-00001.h5").unlink()
    sync(repository, ssh_host, "sync_data_to_remote", "FOLDER", **place)
    manifest = complete_manifest(copy)
    assert manifest is not None
    assert damage_of(copy, manifest) is None
    assert (other / "manifest.json").read_text() == "of somebody else"
    assert sorted(path.name for path in copy.parent.iterdir()) == sorted([copy.name, other.name])


def test_a_dataset_that_is_not_here_is_an_error(repository: Path, ssh_host: SshHost, prepared: Path) -> None:  # noqa: F811
    for words in (["NMNIST"], ["FOLDER", "NMNIST"]):  # also beside one that is here
        process = start(repository, ssh_host, "sync_data_to_remote", *words, PROJECT_STORAGE_DIR=str(prepared))
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 4
        assert errors.startswith("error: no complete prepared dataset NMNIST here; ./check_and_sync_data.sh shows")
    assert list(ssh_host.root.iterdir()) == []


def test_an_interrupted_image_is_gone_on_with(repository: Path, ssh_host: SshHost, tmp_path: Path) -> None:  # noqa: F811
    image = tmp_path / "an image.sif"
    image.write_bytes(np.random.default_rng(1).integers(0, 256, 6_000_000, np.uint8).tobytes())
    target = ssh_host.root / "project storage" / "singularity"
    target.mkdir(parents=True)
    (target / "difflogic.sif").write_bytes(b"the image of yesterday")
    process = start(repository, ssh_host, "sync_container_to_remote", image, SYNC_KBYTES_PER_SECOND="1500")
    until(lambda: sum(map(len, files_if(target).values())) > 3_000_000, process)
    kill(process)
    assert (target / "difflogic.sif").read_bytes() == b"the image of yesterday"
    until(lambda: (target / ".rsync-partial" / "difflogic.sif").exists())
    kept = (target / ".rsync-partial" / "difflogic.sif").stat().st_size
    said = sync(repository, ssh_host, "sync_container_to_remote", image)
    assert (target / "difflogic.sif").read_bytes() == image.read_bytes()
    assert sent_bytes(said) < 6_000_000 - 0.9 * kept
    assert [path.name for path in target.iterdir()] == ["difflogic.sif"]
    assert sync(repository, ssh_host, "sync_container_to_remote", image).startswith("0 files sent (0 B)")


def test_logs_come_here_and_nothing_is_removed_on_either_side(
    repository: Path,
    ssh_host: SshHost,  # noqa: F811
    tmp_path: Path,
) -> None:
    remote, here = ssh_host.root / "project storage", tmp_path / "fetched logs"
    made = {
        remote / "runs" / "job_1" / "metrics.jsonl": "{}\n",
        remote / "runs" / "job_1" / "tensorboard" / "events": "curve",
        remote / "runs" / "job_1" / "status.json.tmp-host-1-1": "half",
        remote / "runs" / "job_2" / "log.txt": "second",
        remote / "runs" / ".job_2.lease": "who trains it there",
        remote / "models" / "job_1" / "best.pt": "weights",
        remote / "checkpoints" / "job_1" / "step.pt": "checkpoint",
        ssh_host.root / "code here" / "slurm-7.out": "output of a job",
        ssh_host.root / "code here" / "train.sh": "code",
        here / "runs" / "job_0" / "log.txt": "fetched long ago",
    }
    for path, text in made.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert "would fetch" in sync(repository, ssh_host, "sync_logs_from_remote", "--to", here, "--dry-run")
    assert set(files(here)) == {"runs/job_0/log.txt"}
    sync(repository, ssh_host, "sync_logs_from_remote", "job_1", "--to", here)
    assert set(files(here)) == {"runs/job_0/log.txt", "runs/job_1/metrics.jsonl", "runs/job_1/tensorboard/events"}
    sync(repository, ssh_host, "sync_logs_from_remote", "--to", here, "--models")
    assert set(files(here)) == {
        "runs/job_0/log.txt", "runs/job_1/metrics.jsonl", "runs/job_1/tensorboard/events", "runs/job_2/log.txt",
        "models/job_1/best.pt", "slurm/slurm-7.out",
    }  # fmt: skip
    assert sync(repository, ssh_host, "sync_logs_from_remote", "--to", here).startswith("0 files fetched (0 B)")
    process = start(repository, ssh_host, "sync_logs_from_remote", "job_1", "job_l", "--to", here)
    assert "has no job job_l in " in process.communicate(timeout=60)[1]
    assert process.returncode == 2
    assert {path: path.read_text() for path in made} == made


@pytest.mark.parametrize("shell", ["tcsh", "fish"])
def test_any_login_shell_will_do(
    repository: Path,
    ssh_host: SshHost,  # noqa: F811
    prepared: Path,
    tmp_path: Path,
    program: Callable[[str], str],
    shell: str,
) -> None:
    """Many have one there that does not know the syntax of sh."""
    ssh_host.force_command(f'exec {program(shell)} -c "$SSH_ORIGINAL_COMMAND"')
    remote = ssh_host.root / "project's storage"
    places = {"PROJECT_STORAGE_DIR": str(prepared), "REMOTE_PROJECT_STORAGE_DIR": str(remote)}
    assert "sent FOLDER/" in sync(repository, ssh_host, "sync_data_to_remote", **places)
    assert files(variant_of(remote)) == files(variant_of(prepared))
    assert "1 were there already" in sync(repository, ssh_host, "sync_data_to_remote", **places)
    (remote / "runs" / "job").mkdir(parents=True)
    (remote / "runs" / "job" / "log.txt").write_text("a line\n")
    sync(repository, ssh_host, "sync_logs_from_remote", "job", "--to", tmp_path / "logs", **places)
    assert set(files(tmp_path / "logs")) == {"runs/job/log.txt"}
    sync(repository, ssh_host, "sync_code_to_remote", **places)
    assert (ssh_host.root / "code here" / "train.sh").exists()
    assert sync(repository, ssh_host, "sync_code_to_remote", **places).startswith("0 files sent")
