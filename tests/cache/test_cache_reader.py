"""Shards and their reader, on frames of 2 channels, 2 rows and 3 columns."""

import dataclasses
import errno
import multiprocessing
import pickle
import resource
import threading
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from difflogic_tonic.cache import CacheReader, SplitReader, fingerprint_of, parameters_hash
from difflogic_tonic.cache.manifest import Manifest, Recordings, Shard, load_manifest, manifest_text, split_facts
from difflogic_tonic.cache.shard import ShardContent, open_shard, write_shard
from difflogic_tonic.config import SensorSize
from difflogic_tonic.errors import CacheCorrupt, CacheMissing, StorageError, StorageFull

SHAPE = (2, 2, 3)
NBYTES = 12
LENGTHS = (3, 1, 4, 2, 5)
FINGERPRINT = fingerprint_of({}, [])


def frames_of(row: int) -> np.ndarray:
    """Recording `row`: frame t has the value 16·row + t everywhere but in its last byte, which is 7."""
    frames = np.repeat(16 * row + np.arange(LENGTHS[row], dtype=np.uint8)[:, None], NBYTES, 1)
    frames[:, -1] = 7
    return frames


def content(rows: range, storage: str = "u8") -> ShardContent:
    return ShardContent(
        fingerprint=FINGERPRINT,
        storage=storage,  # type: ignore[arg-type]
        frame_shape=SHAPE,
        frames=[frames_of(row)[:, : NBYTES if storage == "u8" else 2] for row in rows],
        labels=np.array([row % 2 for row in rows]),
        source=np.array([10 + row for row in rows]),
        n_events=np.array([100 * row for row in rows]),
        assigned=np.array([10 + row for row in rows]),
        assigned_crc32=np.array(rows, np.uint32),
        n_saturated=0,
    )


def write_variant(folder: Path, parts: tuple[range, ...] = (range(2), range(2, 5))) -> Path:
    """A variant whose train split has the recordings of `parts`, a shard each."""
    folder.mkdir()
    shards = []
    for number, rows in enumerate(parts):
        name = f"train-{number:05d}.h5"
        write_shard(folder / name, content(rows))
        n_frames = sum(LENGTHS[row] for row in rows)
        shards.append(Shard(name, (folder / name).stat().st_size, 0, len(rows), n_frames))
    labels = [row % 2 for rows in parts for row in rows]
    manifest = Manifest(
        dataset="TOY", fingerprint=FINGERPRINT, parameters={}, parameters_hash=parameters_hash({}), classes=("a", "b"),
        sensor=SensorSize(3, 2, 2), storage="u8", splits={"train": split_facts(shards, labels, 2)},
        recordings=Recordings((), (), (), (), ()), skipped=(), subset=None, n_saturated=0, versions={},
    )  # fmt: skip
    (folder / "manifest.json").write_text(manifest_text(manifest))
    return folder


@pytest.fixture
def variant(tmp_path: Path) -> Path:
    return write_variant(tmp_path / FINGERPRINT)


@pytest.fixture
def split(variant: Path) -> SplitReader:
    return CacheReader(variant).split("train")


def test_rows_and_frames_are_numbered_through_all_shards(split: SplitReader) -> None:
    assert split.labels.tolist() == [0, 1, 0, 1, 0]
    assert split.offsets.tolist() == [0, 3, 4, 8, 10, 15]
    assert split.recording_ids.tolist() == [10, 11, 12, 13, 14]
    assert (split.n_recordings, split.n_frames, split.frame_shape, split.frame_nbytes) == (5, 15, SHAPE, NBYTES)


def test_frames_come_in_the_order_asked_for(split: SplitReader) -> None:
    every = np.concatenate([frames_of(row) for row in range(5)])
    for wanted in ([14, 0, 3, 3, 4], list(range(15)), [3, 4], []):
        out = np.full((len(wanted), NBYTES), 255, np.uint8)
        split.read_frames(np.array(wanted, np.int64), out)
        assert np.array_equal(out, every[wanted])


def test_recordings_are_padded_with_zeros_and_cut(split: SplitReader) -> None:
    out = np.full((3, 4, NBYTES), 255, np.uint8)
    split.read_recordings(np.array([4, 1, 2]), out)
    assert np.array_equal(out[0], frames_of(4)[:4])
    assert np.array_equal(out[1, :1], frames_of(1))
    assert not out[1, 1:].any()
    assert np.array_equal(out[2], frames_of(2))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=8), st.integers(1, 6))
def test_any_batch_equals_the_recordings_one_by_one(rows: list[int], room: int) -> None:
    split = the_split()
    out = np.full((len(rows), room, NBYTES), 255, np.uint8)
    split.read_recordings(np.array(rows), out)
    for got, row in zip(out, rows, strict=True):
        wanted = np.zeros((room, NBYTES), np.uint8)
        kept = frames_of(row)[:room]
        wanted[: len(kept)] = kept
        assert np.array_equal(got, wanted)


_kept: list[SplitReader] = []


def the_split() -> SplitReader:
    """One reader for all examples of a property."""
    return _kept[0]


@pytest.fixture(autouse=True, scope="module")
def keep_a_split(tmp_path_factory: pytest.TempPathFactory) -> None:
    _kept[:] = [CacheReader(write_variant(tmp_path_factory.mktemp("toy") / FINGERPRINT)).split("train")]


@pytest.mark.parametrize("frame", [-1, 15])
def test_a_frame_that_is_not_there_is_an_index_error(split: SplitReader, frame: int) -> None:
    with pytest.raises(IndexError):
        split.read_frames(np.array([frame]), np.empty((1, NBYTES), np.uint8))


def test_a_buffer_of_another_size_is_refused(split: SplitReader) -> None:
    with pytest.raises(AssertionError):
        split.read_frames(np.array([0]), np.empty((1, NBYTES + 1), np.uint8))


def test_a_reader_can_be_pickled_and_serves_threads(split: SplitReader) -> None:
    wrong = []

    def read(reader: SplitReader, seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(200):
            row = int(rng.integers(5))
            out = np.empty((1, LENGTHS[row], NBYTES), np.uint8)
            reader.read_recordings(np.array([row]), out)
            wrong.extend([row] * (not np.array_equal(out[0], frames_of(row))))

    split.read_recordings(np.array([0, 4]), np.empty((2, 5, NBYTES), np.uint8))
    copy = pickle.loads(pickle.dumps(split))
    split.close()
    threads = [threading.Thread(target=read, args=(copy, seed)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def _read_in_child(split: SplitReader, answers: "multiprocessing.SimpleQueue[bool]") -> None:
    out = np.empty((1, 4, NBYTES), np.uint8)
    split.read_recordings(np.array([2]), out)
    answers.put(np.array_equal(out[0], frames_of(2)))


def test_a_forked_reader_opens_its_own_files(split: SplitReader) -> None:
    out = np.empty((1, 4, NBYTES), np.uint8)
    split.read_recordings(np.array([2]), out)
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    child = context.Process(target=_read_in_child, args=(split, answers))
    child.start()
    child.join(30)
    assert child.exitcode == 0
    assert answers.get()
    split.read_recordings(np.array([2]), out)
    assert np.array_equal(out[0], frames_of(2))


def test_equal_contents_are_equal_bytes_at_any_time(tmp_path: Path) -> None:
    write_shard(tmp_path / "a", content(range(3)))
    time.sleep(1.1)  # the clock of HDF5's object headers ticks in seconds
    write_shard(tmp_path / "b", content(range(3)))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_any_hdf5_reader_sees_frames_and_index(variant: Path) -> None:
    with h5py.File(variant / "train-00001.h5") as file:
        assert file["frames"].shape == (11, *SHAPE)
        assert file["frames"].chunks is None
        assert np.array_equal(file["frames"][()].reshape(11, NBYTES), np.concatenate([frames_of(r) for r in (2, 3, 4)]))
        assert file["offsets"][()].tolist() == [0, 4, 6, 11]
        assert file.attrs["complete"] == 1


def test_a_shard_without_frames_is_a_shard(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.h5", content(range(0)))
    assert open_shard(tmp_path / "a.h5", FINGERPRINT).offsets.tolist() == [0]


@pytest.mark.parametrize("limit", [100, 2000, 200_000])
def test_a_shard_beyond_the_file_size_limit_is_a_full_disk(tmp_path: Path, limit: int) -> None:
    """Below the header, inside it, and inside the payload."""
    many = dataclasses.replace(content(range(1)), frames=[np.ones((30_000, NBYTES), np.uint8)])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(StorageFull, match=r"file size limit reached in .* while writing a\.h5 of 36"):
            write_shard(tmp_path / "a.h5", many)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [errno.EACCES, errno.EIO])
def test_a_shard_that_cannot_be_read_is_not_called_damaged(
    variant: Path, error: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(path: Path, *arguments: object, **options: object) -> None:
        raise OSError(error, "", str(path))

    monkeypatch.setattr("builtins.open", refusing)
    with pytest.raises(StorageError, match=r"train-00000\.h5 (may not be accessed|has an input/output error)"):
        open_shard(variant / "train-00000.h5", FINGERPRINT)


def test_packed_frames_are_stored_as_bits(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.h5", content(range(2), "bits"))
    assert open_shard(tmp_path / "a.h5", FINGERPRINT).frame_nbytes == 2


@pytest.mark.parametrize("cut", [1, 100, 2000])
def test_a_truncated_shard_is_found_at_open(variant: Path, cut: int) -> None:
    path = variant / "train-00001.h5"
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(CacheCorrupt, match=r"train-00001\.h5 is damaged: it has .* bytes, expected") as caught:
        CacheReader(variant).split("train")
    assert "./prepare_data.sh" in str(caught.value)
    with pytest.raises(CacheCorrupt):
        open_shard(path, FINGERPRINT)  # also without a manifest that knows the size


@pytest.mark.parametrize("name", ["offsets", "labels", "source", "n_events"])
def test_a_flipped_bit_of_the_index_is_found_at_open(variant: Path, name: str) -> None:
    path = variant / "train-00001.h5"
    whole = path.read_bytes()
    with h5py.File(path) as file:
        at, size = file[name].id.get_offset(), file[name].id.get_storage_size()
    for bit in range(0, size * 8, 13):
        damaged = bytearray(whole)
        damaged[at + bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.raises(CacheCorrupt, match=r"train-00001\.h5 is damaged"):
            CacheReader(variant).split("train")


def test_a_missing_shard_and_a_foreign_one_are_named(variant: Path) -> None:
    path = variant / "train-00000.h5"
    with pytest.raises(CacheCorrupt, match="another variant"):
        open_shard(path, "0" * 64)
    path.unlink()
    with pytest.raises(CacheCorrupt, match=r"train-00000\.h5 is damaged: it is missing"):
        CacheReader(variant).split("train")


def test_a_file_that_shrinks_or_vanishes_while_reading_is_an_error_not_data(split: SplitReader, variant: Path) -> None:
    out = np.empty((1, 5, NBYTES), np.uint8)
    split.read_recordings(np.array([4]), out)
    (variant / "train-00001.h5").write_bytes(b"")
    with pytest.raises(CacheCorrupt, match="became shorter"):
        split.read_recordings(np.array([4]), out)
    split.close()
    (variant / "train-00001.h5").unlink()
    with pytest.raises(CacheMissing, match="scratch storage cleaned"):
        split.read_recordings(np.array([4]), out)


def test_a_folder_without_manifest_is_not_a_variant(tmp_path: Path) -> None:
    with pytest.raises(CacheMissing, match=r"manifest\.json"):
        CacheReader(tmp_path)


def test_a_split_that_is_not_there_names_those_that_are(variant: Path) -> None:
    with pytest.raises(CacheMissing, match="only train"):
        CacheReader(variant).split("test")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"layout_version": 1}', '{"layout_version": 99}'])
def test_a_damaged_manifest_is_one_line_with_the_next_command(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(CacheCorrupt, match=r"\./prepare_data\.sh") as caught:
        load_manifest(tmp_path)
    assert "\n" not in str(caught.value)
