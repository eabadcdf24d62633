"""Files appear whole or not at all; leftovers go when their writer is dead, and only then."""

import errno
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from difflogic_tonic.errors import StorageError, StorageFull
from difflogic_tonic.storage import append_bytes, atomic_write, partial_path, reap_leftovers, write_json, write_text


def leftover_of(path: Path, host: str, pid: int) -> Path:
    return path.with_name(f"{path.name}.tmp-{host}-{pid}-0")


def this_host(path: Path) -> str:
    return partial_path(path).name.split(".tmp-")[1].rsplit("-", 2)[0]


@pytest.fixture
def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_file_has_its_name_only_after_the_block(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "a") as partial:
        partial.write_text("whole")
        assert not (tmp_path / "a").exists()
    assert (tmp_path / "a").read_text() == "whole"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "old")
    with pytest.raises(ZeroDivisionError), atomic_write(tmp_path / "a") as partial:  # noqa: PT012
        partial.write_text("half")
        raise ZeroDivisionError
    assert [(entry.name, entry.read_text()) for entry in tmp_path.iterdir()] == [("a", "old")]


def test_json_reads_back_and_refuses_what_is_not_json(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"µs": [1, 2.5, None]})
    assert json.loads((tmp_path / "a.json").read_text()) == {"µs": [1, 2.5, None]}
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", float("nan"))


def test_writers_of_one_file_have_names_of_their_own(tmp_path: Path) -> None:
    assert partial_path(tmp_path / "a") != partial_path(tmp_path / "a")


def test_a_leftover_of_a_dead_process_is_removed(tmp_path: Path, dead_pid: int) -> None:
    file = leftover_of(tmp_path / "a.h5", this_host(tmp_path / "a"), dead_pid)
    folder = leftover_of(tmp_path / "b", this_host(tmp_path / "a"), dead_pid)
    file.write_text("x")
    folder.mkdir()
    (folder / "inside").write_text("x")
    assert set(reap_leftovers(tmp_path)) == {file, folder}
    assert not list(tmp_path.iterdir())


def test_files_of_a_living_process_stay(tmp_path: Path) -> None:
    own = partial_path(tmp_path / "a")
    parents = leftover_of(tmp_path / "a", this_host(tmp_path / "a"), os.getppid())
    for path in (own, parents):
        path.write_text("x")
    assert reap_leftovers(tmp_path) == []
    assert reap_leftovers(tmp_path, own=True) == [own]
    assert parents.exists()


def test_files_of_another_host_stay_until_they_are_old(tmp_path: Path, dead_pid: int) -> None:
    path = leftover_of(tmp_path / "a", "other-node.4026531836", dead_pid)
    path.write_text("x")
    assert reap_leftovers(tmp_path) == []
    days_ago = time.time() - 3 * 24 * 3600
    os.utime(path, (days_ago, days_ago))
    assert reap_leftovers(tmp_path) == [path]


def test_other_names_are_never_removed(tmp_path: Path) -> None:
    for name in ("a", "a.tmp", "a.tmp-1", "x.h5", ".a.lock"):
        (tmp_path / name).write_text("x")
    assert reap_leftovers(tmp_path) == []


def test_a_disk_that_fills_up_is_one_line_with_place_and_bytes(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(StorageFull) as caught:
            write_text(tmp_path / "big", "x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    message = str(caught.value)
    assert str(tmp_path) in message
    assert "5,000 bytes" in message
    assert "\n" not in message
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("code", "words"), [(errno.EROFS, "is read-only"), (errno.EACCES, "may not be accessed")])
def test_a_place_that_refuses_is_named(tmp_path: Path, code: int, words: str) -> None:
    with pytest.raises(StorageError, match=words) as caught, atomic_write(tmp_path / "a"):
        raise OSError(code, "", str(tmp_path / "a"))
    assert str(tmp_path) in str(caught.value)


def test_a_file_where_the_folder_should_be_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="has a file where a folder is expected"):
        write_text(tmp_path / "file" / "a", "x")


def test_a_folder_where_the_file_should_be_is_a_storage_error_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError) as caught:
        write_text(tmp_path / "folder", "x")
    assert str(caught.value).startswith(f"{tmp_path / 'folder'} has a folder where a file is expected")
    assert list(tmp_path.iterdir()) == [tmp_path / "folder"]


@pytest.mark.parametrize("write", [write_text, lambda path, text: append_bytes(path, text.encode())])
def test_a_folder_that_went_away_is_said_and_not_made(write: Callable[[Path, str], None], tmp_path: Path) -> None:
    """An unmounted place leaves an empty folder; what is written there is not in the place."""
    with pytest.raises(StorageError, match=r"none is not there \(any more\); a could not be written"):
        write(tmp_path / "none" / "a", "x")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_was_away_for_an_instant_is_a_storage_error(tmp_path: Path) -> None:
    """The place may be back when we look."""
    with pytest.raises(StorageError, match="could not be written"), atomic_write(tmp_path / "a") as partial:  # noqa: PT012
        partial.write_text("x")
        partial.unlink()


def test_a_missing_file_inside_the_block_is_no_storage_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "a"):
        (tmp_path / "b").read_text()
