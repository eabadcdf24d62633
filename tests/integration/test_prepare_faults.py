"""Disks that are full, read-only or out of files while preparing: one line, nothing published is lost, it goes on."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from difflogic_tonic import cache
from difflogic_tonic.config import PrepareConfig, StoragePaths
from difflogic_tonic.errors import StorageError, StorageFull
from difflogic_tonic.events import encode_atis, make_events
from difflogic_tonic.storage import Storage, open_storage
from mounts import Mount

RECORDINGS = 120
PAGE = 4096

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings of 400 events, about 8 frames of 2,312 bytes each with 50 events a frame."""
    folder = tmp_path_factory.mktemp("raw")
    rng = np.random.default_rng(0)
    for number in range(RECORDINGS):
        x, y, p = rng.integers(0, 34, 400), rng.integers(0, 34, 400), rng.integers(0, 2, 400)
        path = folder / ("Test" if number % 6 == 0 else "Train") / str(number % 5) / f"{number:05d}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_atis(make_events(x, y, np.sort(rng.integers(0, 300_000, 400)), p)))
    return folder


def config(raw: Path, **data: Any) -> PrepareConfig:
    keys = {"data_root": str(raw), "allow_subset": True, "events_per_frame": 50, "shard_recordings": 10, "workers": 2}
    return PrepareConfig.model_validate({"data": {"name": "NMNIST"} | keys | data})


def places(tmp_path: Path, scratch: Path | None = None, project: Path | None = None) -> Storage:
    return open_storage(StoragePaths(scratch=scratch or tmp_path / "scratch", project=project or tmp_path / "project"))


def contents(storage: Storage) -> dict[str, bytes]:
    """Every published file of both places; leftovers show up as names that should not be there."""
    return {
        f"{place.name}/{path.relative_to(place.root)}": path.read_bytes()
        for place in storage.places
        for path in sorted(place.data_dir("NMNIST").rglob("*"))
        if path.is_file() and not path.name.endswith(".lock")
    }


@pytest.fixture(scope="module")
def wanted(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    storage = places(tmp_path_factory.mktemp("wanted"))
    cache.prepare(config(raw), storage, progress=False)
    return contents(storage)


def one_line_of(error: BaseException) -> str:
    message = str(error)
    assert "\n" not in message
    return message


def test_what_cannot_fit_is_refused_before_the_work(raw: Path, tmp_path: Path, mount: Mount) -> None:
    small = mount("small", "size=1m")
    with pytest.raises(StorageFull, match=r"the prepared dataset needs about [0-9,]+ bytes") as caught:
        cache.prepare(config(raw), places(tmp_path, scratch=small), progress=False)
    assert str(small) in one_line_of(caught.value)
    assert not list(small.rglob("*.h5"))


def test_too_few_files_left_are_refused_before_the_work(raw: Path, tmp_path: Path, mount: Mount) -> None:
    small = mount("small", "size=100m,nr_inodes=12")
    with pytest.raises(StorageFull, match="files free"):
        cache.prepare(config(raw), places(tmp_path, scratch=small), progress=False)


@pytest.mark.parametrize("which", ["scratch", "project"])
def test_a_disk_that_fills_up_meanwhile_loses_nothing_and_the_next_run_goes_on(
    which: str, raw: Path, tmp_path: Path, mount: Mount, wanted: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    small = mount("small", "size=4m")
    storage = places(tmp_path, **{which: small})
    cache.prepare(config(raw, events_per_frame=200), storage, progress=False)
    published = contents(storage)
    others = small / "others"  # somebody else's file takes the space that the estimate has seen
    with monkeypatch.context() as patched, others.open("wb") as file:
        patched.setattr("difflogic_tonic.cache.build.estimate_bytes", lambda job, plans: 0)
        patched.setattr("difflogic_tonic.cache.publish.check_space", lambda *arguments: None)
        file.write(b"x" * (os.statvfs(small).f_bavail * PAGE - 600_000))
        file.flush()
        with pytest.raises(StorageFull) as caught:
            cache.prepare(config(raw), storage, progress=False)
    message = one_line_of(caught.value)
    assert str(small) in message
    assert "bytes" in message
    assert published.items() <= contents(storage).items()
    assert not [name for name in contents(storage) if ".tmp-" in name]
    others.unlink()
    cache.prepare(config(raw), storage, progress=False)
    assert contents(storage) == published | wanted


def test_files_that_run_out_meanwhile_are_the_same(
    raw: Path, tmp_path: Path, mount: Mount, wanted: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    small = mount("small", "size=100m,nr_inodes=40")
    storage = places(tmp_path, scratch=small)
    taken = [small / f"taken-{number}" for number in range(26)]
    for path in taken:
        path.touch()
    with monkeypatch.context() as patched:
        patched.setattr("difflogic_tonic.cache.preparation.check_space", lambda *arguments: None)
        with pytest.raises(StorageFull, match="0 files free"):
            cache.prepare(config(raw), storage, progress=False)
    for path in taken:
        path.unlink()
    cache.prepare(config(raw), storage, progress=False)
    assert contents(storage) == wanted


@pytest.mark.parametrize("which", ["scratch", "project"])
def test_a_read_only_place_is_one_line_that_names_it(
    which: str, raw: Path, tmp_path: Path, mount: Mount, repository: Path
) -> None:
    folder = mount("read-only", "size=10m,ro")
    roots = {"scratch": tmp_path / "scratch", "project": tmp_path / "project"} | {which: folder}
    environment = os.environ | {f"{name.upper()}_STORAGE_DIR": str(root) for name, root in roots.items()}
    overrides = f"data.allow_subset=true data.data_root={raw}"
    done = subprocess.run(
        [sys.executable, "prepare_data.py", "configs/prepare_nmnist.yaml", "--override", overrides],
        env=environment, cwd=repository, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == StorageError.exit_code
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("error: ")
    assert str(folder) in done.stderr


def test_a_place_that_turns_read_only_is_one_line_and_the_next_run_goes_on(
    raw: Path, tmp_path: Path, mount: Mount, wanted: dict[str, bytes]
) -> None:
    folder = mount("small", "size=20m")
    storage = places(tmp_path, scratch=folder)
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    with pytest.raises(StorageError, match="is read-only") as caught:
        cache.prepare(config(raw), storage, progress=False)
    assert str(folder) in one_line_of(caught.value)
    subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)
    cache.prepare(config(raw), storage, progress=False)
    assert contents(storage) == wanted


def test_other_file_systems_give_the_same_bytes(
    raw: Path, tmp_path: Path, mount: Mount, wanted: dict[str, bytes]
) -> None:
    storage = places(tmp_path, scratch=mount("memory", "size=20m"))
    cache.prepare(config(raw), storage, progress=False)
    assert contents(storage) == wanted
