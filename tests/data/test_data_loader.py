"""Batches over a small prepared dataset whose frames say whose they are.

Recording r (0 … 11, label r % 3) has 1 + r % 4 frames; in frame t both events fall on row t, column r, polarity 1.
"""

import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from difflogic_tonic.cache import CacheReader, SplitReader, prepare
from difflogic_tonic.config import PrepareConfig, StoragePaths
from difflogic_tonic.data import Batch, Batches, expand
from difflogic_tonic.errors import CacheMissing, ConfigError
from difflogic_tonic.events import encode_atis, make_events
from difflogic_tonic.storage import open_storage

N = 12
LENGTHS = [1 + r % 4 for r in range(N)]


@pytest.fixture(scope="module", params=["u8", "bits"])
def split(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SplitReader:
    folder = tmp_path_factory.mktemp("data")
    for part in ("Train", "Test"):
        for r in range(N):
            frames = np.repeat(np.arange(LENGTHS[r]), 2)
            columns = [np.full(len(frames), r), frames, np.arange(len(frames)), np.ones(len(frames))]
            path = folder / "raw" / part / str(r % 3) / f"{r + 1:05}.bin"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode_atis(make_events(*columns)))
    config = PrepareConfig.model_validate(
        {
            "data": {
                "name": "NMNIST",
                "data_root": str(folder / "raw"),
                "allow_subset": True,
                "events_per_frame": 2,
                "overlap": 0,
                "denoise_time": 0,
                "val_fraction": 0,
                "frames": request.param,
                "shard_recordings": 5,
                "workers": 1,
            }
        }
    )
    storage = open_storage(StoragePaths(folder / "scratch", folder / "scratch"))
    return CacheReader(prepare(config, storage, progress=False).path).split("train")


def batches(split: SplitReader, view="frames", batch_size=5, seed=1, shuffle=True, **keys) -> Batches:
    return Batches(split, view, batch_size, seed, shuffle, **keys)


def whose(frames: torch.Tensor) -> list[tuple[int, int]]:
    """(recording, frame) that each frame of [..., P, H, W] says it is; (-1, -1) for an empty one."""
    flat = frames.reshape(-1, *frames.shape[-3:])
    return [divmod(int(f[1].t().flatten().argmax()), 34) if f.any() else (-1, -1) for f in flat]


def all_of(batches: Batches, epoch: int = 0, start: int = 0) -> list[Batch]:
    return list(batches.iterate(epoch, start))


def equal(one: Batch, other: Batch) -> bool:
    fields = ("inputs", "labels", "lengths", "rows")
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in fields)


def test_every_frame_is_a_sample_once_with_its_label(split):
    loader = batches(split)
    assert (loader.n_samples, len(loader)) == (sum(LENGTHS), 6)
    seen = []
    for batch in all_of(loader):
        owners = whose(expand(batch))
        assert [r % 3 for r, _ in owners] == batch.labels.tolist()
        assert batch.lengths.tolist() == [1] * len(batch)
        assert all(split.labels[row] == label for row, label in zip(batch.rows, batch.labels, strict=True))
        seen += owners
    assert sorted(seen) == [(r, t) for r in range(N) for t in range(LENGTHS[r])]


def test_a_frame_has_the_row_of_its_recording(split):
    of_row: dict[int, set[int]] = {}
    for batch in all_of(batches(split)):
        for row, (recording, _) in zip(batch.rows.tolist(), whose(expand(batch)), strict=True):
            of_row.setdefault(row, set()).add(recording)
    assert sorted(of_row) == list(range(N))
    assert all(len(recordings) == 1 for recordings in of_row.values())


def test_a_sequence_holds_a_recording_in_time_order_and_zeros_after_it(split):
    seen = set()
    for batch in all_of(batches(split, "sequence")):
        x = expand(batch)
        assert x.shape[0] == batch.lengths.max()
        for sample, length in enumerate(batch.lengths.tolist()):
            owners = whose(x[:, sample])
            recording = owners[0][0]
            assert length == LENGTHS[recording]
            assert owners == [(recording, t) for t in range(length)] + [(-1, -1)] * (len(owners) - length)
            assert batch.labels[sample] == recording % 3
            seen.add(recording)
    assert seen == set(range(N))


def test_stacked_samples_have_as_many_channels_whatever_their_length(split):
    for batch in all_of(batches(split, "stacked", max_frames=3)):
        x = expand(batch)
        assert x.shape == (len(batch), 3 * 2, 34, 34)
        for sample, length in enumerate(batch.lengths.tolist()):
            owners = whose(x[sample].unflatten(0, (3, 2)))
            assert length == min(3, LENGTHS[owners[0][0]])
            assert [t for _, t in owners] == list(range(length)) + [-1] * (3 - length)


def test_stacked_without_a_number_of_frames_is_refused(split):
    with pytest.raises(ValueError, match="stacked needs max_frames"):
        batches(split, "stacked")


@pytest.mark.parametrize("view", ["frames", "sequence"])
def test_recordings_are_cut_to_their_first_frames(split, view):
    loader = batches(split, view, max_frames=2)
    owners = {owner for batch in all_of(loader) for owner in whose(expand(batch))} - {(-1, -1)}
    assert owners == {(r, t) for r in range(N) for t in range(min(2, LENGTHS[r]))}


def test_stored_counts_stay_counts_and_bits_say_that_they_are_packed(split):
    batch = all_of(batches(split))[0]
    assert batch.packed == (split.storage == "bits")
    assert expand(batch).max() == (1 if batch.packed else 2)


@pytest.mark.parametrize("view", ["frames", "sequence"])
def test_entering_an_epoch_in_the_middle_gives_its_remaining_batches(split, view):
    whole = all_of(batches(split, view), epoch=3)
    for start in range(len(whole) + 1):
        rest = all_of(batches(split, view), epoch=3, start=start)
        assert len(rest) == len(whole) - start
        assert all(equal(a, b) for a, b in zip(rest, whole[start:], strict=True))


def test_any_number_of_readers_gives_the_same_batches(split):
    one, four = (all_of(batches(split, batch_size=2, workers=workers)) for workers in (0, 4))
    assert all(equal(a, b) for a, b in zip(one, four, strict=True))


def key_of(batches: list[Batch]) -> dict[int, int]:
    """Recording → the key that decides what is drawn for it."""
    assert all(batch.keys is not None for batch in batches)
    return {int(row): int(key) for batch in batches for row, key in zip(batch.rows, batch.keys, strict=True)}


def test_what_is_drawn_for_a_sample_is_decided_by_seed_and_epoch_whatever_the_batch(split):
    five, seven = (all_of(batches(split, "sequence", size, keyed=True)) for size in (5, 7))
    found = key_of(five)
    assert len(set(found.values())) == N
    assert found == key_of(seven)
    assert found == key_of(all_of(batches(split, "sequence", shuffle=False, keyed=True)))
    others = [
        all_of(batches(split, "sequence", keyed=True), epoch=1),
        all_of(batches(split, "sequence", seed=2, keyed=True)),
    ]
    assert all(set(found.values()).isdisjoint(key_of(other).values()) for other in others)
    assert torch.equal(five[0].to("cpu").keys, five[0].keys)
    assert all_of(batches(split))[0].keys is None


def test_epochs_differ_and_without_shuffling_they_do_not(split):
    shuffled, in_order = batches(split), batches(split, shuffle=False)
    assert not equal(all_of(shuffled, 0)[0], all_of(shuffled, 1)[0])
    assert equal(all_of(in_order, 0)[0], all_of(in_order, 1)[0])
    rows = torch.cat([batch.rows for batch in all_of(in_order)])
    assert rows.tolist() == sorted(rows.tolist())


def test_a_subset_is_of_recordings_and_the_same_in_every_view(split):
    frames, sequences = batches(split, subset=6), batches(split, "sequence", subset=0.5)
    kept = {int(row) for batch in all_of(frames) for row in batch.rows}
    assert kept == {int(row) for batch in all_of(sequences) for row in batch.rows}
    assert len(kept) == frames.n_recordings == sequences.n_samples == 6
    assert np.bincount(split.labels[sorted(kept)]).tolist() == [2, 2, 2]


def test_a_subset_that_cannot_be_is_a_config_error(split):
    with pytest.raises(ConfigError, match=r"data\.subset"):
        batches(split, subset=N + 1)


def test_closing_a_loader_early_leaves_no_thread(split):
    items = batches(split, batch_size=1, workers=2).iterate(0)
    next(items)
    items.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("read-ahead")]


def test_a_cache_that_disappears_is_an_error_in_the_training_thread(split, tmp_path: Path):
    split.close()
    paths, split._paths = split._paths, [tmp_path / "gone"] * len(split._paths)
    try:
        with pytest.raises(CacheMissing, match="gone cannot be opened any more"):
            all_of(batches(split))
    finally:
        split._paths = paths
