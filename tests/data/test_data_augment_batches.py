"""Augmented batches of a prepared dataset of random events: the same samples whatever the batches look like."""

from pathlib import Path

import numpy as np
import pytest
import torch

from difflogic_tonic.cache import CacheReader, SplitReader, prepare
from difflogic_tonic.config import PrepareConfig, StoragePaths
from difflogic_tonic.config.augment import Augment
from difflogic_tonic.data import Batch, Batches, expand
from difflogic_tonic.data.augment import Augmenter
from difflogic_tonic.events import encode_atis, make_events
from difflogic_tonic.storage import open_storage

N = 11
NEEDS_GPU = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]
EVERYTHING = Augment(flip=True, shift=3, rotate=30.0, drop=0.1, noise=0.02, mixup=0.3, cutmix=0.3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for part in ("Train", "Test"):
        for r in range(N):
            n = 60 * (1 + r % 4)
            events = make_events(rng.integers(0, 34, n), rng.integers(0, 34, n), np.arange(n), rng.integers(0, 2, n))
            path = folder / "raw" / part / str(r % 3) / f"{r + 1:05}.bin"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode_atis(events))
    return folder


@pytest.fixture(scope="module", params=["u8", "bits"])
def split(folder: Path, request: pytest.FixtureRequest) -> SplitReader:
    data = {"name": "NMNIST", "data_root": str(folder / "raw"), "allow_subset": True, "frames": request.param}
    slicing = {"events_per_frame": 60, "overlap": 0, "denoise_time": 0, "val_fraction": 0, "workers": 1}
    config = PrepareConfig.model_validate({"data": data | slicing})
    storage = open_storage(StoragePaths(folder / request.param, folder / request.param))
    return CacheReader(prepare(config, storage, progress=False).path).split("train")


def batches(split: SplitReader, config: Augment, view: str = "frames", batch_size: int = 4, **keys) -> Batches:
    keys = {"shuffle": True, "augmenter": Augmenter(config, 5, 1), **keys}
    return Batches(split, view, batch_size, 5, max_frames=3 if view == "stacked" else None, **keys)


def samples(found: list[Batch]) -> list[tuple]:
    """Every sample of some batches: recording, label, frames without padding, what it is mixed with."""
    told = []
    for batch in found:
        for i in range(len(batch)):
            frames = batch.inputs[i] if batch.view == "frames" else batch.inputs[i, : batch.lengths[i]]
            mixed = (int(batch.mixed.labels[i]), float(batch.mixed.weights[i])) if batch.mixed else None
            told.append((int(batch.rows[i]), int(batch.labels[i]), frames.numpy().tobytes(), mixed))
    return told


@pytest.mark.parametrize("view", ["frames", "sequence", "stacked"])
def test_batch_size_threads_and_start_change_no_sample(split, view):
    config = EVERYTHING if view == "frames" else EVERYTHING.model_copy(update={"time_jitter": 2})
    once = samples(list(batches(split, config, view).iterate(3)))
    assert once == samples(list(batches(split, config, view, batch_size=3, workers=3).iterate(3)))
    assert once[8:] == samples(list(batches(split, config, view).iterate(3, start=2)))
    in_storage_order = samples(list(batches(split, config, view, shuffle=False).iterate(3)))
    assert sorted(once, key=str) == sorted(in_storage_order, key=str)


@pytest.mark.parametrize("view", ["frames", "sequence", "stacked"])
@pytest.mark.parametrize("mixed", [True, False])
@pytest.mark.parametrize("where", ["cpu", pytest.param("cuda", marks=NEEDS_GPU)])
def test_the_device_makes_the_same_samples_as_the_reader_threads(split, view, mixed, where):
    changes = {"time_jitter": 0 if view == "frames" else 2} | ({} if mixed else {"mixup": 0.0, "cutmix": 0.0})
    config = EVERYTHING.model_copy(update=changes)
    there = config.model_copy(update={"on_device": True})
    pairs = zip(batches(split, config, view).iterate(2), batches(split, there, view).iterate(2), strict=True)
    for host, device in ((host, device.to(where).to("cpu")) for host, device in pairs):
        assert torch.equal(host.inputs, device.inputs)
        assert torch.equal(host.lengths, device.lengths)
        assert not device.packed
        assert torch.equal(host.targets(3), device.targets(3))


def test_another_epoch_or_seed_changes_the_samples(split):
    one = samples(list(batches(split, EVERYTHING, shuffle=False).iterate(0)))
    next_epoch = samples(list(batches(split, EVERYTHING, shuffle=False).iterate(1)))
    reseeded = batches(split, EVERYTHING, shuffle=False, augmenter=Augmenter(EVERYTHING, 6, 1)).iterate(0)
    assert len({tuple(one), tuple(next_epoch), tuple(samples(list(reseeded)))}) == 3


def test_frames_of_one_recording_are_drawn_one_by_one(split):
    config = Augment(shift=3)
    rows = next(batches(split, config, shuffle=False, batch_size=100).iterate(0)).rows
    drawn = Augmenter(config, 5, 1).moves(0, np.arange(len(rows)), np.ones(len(rows), np.int64))
    of_one = np.flatnonzero(rows.numpy() == rows.mode().values.item())
    assert len(of_one) == 4
    assert len({(int(drawn.right[i]), int(drawn.down[i])) for i in of_one}) > 1


def test_bits_become_bytes_with_the_same_content(split):
    unchanged = Augment(time_jitter=1)  # of recordings of one frame, which cannot lose any
    plain = next(batches(split, unchanged, "sequence", shuffle=False, augmenter=None).iterate(0))
    augmented = next(batches(split, unchanged, "sequence", shuffle=False).iterate(0))
    assert not augmented.packed
    assert torch.equal(expand(augmented)[:, 0], expand(plain)[: len(expand(augmented)), 0])


@pytest.mark.parametrize("view", ["sequence", "stacked"])
def test_jitter_takes_frames_from_the_ends(split, view):
    plain = next(batches(split, Augment(), view, N, augmenter=None).iterate(0))
    jittered = next(batches(split, Augment(time_jitter=2), view, N).iterate(0))
    assert torch.equal(plain.rows, jittered.rows)
    lost = (plain.lengths - jittered.lengths).tolist()
    assert {0, 1} <= set(lost) <= {0, 1, 2}
    assert jittered.lengths.min() >= 1
    steps = jittered.lengths.max() if view == "sequence" else 3
    assert jittered.inputs.shape[1] == steps
    for i, length in enumerate(jittered.lengths.tolist()):
        own = whole_frames(plain, i)
        assert whole_frames(jittered, i)[:length] in (own[:length], own[int(plain.lengths[i]) - length :][:length])
        assert not jittered.inputs[i, length:].any()


def whole_frames(batch: Batch, i: int) -> list[list[float]]:
    frames = expand(batch)
    steps = frames[:, i] if batch.view == "sequence" else frames[i].reshape(3, -1)
    return steps.flatten(1).tolist()


def test_mixed_samples_come_from_all_of_the_split(split):
    loader = batches(split, Augment(cutmix=1.0), "sequence", 2)
    for batch in loader.iterate(0):
        assert batch.mixed is not None
        assert ((batch.mixed.weights >= 0.5) & (batch.mixed.weights <= 1)).all()
        assert torch.allclose(batch.targets(3).sum(1), torch.ones(len(batch)))
        assert (batch.targets(3).argmax(1) == batch.labels)[batch.mixed.weights > 0.5].all()


def test_bucketed_batches_are_the_same_from_any_start(split):
    loader = batches(split, Augment(shift=1), "sequence", 2, bucketed=True)
    whole = list(loader.iterate(4))
    assert sorted(int(row) for batch in whole for row in batch.rows) == list(range(N))
    assert samples(whole[3:]) == samples(list(loader.iterate(4, 3)))
    assert [len(batch) for batch in whole] == [2] * 5 + [1]


@pytest.mark.parametrize("view", ["frames", "sequence", "stacked"])
def test_parts_of_shared_batches_are_the_batches_in_order(split: SplitReader, view: str) -> None:
    whole = list(batches(split, EVERYTHING, view, batch_size=4, keyed=True).iterate(3))
    parts = [
        list(batches(split, EVERYTHING, view, batch_size=4, keyed=True, share=(k, 3)).iterate(3)) for k in range(3)
    ]
    for number, batch in enumerate(whole):
        shares = [of_rank[number] for of_rank in parts]
        assert [share.place.total for share in shares] == [len(batch)] * 3
        assert [share.place.first for share in shares] == [k * len(batch) // 3 for k in range(3)]
        owned = [sample for share in shares for sample in samples([share])[: share.place.own]]
        assert owned == samples([batch])
        assert batch.keys is not None
        assert torch.equal(torch.cat([share.keys[: share.place.own] for share in shares]), batch.keys)
        assert all(len(share) == max(1, share.place.own) for share in shares)  # one stands in where there is none
        assert shares[0].to("cpu").place == shares[0].place


def test_a_shared_epoch_can_be_entered_at_any_batch(split: SplitReader) -> None:
    rest = samples(list(batches(split, EVERYTHING, share=(1, 2)).iterate(2, 1)))
    assert rest == samples(list(batches(split, EVERYTHING, share=(1, 2)).iterate(2))[1:])
