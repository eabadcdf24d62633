"""The two places, locks between processes, and folders that are copied and swapped whole."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from difflogic_tonic.config import StoragePaths
from difflogic_tonic.errors import StorageError, StorageFull
from difflogic_tonic.storage import (
    ChecksumMismatch,
    check_space,
    copy_files,
    file_crc32,
    file_lock,
    free_bytes,
    open_storage,
    publish_folder,
    swap_folders,
)


def folder_with(path: Path, text: str) -> Path:
    path.mkdir()
    (path / "file").write_text(text)
    return path


def test_two_roots_are_two_places_scratch_first(tmp_path: Path) -> None:
    storage = open_storage(StoragePaths(scratch=tmp_path / "s", project=tmp_path / "p"))
    assert [place.name for place in storage.places] == ["scratch", "project"]
    assert not storage.is_shared
    assert storage.scratch.data_dir("NMNIST") == tmp_path / "s" / "data" / "NMNIST"
    assert storage.project.run_dir("job") == tmp_path / "p" / "runs" / "job"


def test_one_root_is_one_place_however_it_is_spelled(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    storage = open_storage(StoragePaths(scratch=tmp_path / "s", project=tmp_path / "link" / "s"))
    assert storage.is_shared
    assert len(storage.places) == 1


def test_a_file_where_a_place_should_be_names_the_variable(tmp_path: Path) -> None:
    (tmp_path / "p").write_text("")
    with pytest.raises(StorageError, match="PROJECT_STORAGE_DIR"):
        open_storage(StoragePaths(scratch=tmp_path / "s", project=tmp_path / "p"))


@pytest.mark.parametrize("root", ["/proc/x", "/dev/null/x", "/tmp/" + 300 * "x"])
def test_a_place_that_cannot_be_made_names_the_variable(tmp_path: Path, root: str) -> None:
    with pytest.raises(StorageError, match=r"scratch storage .* cannot be made \(.+\); set SCRATCH_STORAGE_DIR"):
        open_storage(StoragePaths(scratch=Path(root), project=tmp_path))


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind root")
def test_a_place_without_permission_names_the_variable(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="SCRATCH_STORAGE_DIR"):
        open_storage(StoragePaths(scratch=tmp_path, project=tmp_path))


def test_space_that_is_there_is_enough_and_more_is_refused_with_the_bytes(tmp_path: Path) -> None:
    check_space(tmp_path / "not" / "made" / "yet", 1, "it")
    with pytest.raises(StorageFull, match=r"it needs about [0-9,]{20,} bytes"):
        check_space(tmp_path, free_bytes(tmp_path) * 1000 + 10**20, "it")


def test_a_lock_keeps_another_process_out_until_its_holder_dies(
    tmp_path: Path, importing_environment: dict[str, str]
) -> None:
    code = (
        "import sys, pathlib; from difflogic_tonic.storage import file_lock\n"
        "with file_lock(pathlib.Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    path = tmp_path / "folder" / ".lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(path)],
        env=importing_environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdin is not None
    assert holder.stdout.readline() == "held\n"
    with file_lock(path, wait=False) as held:
        assert not held
    holder.kill()
    holder.wait()
    holder.stdin.close()
    holder.stdout.close()
    with file_lock(path, wait=False) as held:
        assert held


def test_a_copy_is_verified_and_names_the_damaged_side(tmp_path: Path) -> None:
    source = folder_with(tmp_path / "source", "content")
    target = tmp_path / "target"
    target.mkdir()
    crc = file_crc32(source / "file")
    done: list[int] = []
    copy_files(source, target, {"file": crc}, done.append)
    assert (target / "file").read_text() == "content"
    assert done == [7]
    (source / "file").write_text("c0ntent")
    with pytest.raises(ChecksumMismatch) as caught:
        copy_files(source, target, {"file": crc})
    assert caught.value.path == source / "file"


def test_the_second_to_publish_a_folder_is_told_so(tmp_path: Path) -> None:
    assert publish_folder(folder_with(tmp_path / "a", "1"), tmp_path / "final")
    assert not publish_folder(folder_with(tmp_path / "b", "2"), tmp_path / "final")
    assert not publish_folder(tmp_path / "a", tmp_path / "final")  # it is gone: another writer took it
    assert (tmp_path / "final" / "file").read_text() == "1"


def test_swapped_folders_exchange_their_names(tmp_path: Path) -> None:
    old, new = folder_with(tmp_path / "old", "old"), folder_with(tmp_path / "new", "new")
    swap_folders(new, old)
    assert (old / "file").read_text() == "new"
    assert (new / "file").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2
