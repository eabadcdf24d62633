"""Prepared frames that go away while they are read: the same bytes come from another copy."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from difflogic_tonic import cache
from difflogic_tonic.cache import CacheReader, SplitReader
from difflogic_tonic.cache.returning import Returning
from difflogic_tonic.config import PrepareConfig, StoragePaths
from difflogic_tonic.errors import CacheCorrupt, CacheMissing
from difflogic_tonic.storage import Storage, open_storage


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    """Twelve recordings in shards of four, in both places."""
    for number in range(12):
        path = tmp_path / "mine" / "train" / ("wave" if number % 2 else "clap") / f"{number}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("t,x,y,p\n" + "".join(f"{t},{(t + number) % 5},{t % 3},0\n" for t in range(10)))
    made = open_storage(StoragePaths(tmp_path / "scratch", tmp_path / "project"))
    data = {"name": "FOLDER", "data_root": tmp_path / "mine", "sensor": [5, 3], "val_fraction": 0.0}
    data |= {"events_per_frame": 5, "shard_recordings": 4, "allow_subset": True}
    cache.prepare(PrepareConfig.model_validate({"data": data}), made, progress=False)
    return made


def folder(storage: Storage, place: str) -> Path:
    data = getattr(storage, place).data_dir("FOLDER")
    return next(path for path in data.iterdir() if not path.name.startswith("."))


def opened(storage: Storage) -> tuple[SplitReader, Returning]:
    found = cache.find_variant(storage, "FOLDER", parameters_hash=None, prefix=None, prepare_command="make it")
    returning = Returning(storage, "FOLDER", found)
    split = CacheReader(found.path, returning=returning).split("train")
    assert isinstance(split, SplitReader)
    return split, returning


def frames_of(split: SplitReader) -> np.ndarray:
    out = np.empty((split.n_frames, split.frame_nbytes), np.uint8)
    split.read_frames(np.arange(split.n_frames), out)
    return out


def remove(scratch: Path) -> None:
    shutil.rmtree(scratch)


def remove_one(scratch: Path) -> None:
    (scratch / "train-00001.h5").unlink()


def cut(scratch: Path) -> None:
    for shard in scratch.glob("*.h5"):
        with shard.open("r+b") as file:
            file.truncate(100)


def break_disk(scratch: Path) -> None:
    """Every read of this file is an input/output error, a real one."""
    (scratch / "train-00001.h5").unlink()
    (scratch / "train-00001.h5").symlink_to("/proc/self/mem")


@pytest.mark.parametrize("lose", [remove, remove_one, cut, break_disk])
@pytest.mark.parametrize("reads_before", [False, True])
def test_what_scratch_loses_is_staged_again_and_the_same(
    lose: Callable[[Path], None], reads_before: bool, storage: Storage
) -> None:
    wanted = frames_of(opened(storage)[0])
    split, returning = opened(storage)
    if reads_before:
        split.read_frames(np.array([0]), np.empty((1, split.frame_nbytes), np.uint8))
    lose(folder(storage, "scratch"))
    assert np.array_equal(frames_of(split), wanted)
    assert returning.generation == 1
    assert returning.place_name == "scratch"
    assert sorted(path.name for path in folder(storage, "scratch").glob("*.h5")) == [
        f"train-{n:05d}.h5" for n in range(3)
    ]
    split.close()


def test_scratch_that_cannot_be_written_leaves_project_storage(storage: Storage) -> None:
    wanted = frames_of(opened(storage)[0])
    split, returning = opened(storage)
    shutil.rmtree(storage.scratch.root)
    storage.scratch.root.write_text("a file where a folder is expected")
    assert np.array_equal(frames_of(split), wanted)
    assert returning.place_name == "project"


def test_two_splits_of_one_variant_stage_once(storage: Storage) -> None:
    first, returning = opened(storage)
    second = CacheReader(returning.path, returning=returning).split("train")
    assert isinstance(second, SplitReader)
    remove(folder(storage, "scratch"))
    assert np.array_equal(frames_of(first), frames_of(second))
    assert returning.generation == 1


def test_without_any_copy_it_is_an_error(storage: Storage) -> None:
    split, _ = opened(storage)
    for place in ("scratch", "project"):
        remove(folder(storage, place))
    with pytest.raises(CacheMissing, match="no prepared FOLDER"):
        frames_of(split)


def test_a_place_that_loses_its_files_every_time_is_given_up(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    split, returning = opened(storage)
    cut(folder(storage, "scratch"))
    found = returning.bring_back

    def and_again(generation: int, error: Exception) -> tuple[int, Path]:
        answer = found(generation, error)
        cut(folder(storage, "scratch"))
        return answer

    monkeypatch.setattr(returning, "bring_back", and_again)
    with pytest.raises(CacheCorrupt, match="became shorter"):
        frames_of(split)
    assert returning.generation == 3


def test_whoever_watches_can_end_the_copying(storage: Storage) -> None:
    split, returning = opened(storage)
    remove(folder(storage, "scratch"))
    calls = iter(range(100))

    def watch() -> None:
        if next(calls) == 2:
            raise KeyboardInterrupt

    returning.watch = watch
    with pytest.raises(KeyboardInterrupt):
        frames_of(split)
    assert not [path for path in storage.scratch.data_dir("FOLDER").iterdir() if not path.name.startswith(".")]
