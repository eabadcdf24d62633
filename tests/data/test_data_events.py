"""Batches of events that are sliced when they are read: those of the frames that would have been prepared."""

import pickle
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from difflogic_tonic.cache import CacheReader, FrameSplit, prepare
from difflogic_tonic.config import PrepareConfig, StoragePaths
from difflogic_tonic.config.augment import Augment
from difflogic_tonic.config.slicing import Slice
from difflogic_tonic.data import Batch, Batches
from difflogic_tonic.data.augment import Augmenter
from difflogic_tonic.events import encode_atis, make_events
from difflogic_tonic.storage import open_storage

WAYS = {
    "counts": {"events_per_frame": 20, "overlap": 5},
    "bits": {"time_window": 30_000, "include_incomplete": True, "frames": "bits"},
    "levels": {"frame_duration": 50_000, "frames": "thermometer", "levels": [1, 2]},
}


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve recordings of 20 to 130 events in 0.1 to 0.3 s."""
    folder, rng = tmp_path_factory.mktemp("raw"), np.random.default_rng(0)
    for part in ("Train", "Test"):
        for number in range(12):
            n = int(rng.integers(20, 130))
            t = np.sort(rng.integers(0, int(rng.integers(100_000, 300_000)), n))
            columns = rng.integers(5, 25, n), rng.integers(0, 34, n), t, rng.integers(0, 2, n)
            path = folder / part / str(number % 3) / f"{number:05}.bin"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode_atis(make_events(*columns)))
    return folder


@pytest.fixture(scope="module", params=WAYS)
def splits(
    request: pytest.FixtureRequest, raw: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[FrameSplit, ...]:
    """The training split made of events, and as it was prepared."""
    root = tmp_path_factory.mktemp("storage")
    storage = open_storage(StoragePaths(root, root))
    common = {"name": "NMNIST", "data_root": raw, "allow_subset": True, "val_fraction": 0.0, "shard_recordings": 5}
    way = WAYS[request.param]

    def prepared(**data: Any) -> Path:
        return prepare(PrepareConfig.model_validate({"data": common | data}), storage, progress=False).path

    return (
        CacheReader(prepared(frames="events"), Slice.model_validate(way)).split("train"),
        CacheReader(prepared(**way)).split("train"),
    )


def equal(one: Batch, other: Batch) -> bool:
    mixed = (one.mixed is None) == (other.mixed is None)
    if one.mixed is not None and other.mixed is not None:
        mixed = torch.equal(one.mixed.labels, other.mixed.labels) and torch.equal(
            one.mixed.weights, other.mixed.weights
        )
    same = (one.packed, one.frame_shape, one.view) == (other.packed, other.frame_shape, other.view)
    return (
        mixed
        and same
        and all(
            torch.equal(getattr(one, name), getattr(other, name)) for name in ("inputs", "labels", "lengths", "rows")
        )
    )


def assert_same(splits: tuple[FrameSplit, ...], view: Any, epoch: int = 0, start: int = 0, **options: Any) -> None:
    one, other = (list(Batches(split, view, 5, 7, True, **options).iterate(epoch, start)) for split in splits)
    assert len(one) == len(other) > 0
    assert all(equal(*pair) for pair in zip(one, other, strict=True))


@pytest.mark.parametrize("view", ["frames", "sequence", "stacked"])
@pytest.mark.parametrize("max_frames", [None, 2, 4])
def test_batches_of_every_view_are_those_of_prepared_frames(splits: Any, view: str, max_frames: int | None) -> None:
    if view != "stacked" or max_frames:
        assert_same(splits, view, max_frames=max_frames)


@pytest.mark.parametrize("view", ["frames", "sequence"])
def test_so_are_augmented_ones(splits: Any, view: str) -> None:
    changes = Augment(flip=True, shift=2, drop=0.1, mixup=0.5, time_jitter=1 if view == "sequence" else 0)
    assert_same(splits, view, epoch=3, augmenter=Augmenter(changes, 5, highest=1))


def test_so_are_those_of_similar_length_a_subset_and_an_epoch_entered_late(splits: Any) -> None:
    assert_same(splits, "sequence", bucketed=True)
    assert_same(splits, "frames", subset=0.5)
    assert_same(splits, "frames", epoch=2, start=3)


def test_the_number_of_readers_changes_nothing(splits: Any) -> None:
    made, _ = splits
    for view in ("frames", "sequence"):
        one, many = (list(Batches(made, view, 5, 7, True, workers=n).iterate(1)) for n in (0, 4))
        assert all(equal(*pair) for pair in zip(one, many, strict=True))


def test_threads_share_a_split(splits: Any) -> None:
    """Eight at once read it first: what is kept of the times is made by whoever comes."""
    made, stored = pickle.loads(pickle.dumps(splits))  # a new one, which keeps nothing yet
    wanted = np.empty((made.n_recordings, int(np.diff(made.offsets).max()), made.frame_nbytes), np.uint8)
    rows = np.arange(made.n_recordings)
    stored.read_recordings(rows, wanted)
    results = [np.empty_like(wanted) for _ in range(8)]
    threads = [threading.Thread(target=made.read_recordings, args=(rows, out)) for out in results]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(out, wanted) for out in results)
