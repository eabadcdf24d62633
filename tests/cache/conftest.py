"""Recordings in memory and small prepare configs for the tests of the cache."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from difflogic_tonic.cache import Prepared, prepare_source
from difflogic_tonic.config import DATASETS, PrepareConfig, StoragePaths
from difflogic_tonic.events import encode_atis, make_events
from difflogic_tonic.storage import Storage, open_storage


@dataclass(frozen=True)
class FakeRecording:
    path: str
    size: int
    label: int
    split: str


@dataclass
class MemorySource:
    """A source of recordings that are in memory: path → bytes. `read_paths` says which were read."""

    files: dict[str, bytes]
    subset: str | None = "a test subset"
    describe: str = "memory"
    format: str = "atis"
    classes: tuple[str, ...] = DATASETS["NMNIST"].classes
    read_paths: list[str] = field(default_factory=list)

    @property
    def recordings(self) -> tuple[FakeRecording, ...]:
        return tuple(
            FakeRecording(path, len(data), int(path.split("/")[1]), path.split("/")[0].lower())
            for path, data in sorted(self.files.items())
        )

    def read(self, recording: FakeRecording) -> bytes:
        self.read_paths.append(recording.path)
        return self.files[recording.path]


def random_recording(rng: np.random.Generator, n_events: int) -> bytes:
    times = np.sort(rng.integers(0, 300_000, n_events))
    columns = (rng.integers(0, 34, n_events), rng.integers(0, 34, n_events), times, rng.integers(0, 2, n_events))
    return encode_atis(make_events(*columns))


def random_files(train: int = 6, test: int = 2, seed: int = 0, labels: Iterable[int] = (0, 3, 7)) -> dict[str, bytes]:
    """`train` and `test` recordings of 12 to 40 events for each label."""
    rng = np.random.default_rng(seed)
    return {
        f"{split}/{label}/{number:05d}.bin": random_recording(rng, int(rng.integers(12, 41)))
        for split, count in (("Train", train), ("Test", test))
        for label in labels
        for number in range(count)
    }


@pytest.fixture
def source() -> MemorySource:
    return MemorySource(random_files())


@pytest.fixture
def make_source() -> Callable[..., MemorySource]:
    return lambda files=None, **options: MemorySource(random_files() if files is None else files, **options)


@pytest.fixture
def make_files() -> Callable[..., dict[str, bytes]]:
    return random_files


@pytest.fixture
def make_config() -> Callable[..., PrepareConfig]:
    """10 events a frame, 4 of them shared, shards of 4 recordings; keywords change keys of `data`."""

    def make(seed: int = 42, **data: Any) -> PrepareConfig:
        values = {"events_per_frame": 10, "overlap": 4, "shard_recordings": 4, "val_fraction": 0.2, "workers": 2}
        return PrepareConfig.model_validate({"base": {"seed": seed}, "data": {"name": "NMNIST"} | values | data})

    return make


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage(StoragePaths(scratch=tmp_path / "scratch", project=tmp_path / "project"))


@pytest.fixture
def contents() -> Callable[[Path], dict[str, bytes]]:
    """Name → bytes of every file of a folder: the digest of a cache, whole."""
    return lambda folder: {entry.name: entry.read_bytes() for entry in sorted(folder.iterdir())}


@pytest.fixture
def prepared(source: MemorySource, storage: Storage, make_config: Callable[..., PrepareConfig]) -> Prepared:
    """The variant of `make_config()` in both places."""
    return prepare_source(make_config(), storage, source)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder for what a user has."""
    (tmp_path / "given").mkdir()
    return tmp_path / "given"
