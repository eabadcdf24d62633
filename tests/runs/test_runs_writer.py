"""The writing threads: the loop waits for nobody, and a failure is known before the run ends."""

import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from pathlib import Path

import pytest
import torch

from difflogic_tonic.errors import StorageError, StorageFull
from difflogic_tonic.runs.checkpoint import Checkpoints, Position
from difflogic_tonic.runs.writer import CheckpointWriter, NewestOnly
from difflogic_tonic.storage import Storage

FullDisk = Callable[[int], AbstractContextManager[None]]
SNAPSHOT = {"weights": torch.zeros(1000)}


def steps(folder: Path) -> list[int]:
    return sorted(int(path.name.split("-")[1]) for path in folder.glob("step-*.pt"))


def test_the_newest_item_is_worked_on_and_older_waiting_ones_are_dropped() -> None:
    gate, seen = threading.Event(), []

    def work(item: int) -> None:
        gate.wait(10)
        seen.append(item)

    thread = NewestOnly(work, "test")
    thread.put(1)
    while len(thread._waiting):
        pass  # until the thread has taken the first
    for item in (2, 3, 4):
        thread.put(item)
    assert thread.busy
    gate.set()
    thread.close()
    assert seen == [1, 4]


def test_an_error_of_the_thread_reaches_the_caller() -> None:
    thread = NewestOnly(lambda item: 1 // item, "test")
    thread.put(0)
    with pytest.raises(ZeroDivisionError):
        thread.drain()
    with pytest.raises(ZeroDivisionError):
        thread.close()


def test_a_checkpoint_is_in_both_places_when_waited_for(storage: Storage) -> None:
    checkpoints = Checkpoints(storage, "job")
    with closing(CheckpointWriter(checkpoints, storage)) as writer:
        writer.put_and_wait(Position(1), SNAPSHOT)
        assert [steps(checkpoints.folder(place)) for place in storage.places] == [[1], [1]]


def test_a_full_disk_is_a_warning_while_a_checkpoint_is_safe(
    shared_storage: Storage, full_disk: FullDisk, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoints = Checkpoints(shared_storage, "job")
    with closing(CheckpointWriter(checkpoints, shared_storage)) as writer:
        writer.put_and_wait(Position(1), SNAPSHOT)
        with full_disk(1000), caplog.at_level(logging.WARNING, "difflogic_tonic"):
            writer.put(Position(2), SNAPSHOT)
            writer._writer.drain()
            writer.check()
        assert "the one of step 1 is safe" in caplog.text
        assert steps(checkpoints.folder(shared_storage.scratch)) == [1]
        writer.put_and_wait(Position(3), SNAPSHOT)  # there is room again
        assert steps(checkpoints.folder(shared_storage.scratch)) == [1, 3]


def test_a_full_disk_stops_the_run_while_nothing_is_safe(shared_storage: Storage, full_disk: FullDisk) -> None:
    checkpoints = Checkpoints(shared_storage, "job")
    with closing(CheckpointWriter(checkpoints, shared_storage)) as writer:
        with full_disk(1000):
            writer.put(Position(1), SNAPSHOT)
            writer._writer.drain()
        with pytest.raises(StorageFull):
            writer.check()


def test_the_last_checkpoint_must_be_written(shared_storage: Storage, full_disk: FullDisk) -> None:
    checkpoints = Checkpoints(shared_storage, "job")
    with closing(CheckpointWriter(checkpoints, shared_storage)) as writer:
        writer.put_and_wait(Position(1), SNAPSHOT)
        with full_disk(1000), pytest.raises(StorageFull):
            writer.put_and_wait(Position(2), SNAPSHOT)


def test_a_scratch_that_cannot_be_written_is_replaced_by_project(
    storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    storage.scratch.root.parent.mkdir(exist_ok=True)
    storage.scratch.root.write_text("a file where a folder is expected")
    checkpoints = Checkpoints(storage, "job")
    with closing(CheckpointWriter(checkpoints, storage)) as writer:
        with caplog.at_level(logging.WARNING, "difflogic_tonic"):
            writer.put_and_wait(Position(1), SNAPSHOT)
        assert steps(checkpoints.folder(storage.project)) == [1]
        assert "project storage only" in caplog.text


def test_a_project_that_cannot_be_written_is_a_warning(storage: Storage, caplog: pytest.LogCaptureFixture) -> None:
    storage.project.root.parent.mkdir(exist_ok=True)
    storage.project.root.write_text("a file where a folder is expected")
    checkpoints = Checkpoints(storage, "job")
    with closing(CheckpointWriter(checkpoints, storage)) as writer:
        with caplog.at_level(logging.WARNING, "difflogic_tonic"):
            writer.put_and_wait(Position(1), SNAPSHOT)
        assert steps(checkpoints.folder(storage.scratch)) == [1]
        assert "scratch only" in caplog.text


def test_neither_place_is_an_error(storage: Storage) -> None:
    for place in storage.places:
        place.root.parent.mkdir(exist_ok=True)
        place.root.write_text("a file where a folder is expected")
    with (
        closing(CheckpointWriter(Checkpoints(storage, "job"), storage)) as writer,
        pytest.raises(StorageError, match="has a file where a folder is expected"),
    ):
        writer.put_and_wait(Position(1), SNAPSHOT)
