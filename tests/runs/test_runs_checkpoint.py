"""Checkpoint files: whole, checked, two kept, and the one before where the newest is damaged."""

import errno
import logging
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import torch

from difflogic_tonic.errors import CheckpointCorrupt, StorageError, StorageFull
from difflogic_tonic.runs.checkpoint import Checkpoints, Position, pack
from difflogic_tonic.storage import Place, Storage

FullDisk = Callable[[int], AbstractContextManager[None]]


def content(step: int) -> bytes:
    return pack({"step": step, "weights": torch.full((100,), float(step))})


def written(storage: Storage, *steps: int) -> Checkpoints:
    """Checkpoints of `steps` in every place, written by one process that is gone; a new object, as after a restart."""
    writer = Checkpoints(storage, "job")
    for step in steps:
        for place in storage.places:
            writer.write(place, Position(step), content(step))
    return Checkpoints(storage, "job")


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def newest(folder: Path) -> Path:
    return max(folder.glob("step-*.pt"))


def test_what_was_written_is_loaded(storage: Storage) -> None:
    state, found = written(storage, 3).load_newest() or pytest.fail("nothing found")
    assert state["step"] == 3
    assert torch.equal(state["weights"], torch.full((100,), 3.0))
    assert found.place.name == "scratch"


def test_a_job_without_checkpoints_has_none(storage: Storage) -> None:
    assert Checkpoints(storage, "job").load_newest() is None


def test_the_newest_two_are_kept_in_each_place(storage: Storage) -> None:
    checkpoints = written(storage, 1, 2, 3, 4)
    for place in storage.places:
        steps = [name.split("-")[1] for name in files(checkpoints.folder(place))]
        assert steps == ["000000003", "000000004"]


def test_evaluation_positions_order_checkpoints_of_one_step(shared_storage: Storage) -> None:
    checkpoints = Checkpoints(shared_storage, "job")
    place = shared_storage.scratch
    for evaluated in (0, 9, 10):
        checkpoints.write(place, Position(5, evaluated), content(evaluated))
    state, _ = Checkpoints(shared_storage, "job").load_newest() or pytest.fail("nothing found")
    assert state["step"] == 10


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "truncated": lambda path: os.truncate(path, path.stat().st_size // 2),
    "bit flip": flip_a_bit,
    "zero length": lambda path: os.truncate(path, 0),
    "missing": Path.unlink,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_newest_falls_back_to_the_one_before(
    damage: str, shared_storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoints = written(shared_storage, 1, 2)
    path = newest(checkpoints.folder(shared_storage.scratch))
    DAMAGES[damage](path)
    with caplog.at_level(logging.WARNING, "difflogic_tonic"):
        state, _ = checkpoints.load_newest() or pytest.fail("nothing found")
    assert state["step"] == 1
    assert (str(path) in caplog.text) == (damage != "missing")


def test_a_damaged_newest_in_scratch_is_taken_from_project(storage: Storage) -> None:
    checkpoints = written(storage, 1, 2)
    flip_a_bit(newest(checkpoints.folder(storage.scratch)))
    state, found = checkpoints.load_newest() or pytest.fail("nothing found")
    assert (state["step"], found.place.name) == (2, "project")


def test_scratch_that_was_wiped_is_replaced_by_project(storage: Storage) -> None:
    checkpoints = written(storage, 1, 2)
    for path in checkpoints.folder(storage.scratch).iterdir():
        path.unlink()
    state, found = checkpoints.load_newest() or pytest.fail("nothing found")
    assert (state["step"], found.place.name) == (2, "project")


def test_only_damaged_ones_are_refused_again_and_again(shared_storage: Storage) -> None:
    checkpoints = written(shared_storage, 1, 2)
    for path in checkpoints.folder(shared_storage.scratch).iterdir():
        flip_a_bit(path)
    for _ in range(2):  # the first refusal sets the files aside, which must not look like a job without any
        with pytest.raises(CheckpointCorrupt, match="--fresh"):
            checkpoints.load_newest()


def test_the_only_good_one_is_not_removed_by_the_next(shared_storage: Storage) -> None:
    """Steps 1 and 2 exist, 2 is damaged: after 1 was loaded and 3 written, 1 and 3 must be there."""
    checkpoints = written(shared_storage, 1, 2)
    folder = checkpoints.folder(shared_storage.scratch)
    flip_a_bit(newest(folder))
    checkpoints.load_newest()
    checkpoints.write(shared_storage.scratch, Position(3), content(3))
    assert [name.split("-")[1] for name in files(folder)] == ["000000001", "000000003"]


def test_unread_files_stay_until_two_good_ones_are_newer(shared_storage: Storage) -> None:
    checkpoints = written(shared_storage, 1, 2)
    folder = checkpoints.folder(shared_storage.scratch)
    checkpoints.write(shared_storage.scratch, Position(3), content(3))
    assert len(files(folder)) == 3
    checkpoints.write(shared_storage.scratch, Position(4), content(4))
    assert [name.split("-")[1] for name in files(folder)] == ["000000003", "000000004"]


def test_a_full_disk_leaves_the_previous_checkpoint(shared_storage: Storage, full_disk: FullDisk) -> None:
    checkpoints = written(shared_storage, 1)
    before = files(checkpoints.folder(shared_storage.scratch))
    with full_disk(1000), pytest.raises(StorageFull):
        checkpoints.write(shared_storage.scratch, Position(2), content(2))
    assert files(checkpoints.folder(shared_storage.scratch)) == before
    state, _ = checkpoints.load_newest() or pytest.fail("nothing found")
    assert state["step"] == 1


def test_code_in_a_checkpoint_is_not_run(shared_storage: Storage) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
            return os.system, ("true",)

    checkpoints = Checkpoints(shared_storage, "job")
    checkpoints.write(shared_storage.scratch, Position(1), pack({"evil": Evil()}))
    with pytest.raises(CheckpointCorrupt, match="nothing in it was run"):
        checkpoints.load_newest()


def test_what_reads_back_differently_is_no_checkpoint(shared_storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = written(shared_storage, 1)
    before = files(checkpoints.folder(shared_storage.scratch))
    lying = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: lying(path)[:-1] + b"?")
    with pytest.raises(StorageError, match="reads back differently"):
        checkpoints.write(shared_storage.scratch, Position(2), content(2))
    assert files(checkpoints.folder(shared_storage.scratch)) == before


@pytest.mark.parametrize("code", [errno.ETIMEDOUT, errno.EBUSY, errno.EHOSTDOWN, errno.ENODEV, errno.ESTALE, 9999])
def test_a_disk_that_fails_in_an_unknown_way_is_one_line(
    code: int, shared_storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(path: Path) -> bytes:
        raise OSError(code, os.strerror(code))

    checkpoints = written(shared_storage, 1)
    monkeypatch.setattr(Path, "read_bytes", failing)
    with pytest.raises(StorageError):
        checkpoints.write(shared_storage.scratch, Position(2), content(2))


def test_old_checkpoints_that_cannot_be_removed_are_a_warning(
    shared_storage: Storage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(path: Path, missing_ok: bool = False) -> None:
        raise OSError(errno.EBUSY, "busy")

    checkpoints = Checkpoints(shared_storage, "job")
    monkeypatch.setattr(Path, "unlink", failing)
    with caplog.at_level(logging.WARNING, "difflogic_tonic"):
        for step in (1, 2, 3):
            checkpoints.write(shared_storage.scratch, Position(step), content(step))
    assert checkpoints.verified == Position(3)
    assert caplog.text.count("an old checkpoint cannot be removed") == 1


def test_scratch_is_tidied_while_the_other_place_cannot_be_looked_at(storage: Storage) -> None:
    gone = Place("project", storage.project.root.parent / ("a" * 300))  # no file system has such a name: stat fails
    checkpoints = Checkpoints(Storage(storage.scratch, gone), "job")
    for step in range(1, 5):
        checkpoints.write(storage.scratch, Position(step), content(step))
    steps = [name.split("-")[1] for name in files(checkpoints.folder(storage.scratch))]
    assert steps == ["000000003", "000000004"]
