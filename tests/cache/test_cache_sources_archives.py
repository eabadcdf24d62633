"""The same recordings inside archives: found, read at random, kept, and unpacked once."""

import multiprocessing
import os
import pickle
import resource
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from archived import FILES, KINDS, NAMES, contents, kept_files, make_tar, make_zip, open_small, part
from difflogic_tonic.cache.sources import open_source
from difflogic_tonic.config import DATASETS
from difflogic_tonic.errors import DatasetMismatch, RecordingError, StorageFull
from difflogic_tonic.storage import Storage


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_gives_the_recordings_of_the_same_folder(folder: Path, storage: Storage, kind: str):
    archive = KINDS[kind](folder)
    source = open_small(archive, storage)
    plain = folder / "plain"
    for name, content in FILES.items():
        (plain / name).parent.mkdir(parents=True, exist_ok=True)
        (plain / name).write_bytes(content)
    assert source.recordings == open_small(plain, storage).recordings
    assert contents(source) == FILES
    assert source.subset is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_second_look_finds_the_listing(folder: Path, storage: Storage, kind: str, monkeypatch: pytest.MonkeyPatch):
    archive = KINDS[kind](folder)
    first = open_small(archive, storage)
    before = [(path, path.stat().st_mtime_ns) for path in kept_files(storage)]
    monkeypatch.setattr("difflogic_tonic.cache.unpack._make_index", None)
    second = open_small(archive, storage)
    assert second.recordings == first.recordings
    assert contents(second) == FILES
    assert [(path, path.stat().st_mtime_ns) for path in kept_files(storage)] == before


def test_a_zip_is_read_in_place_and_a_tar_becomes_one_file(folder: Path, storage: Storage):
    open_small(KINDS["zip"](folder), storage)
    assert [path.suffix for path in kept_files(storage)] == [".json"]
    open_small(KINDS["tar.xz"](folder), storage)
    assert sorted(path.suffix for path in kept_files(storage)) == [".json", ".json", ".pack"]


def test_what_a_nested_archive_leaves_is_only_what_is_read(folder: Path, storage: Storage):
    open_small(KINDS["a tar in a zip"](folder), storage)
    assert sorted(path.suffix for path in kept_files(storage)) == [".json", ".pack"]


@pytest.mark.parametrize("kind", ["zip", "tar.xz"])
def test_an_archive_that_changed_is_listed_again(folder: Path, storage: Storage, kind: str):
    archive = KINDS[kind](folder)
    open_small(archive, storage)
    changed = {name: content[::-1] for name, content in FILES.items()}
    (make_zip(archive, changed) if kind == "zip" else make_tar(archive, changed, "w:xz"))
    assert contents(open_small(archive, storage)) == changed


def test_a_pack_that_was_cut_is_made_again(folder: Path, storage: Storage):
    archive = KINDS["tar.xz"](folder)
    open_small(archive, storage)
    pack = next(path for path in kept_files(storage) if path.suffix == ".pack")
    pack.write_bytes(pack.read_bytes()[:-1])
    assert contents(open_small(archive, storage)) == FILES


def test_an_index_that_was_damaged_is_made_again(folder: Path, storage: Storage):
    archive = KINDS["tar.xz"](folder)
    open_small(archive, storage)
    index = next(path for path in kept_files(storage) if path.suffix == ".json")
    for text in ("", "{", "[]", '{"version":1}', index.read_text()[:-20], index.read_text().replace("[", "{", 1)):
        index.write_text(text)
        assert contents(open_small(archive, storage)) == FILES


def test_a_bit_flip_in_a_pack_is_found_when_it_is_read(folder: Path, storage: Storage):
    archive = KINDS["tar.xz"](folder)
    source = open_small(archive, storage)
    pack = next(path for path in kept_files(storage) if path.suffix == ".pack")
    content = bytearray(pack.read_bytes())
    content[0] ^= 1
    pack.write_bytes(content)
    first, *others = sorted(source.recordings, key=lambda each: NAMES.index(each.path))
    with pytest.raises(RecordingError, match=f"{pack}: {first.path} is damaged .* delete that file and run again"):
        source.read(first)
    assert [source.read(each) for each in others] == list(FILES.values())[1:]


def test_a_leftover_of_a_killed_process_is_removed(folder: Path, storage: Storage):
    archive = KINDS["tar.xz"](folder)
    unpacked = storage.scratch.raw_dir("SMALL") / "unpacked"
    child = multiprocessing.get_context("fork").Process(target=leave_partial_pack, args=(unpacked,))
    child.start()
    child.join()
    assert len(kept_files(storage)) == 1
    assert contents(open_small(archive, storage)) == FILES
    assert sorted(path.suffix for path in kept_files(storage)) == [".json", ".pack"]


def leave_partial_pack(unpacked: Path) -> None:
    from difflogic_tonic.storage import partial_path

    unpacked.mkdir(parents=True)
    partial_path(unpacked / "0123456789abcdef-0.pack").write_bytes(b"half")


def test_a_partial_archive_is_refused_or_called_a_part(folder: Path, storage: Storage):
    make_tar(folder / "a.tar", part("Train"))
    with pytest.raises(DatasetMismatch, match="3 of 3 train, 0 of 2 test"):
        open_small(folder / "a.tar", storage)
    assert open_small(folder / "a.tar", storage, allow_subset=True).subset == "3 of 3 train, 0 of 2 test"


def test_an_archive_works_in_threads_and_forks_and_survives_pickling(folder: Path, storage: Storage):
    source = open_small(KINDS["zip"](folder), storage)
    source.read(source.recordings[0])
    assert contents(pickle.loads(pickle.dumps(source))) == FILES
    many = list(source.recordings) * 50
    children = [multiprocessing.get_context("fork").Process(target=check_many, args=(source, many)) for _ in range(3)]
    for child in children:
        child.start()
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(source.read, many)) == list(FILES.values()) * 50
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0, 0, 0]


def check_many(source, recordings) -> None:
    assert all(source.read(recording) == FILES[recording.path] for recording in recordings)


def test_two_processes_at_once_unpack_once_and_both_read(folder: Path, storage: Storage):
    archive = KINDS["tar.xz"](folder)
    fork = multiprocessing.get_context("fork")
    children = [fork.Process(target=open_and_check, args=(archive, storage)) for _ in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0, 0, 0]
    assert sorted(path.suffix for path in kept_files(storage)) == [".json", ".pack"]


def open_and_check(archive: Path, storage: Storage) -> None:
    assert contents(open_small(archive, storage)) == FILES


def test_a_full_disk_while_unpacking_names_place_and_leaves_nothing_behind(folder: Path, storage: Storage):
    archive = KINDS["tar.xz"](folder)
    child = multiprocessing.get_context("fork").Process(target=open_with_little_room, args=(archive, storage))
    child.start()
    child.join()
    assert child.exitcode == 0
    assert kept_files(storage) == []
    assert contents(open_small(archive, storage)) == FILES


def open_with_little_room(archive: Path, storage: Storage) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    try:
        open_small(archive, storage)
    except StorageFull as error:
        os._exit(0 if str(storage.scratch.root) in str(error) else 1)
    os._exit(2)


@pytest.mark.integration
def test_the_original_recordings_are_the_same_from_folder_and_archive(
    nmnist_raw: Path, nmnist_archive: Path, storage: Storage
):
    facts = DATASETS["NMNIST"]
    from_folder = open_source(facts, nmnist_raw, storage, True, False)
    from_archive = open_source(facts, nmnist_archive, storage, True, False)
    assert from_folder.recordings == from_archive.recordings
    assert from_folder.subset == from_archive.subset == "1,000 of 60,000 train, 100 of 10,000 test"
    assert all(from_folder.read(each) == from_archive.read(each) for each in from_folder.recordings)
