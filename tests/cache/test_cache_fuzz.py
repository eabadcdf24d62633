"""Damaged manifests and shards: whatever the bytes, a reader gives what was written or one line that names the file.

In each run 200 damaged files of each kind by hypothesis; with `-m slow` DIFFLOGIC_FUZZ, 100,000 if it is not set.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from damage import changed, changes, long_run, peak_kib
from difflogic_tonic.cache import SplitReader
from difflogic_tonic.cache.event_split import EventSplit
from difflogic_tonic.cache.manifest import (
    SEAL,
    Manifest,
    Recordings,
    Shard,
    load_manifest,
    manifest_text,
    sealed,
    split_facts,
)
from difflogic_tonic.cache.publish import damage_of
from difflogic_tonic.cache.shard import INDEX, ShardContent, open_shard, payload_crc32, write_shard
from difflogic_tonic.config import SensorSize
from difflogic_tonic.config.slicing import Slice
from difflogic_tonic.errors import CacheCorrupt, CacheError
from difflogic_tonic.events import make_events
from difflogic_tonic.events.packed import pack_events
from difflogic_tonic.storage import file_crc32

FINGERPRINT = "0123456789abcdef" * 4
LENGTHS = (2, 1, 3)
SHAPE = (2, 2, 3)
MEMORY_KIB = 100 << 10  # the files have at most 10 kB

Check = Callable[[bytes], None]


def shard_content(storage: str, n: int = 3) -> ShardContent:
    """`n` recordings of `LENGTHS` frames."""
    rng = np.random.default_rng(n)
    rows = np.arange(n)
    return ShardContent(
        fingerprint=FINGERPRINT,
        storage=storage,  # type: ignore[arg-type]
        frame_shape=SHAPE,
        frames=[rng.integers(0, 256, (length, 12 if storage == "u8" else 2), np.uint8) for length in LENGTHS[:n]],
        labels=rows % 2,
        source=rows,
        n_events=rows * 100,
        assigned=np.arange(4),
        assigned_crc32=np.arange(4) * 12345,
        n_saturated=7,
    )


def manifest_of(shard: Shard, storage: str) -> Manifest:
    facts = split_facts([shard], [row % 2 for row in range(shard.n_recordings)], 2)
    paths = tuple(f"Train/{row % 2}/{row:05d}.bin" for row in range(4))
    return Manifest(
        dataset="TOY", fingerprint=FINGERPRINT, parameters={"seed": 42, "overlap": 0.5}, parameters_hash="ab" * 32,
        classes=("a", "b"), sensor=SensorSize(3, 2, 2), storage=storage,  # type: ignore[arg-type]
        splits={"train": facts}, recordings=Recordings(paths, (5,) * 4, (1, 2, 3, 4), (0, 1) * 2, ("train",) * 4),
        skipped=(3,), subset="4 of 9", n_saturated=7, versions={"numpy": "2"},
    )  # fmt: skip


def check_message(error: CacheError, path: Path) -> None:
    message = str(error)
    assert message.startswith(str(path))
    assert "\n" not in message
    assert "./prepare_data.sh" in message


def manifest_check(folder: Path) -> tuple[list[bytes], Check]:
    """Seeds, and the check that of what they become only they themselves are taken for manifests."""
    manifest = manifest_of(Shard("train-00000.h5", 4000, 5, 3, 6), "u8")
    whole = manifest_text(manifest).encode()
    path = folder / "manifest.json"

    def check(data: bytes) -> None:
        path.write_bytes(data)
        try:
            found = load_manifest(folder)
        except CacheCorrupt as error:
            check_message(error, path)
            assert data != whole
        else:
            assert data == whole
            assert found == manifest

    return [whole], check


def sealed_manifest_check(folder: Path) -> tuple[list[bytes], Check]:
    """As if a program had damaged the text before it computed the checksum."""
    seeds, _ = manifest_check(folder)
    path = folder / "manifest.json"

    def check(data: bytes) -> None:
        text = data.decode("utf-8", "replace").rpartition(SEAL)[0]
        path.write_bytes(sealed(text).encode())
        try:
            load_manifest(folder)
        except CacheCorrupt as error:
            check_message(error, path)

    return seeds, check


def shard_check(folder: Path, storage: str, n: int) -> tuple[list[bytes], Check]:
    """Seeds, and the check that an index that opens is that of the seed, and that no other frames pass for its own."""
    path = folder / "train-00000.h5"
    content = shard_content(storage, n)
    write_shard(path, content)
    whole = path.read_bytes()
    shard = Shard(path.name, len(whole), file_crc32(path), n, sum(LENGTHS[:n]))
    manifest = manifest_of(shard, storage)
    frames = np.concatenate([np.empty((0, manifest.frame_nbytes), np.uint8), *content.frames])

    def check(data: bytes) -> None:
        path.write_bytes(data)
        assert (damage_of(folder, manifest) is None) == (data == whole)
        try:
            index = open_shard(path, FINGERPRINT)
        except CacheCorrupt as error:
            check_message(error, path)
            assert data != whole
            return
        for name in INDEX:
            assert np.array_equal(getattr(index, name), content.index[name])
        intact = payload_crc32(path, index) == index.payload_crc32
        try:
            split = SplitReader(folder, manifest, manifest.splits["train"])
            read = np.empty((1, len(frames), manifest.frame_nbytes), np.uint8)
            split.read_frames(np.arange(len(frames)), read[0])
        except CacheCorrupt as error:
            check_message(error, path)
            assert data != whole
            return
        assert not intact or np.array_equal(read[0], frames)

    return [whole], check


def events_check(folder: Path) -> tuple[list[bytes], Check]:
    """Seeds, and the check that damaged events crash nothing, and that frames of intact ones are those of the seed."""
    path, rng = folder / "train-00000.h5", np.random.default_rng(3)
    packed = []
    for n, step in ((5, 9), (1, 0), (6, 70_000)):
        columns = rng.integers(0, 3, n), rng.integers(0, 2, n), np.cumsum(rng.integers(0, step + 1, n))
        packed.append(pack_events(make_events(*columns, rng.integers(0, 2, n)), SensorSize(3, 2, 2), "memory"))
    n_events = np.array([each.n_events for each in packed])
    content = replace(
        shard_content("events"),
        frames=[each.frames for each in packed],
        n_events=n_events,
        spans_us=np.array([each.span_us for each in packed]),
    )
    write_shard(path, content)
    whole = path.read_bytes()
    manifest = manifest_of(Shard(path.name, len(whole), file_crc32(path), 3, int(n_events.sum())), "events")

    def check(data: bytes) -> None:
        path.write_bytes(data)
        for slicing in (Slice(time_window=7_000), Slice(events_per_frame=2, frames="thermometer", levels=(1, 2))):
            try:
                intact = payload_crc32(path, index := open_shard(path, FINGERPRINT)) == index.payload_crc32
                split = EventSplit(SplitReader(folder, manifest, manifest.splits["train"]), slicing, ("a", "b", "c"))
                read = np.empty((3, int(np.diff(split.offsets).max()), split.frame_nbytes), np.uint8)
                split.read_recordings(np.arange(3), read)
            except CacheCorrupt as error:
                check_message(error, folder)
                assert data != whole
            else:
                wanted.setdefault(slicing, read)
                assert not intact or np.array_equal(read, wanted[slicing])

    wanted: dict[Slice, np.ndarray] = {}
    return [whole], check


KINDS: dict[str, Callable[[Path], tuple[list[bytes], Check]]] = {
    "manifest": manifest_check,
    "sealed manifest": sealed_manifest_check,
    "shard of counts": lambda folder: shard_check(folder, "u8", 3),
    "shard of bits": lambda folder: shard_check(folder, "bits", 3),
    "shard of events": events_check,
    "shard without frames": lambda folder: shard_check(folder, "u8", 0),
}


@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_an_error_that_names_the_file(kind: str, tmp_path: Path) -> None:
    seeds, check = KINDS[kind](tmp_path)
    check(seeds[0])
    before = peak_kib()

    @settings(max_examples=200, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(seeds), st.lists(changes, min_size=1, max_size=6))
    def run(seed: bytes, steps: list[tuple[str, float, object]]) -> None:
        check(changed(seed, steps))

    run()
    assert peak_kib() - before < MEMORY_KIB


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_much_damage_is_an_error_that_names_the_file(kind: str, tmp_path: Path) -> None:
    seeds, check = KINDS[kind](tmp_path)
    check(seeds[0])
    before = peak_kib()
    long_run(seeds, check)
    assert peak_kib() - before < MEMORY_KIB
