"""Run folders: nothing is overwritten without being told to, and set aside rather than removed."""

import errno
import os
from pathlib import Path

import pytest
import yaml

from difflogic_tonic.config.train import TrainConfig
from difflogic_tonic.errors import RunExists, StorageError, StorageFull
from difflogic_tonic.runs.folder import (
    RunFolder,
    check_present,
    job_folders,
    open_run,
    remove_leftovers,
    set_aside,
    write_start,
)
from difflogic_tonic.runs.log import log_to_file
from difflogic_tonic.storage import Storage, partial_path


def fill(storage: Storage, job_id: str = "job") -> None:
    for place in storage.places:
        for folder in (place.run_dir(job_id), place.models_dir(job_id), place.checkpoints_dir(job_id)):
            folder.mkdir(parents=True)
            (folder / "file").write_text(folder.parent.name)


def test_a_new_job_gets_a_folder_in_project_storage(storage: Storage) -> None:
    folder = open_run(storage, "job", "new")
    assert folder.path == storage.project.root / "runs" / "job"
    assert folder.tensorboard.is_dir()


@pytest.mark.parametrize("kind", ["runs", "models", "checkpoints"])
@pytest.mark.parametrize("place", [0, 1])
def test_a_job_of_which_anything_exists_is_not_overwritten(kind: str, place: int, storage: Storage) -> None:
    (storage.places[place].root / kind / "job").mkdir(parents=True)
    with pytest.raises(RunExists, match=r"job job exists: .*--resume.*--fresh"):
        open_run(storage, "job", "new")


def test_fresh_keeps_the_old_run_under_a_name_of_its_own(storage: Storage) -> None:
    fill(storage)
    fill(storage, "neighbour")
    open_run(storage, "job", "fresh")
    (aside,) = (path.name for path in (storage.project.root / "runs").glob("job.old-*"))
    assert len(job_folders(storage, aside)) == 6
    assert all((folder / "file").read_text() == folder.parent.name for folder in job_folders(storage, aside))
    assert len(job_folders(storage, "neighbour")) == 6


def test_fresh_twice_in_one_second_keeps_both(shared_storage: Storage) -> None:
    names = set()
    for _ in range(3):
        fill(shared_storage)
        names.add(set_aside(shared_storage, "job"))
    assert len(names) == 3
    assert all(len(job_folders(shared_storage, name)) == 3 for name in names)


@pytest.mark.parametrize("start", ["resume", "auto"])
def test_a_resume_finds_the_folder_as_it_was(start: str, storage: Storage) -> None:
    fill(storage)
    folder = open_run(storage, "job", start)  # type: ignore[arg-type]
    assert (folder.path / "file").is_file()


def die_writing(*paths: Path) -> None:
    pid = os.fork()
    if pid == 0:
        for path in paths:
            partial_path(path).write_bytes(b"half")
        os._exit(0)
    os.waitpid(pid, 0)


def test_leftovers_of_dead_writers_are_removed_and_those_of_living_ones_kept(storage: Storage) -> None:
    fill(storage)
    die_writing(*(folder / "best.pt" for folder in job_folders(storage, "job")))
    mine = partial_path(storage.scratch.checkpoints_dir("job") / "step.pt")
    mine.write_bytes(b"being written")
    remove_leftovers(storage, "job")
    assert list(storage.project.root.parent.rglob("*.tmp-*")) == [mine]


def test_leftovers_of_dead_writers_are_not_set_aside(storage: Storage) -> None:
    fill(storage)
    die_writing(storage.scratch.checkpoints_dir("job") / "step.pt")
    aside = storage.scratch.checkpoints_dir(set_aside(storage, "job"))
    assert [path.name for path in aside.iterdir()] == ["file"]


def test_a_start_is_recorded(storage: Storage) -> None:
    folder = open_run(storage, "job", "new")
    config = TrainConfig.model_validate({"model": {"model_type": "MLP"}})
    for epochs in ("1", "2"):
        write_start(folder, config, ["a config.yaml", "job", "--override", f"train.epochs={epochs}"], {"python": "3"})
    assert yaml.safe_load(folder.config.read_text()) == config.to_dict()
    lines = folder.command.read_text().splitlines()
    assert len(lines) == 2
    assert lines[1].endswith("'a config.yaml' job --override train.epochs=2")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_place_is_one_line(storage: Storage) -> None:
    (storage.project.root).mkdir(parents=True)
    storage.project.root.chmod(0o500)
    with pytest.raises(StorageError, match="may not be accessed"):
        open_run(storage, "job", "new")


def test_a_file_where_the_folder_should_be_is_one_line(storage: Storage) -> None:
    storage.project.root.mkdir(parents=True)
    Path(storage.project.root / "runs").write_text("")
    with pytest.raises(StorageError, match="has a file where a folder is expected"):
        open_run(storage, "job", "new")


def test_a_log_file_that_cannot_be_made_is_one_line(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_inode_left(path: Path, *arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    folder = open_run(storage, "job", "new")
    monkeypatch.setattr("os.open", no_inode_left)
    with pytest.raises(StorageFull, match=r"log\.txt"):
        log_to_file(folder.log)


@pytest.mark.parametrize("left", ["runs/job/summary.json", "models/job/best.pt"])
def test_auto_without_a_checkpoint_keeps_results_under_another_name(left: str, storage: Storage) -> None:
    path = storage.project.root / left
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    open_run(storage, "job", "auto", has_checkpoint=True)
    assert path.exists()
    open_run(storage, "job", "auto", has_checkpoint=False)
    assert not path.exists()
    assert len(list(path.parent.parent.glob(f"job.old-*/{path.name}"))) == 1


def test_a_run_folder_that_cannot_be_looked_at_is_an_outage(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="not there any more"):
        check_present(RunFolder(tmp_path / "gone"))
    with pytest.raises(StorageError, match="a name too long"):
        check_present(RunFolder(tmp_path / ("a" * 300)))
