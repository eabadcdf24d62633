"""The same recordings on two file systems, listed in any order: the same split and the same bytes."""

import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from difflogic_tonic import cache
from difflogic_tonic.config import PrepareConfig, StoragePaths
from difflogic_tonic.events import encode_atis, make_events
from difflogic_tonic.storage import open_storage

MEMORY = Path("/dev/shm")
CLASSES, PER_CLASS = ("clap", "wave", "Wave2"), 12
NMNIST = {"name": "NMNIST", "allow_subset": True, "events_per_frame": 10, "overlap": 4}
FOLDER = {"name": "FOLDER", "sensor": [34, 34], "test_fraction": 0.25, "time_bins": 3}
LAYOUTS: dict[str, tuple[dict[str, Any], Callable[[int, int], str]]] = {
    "official split": (NMNIST, lambda label, n: f"{'Test' if n % 4 == 0 else 'Train'}/{label}/{n:05d}.bin"),
    "seeded split": (FOLDER, lambda label, n: f"{CLASSES[label]}/{n}.bin"),
    "fixed split": (FOLDER | {"split": "fixed"}, lambda label, n: f"{CLASSES[label]}/{n}.bin"),
}

pytestmark = pytest.mark.integration


@pytest.fixture
def disk_and_memory(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """A folder on disk and one in a tmpfs."""
    if not os.access(MEMORY, os.W_OK) or MEMORY.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip(f"{MEMORY} is no file system of its own that can be written to")
    memory = Path(tempfile.mkdtemp(prefix="prepare-places-", dir=MEMORY))
    yield tmp_path, memory
    shutil.rmtree(memory)


def write_recordings(root: Path, path_of: Callable[[int, int], str], seed: int) -> None:
    """The same files whatever the seed, which is that of the order in which they are made."""
    numbers = [(label, n) for label in range(len(CLASSES)) for n in range(PER_CLASS)]
    random.Random(seed).shuffle(numbers)
    for label, n in numbers:
        rng = np.random.default_rng([label, n])
        count = int(rng.integers(20, 60))
        x, y, p = rng.integers(0, 34, count), rng.integers(0, 34, count), rng.integers(0, 2, count)
        path = root / path_of(label, n)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_atis(make_events(x, y, np.sort(rng.integers(0, 300_000, count)), p)))


def shuffled_listings(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Let folders be listed in random order, for neither file system has to do us the favour."""
    rng = random.Random(seed)
    scandir, listdir = os.scandir, os.listdir

    class Shuffled:
        def __init__(self, path: Any = ".") -> None:
            with scandir(path) as entries:
                self._entries = sorted(entries, key=lambda entry: rng.random())

        def __iter__(self) -> Iterator[os.DirEntry[str]]:
            return iter(self._entries)

        def __enter__(self) -> "Shuffled":
            return self

        def __exit__(self, *error: object) -> None:
            pass

    monkeypatch.setattr(os, "scandir", Shuffled)
    monkeypatch.setattr(os, "listdir", lambda path=".": sorted(listdir(path), key=lambda name: rng.random()))


def prepared_in(root: Path, data: dict[str, Any], workers: int) -> dict[str, bytes]:
    """Name → content of the files of the variant, made in storage places on the same file system."""
    storage = open_storage(StoragePaths(scratch=root / "scratch", project=root / "project"))
    values = {"data_root": str(root / "raw"), "val_fraction": 0.2, "shard_recordings": 7, "workers": workers}
    prepared = cache.prepare(PrepareConfig.model_validate({"data": data | values}), storage, progress=False)
    assert prepared.built
    return {f"{prepared.path.name}/{file.name}": file.read_bytes() for file in prepared.path.iterdir()}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_another_file_system_and_order_of_files_make_the_same_bytes(
    layout: str, disk_and_memory: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, path_of = LAYOUTS[layout]
    for seed, root in enumerate(disk_and_memory):
        write_recordings(root / "raw", path_of, seed)
    disk, memory = disk_and_memory
    on_disk = prepared_in(disk, data, workers=1)
    shuffled_listings(monkeypatch, 2)
    assert sorted(on_disk) == sorted(in_memory := prepared_in(memory, data, workers=2))
    assert on_disk == in_memory
    manifest = cache.load_manifest(disk / "scratch" / "data" / data["name"] / next(iter(on_disk)).split("/")[0])
    assert {split: facts.n_recordings > 0 for split, facts in manifest.splits.items()} == dict.fromkeys(
        ("train", "val", "test"), True
    )
