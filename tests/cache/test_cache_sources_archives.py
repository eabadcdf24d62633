"""The same recordings inside archives: found, read at random, kept, and refused when damaged."""

import io
import multiprocessing
import os
import pickle
import resource
import stat
import tarfile
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from difflogic_tonic.cache.sources import open_source
from difflogic_tonic.config import DATASETS, StoragePaths
from difflogic_tonic.errors import DataError, DatasetMismatch, DatasetMissing, RecordingError, StorageFull
from difflogic_tonic.storage import Storage, open_storage

FACTS = replace(
    DATASETS["NMNIST"], name="SMALL", classes=("0", "1", "2"), counts={"train": (2, 1, 0), "test": (1, 0, 1)}, files=()
)
NAMES = ["Test/0/00004.bin", "Test/2/00001.bin", "Train/0/00001.bin", "Train/0/00010.bin", "Train/1/00002.bin"]
FILES = {
    name: np.random.default_rng(i).integers(0, 4, 700 + 5 * i, dtype=np.uint8).tobytes() for i, name in enumerate(NAMES)
}


def make_zip(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def make_tar(path: Path, files: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def part(split: str) -> dict[str, bytes]:
    return {name: content for name, content in FILES.items() if name.startswith(split)}


def two_zips(folder: Path) -> Path:
    folder.mkdir()
    make_zip(folder / "train.zip", part("Train"))
    make_zip(folder / "Test.zip", part("Test"))
    return folder


def zips_in(folder: Path, outer: Callable[[Path, dict[str, bytes]], Path]) -> Path:
    two_zips(folder / "parts")
    return outer(folder / "all", {path.name: path.read_bytes() for path in sorted((folder / "parts").iterdir())})


KINDS: dict[str, Callable[[Path], Path]] = {
    "zip": lambda folder: make_zip(folder / "a.zip", FILES),
    "stored zip": lambda folder: make_zip(folder / "a.zip", FILES, zipfile.ZIP_STORED),
    "zip with a prefix": lambda folder: make_zip(folder / "a.zip", {f"N-MNIST/{n}": c for n, c in FILES.items()}),
    "tar": lambda folder: make_tar(folder / "a.tar", FILES),
    "tar.gz": lambda folder: make_tar(folder / "a.tar.gz", FILES, "w:gz"),
    "tar.bz2": lambda folder: make_tar(folder / "a.tar.bz2", FILES, "w:bz2"),
    "tar.xz": lambda folder: make_tar(folder / "a.tar.xz", FILES, "w:xz"),
    "tar of ./names": lambda folder: make_tar(folder / "a.tar", {f"./{n}": c for n, c in FILES.items()}),
    "tar without a suffix": lambda folder: make_tar(folder / "file_downloaded", FILES, "w:xz"),
    "Train and Test zips in a folder": lambda folder: two_zips(folder / "raw"),
    "a single archive in a folder": lambda folder: make_tar(folder / "a.tar.gz", FILES, "w:gz").parent,
    "zips in a zip": lambda folder: zips_in(folder, make_zip),
    "zips in a tar": lambda folder: zips_in(folder, make_tar),
    "a tar in a zip": lambda folder: make_zip(
        folder / "b.zip", {"a.tar.xz": make_tar(folder / "a.tar.xz", FILES, "w:xz").read_bytes()}
    ),
}


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage(StoragePaths(tmp_path / "scratch", tmp_path / "project"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "given").mkdir()
    return tmp_path / "given"


def open_small(root: Path, storage: Storage, allow_subset: bool = False):
    return open_source(FACTS, root, storage, allow_subset, False)


def contents(source) -> dict[str, bytes]:
    return {recording.path: source.read(recording) for recording in source.recordings}


def kept_files(storage: Storage) -> list[Path]:
    kept = (storage.scratch.raw_dir("SMALL") / "unpacked").iterdir()
    return sorted(path for path in kept if path.suffix != ".lock")


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


@pytest.mark.parametrize("kind", ["zip", "stored zip", "tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_an_archive_cut_anywhere_is_an_error_even_where_a_part_is_accepted(folder: Path, storage: Storage, kind: str):
    archive = KINDS[kind](folder)
    whole = archive.read_bytes()
    # A tar ends in blocks of zeros: without the last ones nothing is lost, and without all of them it is an error.
    end = len(whole) if kind != "tar" else len(whole.rstrip(b"\0")) + 512
    for cut in np.linspace(0, end - 1, 24).astype(int).tolist():
        archive.write_bytes(whole[:cut])
        with pytest.raises(DataError) as error:
            contents(open_small(archive, storage, allow_subset=True))
        assert str(archive) in str(error.value)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["zip", "stored zip", "tar.gz", "tar.bz2", "tar.xz"])
def test_a_flipped_bit_is_an_error_or_changes_nothing(folder: Path, storage: Storage, kind: str):
    archive = KINDS[kind](folder)
    whole = bytearray(archive.read_bytes())
    found = 0
    for position in np.random.default_rng(0).integers(0, len(whole), 60).tolist():
        whole[position] ^= 4
        archive.write_bytes(whole)
        whole[position] ^= 4
        try:
            assert contents(open_small(archive, storage)) == FILES
        except DataError:
            found += 1
    assert found > 20


def test_a_file_that_is_no_archive_is_named(folder: Path, storage: Storage):
    (folder / "a.zip").write_bytes(b"not an archive at all" * 40)
    with pytest.raises(DatasetMismatch, match=r"a.zip is damaged: neither a zip nor a tar archive"):
        open_small(folder / "a.zip", storage)


def test_an_archive_of_something_else_says_what_was_expected(folder: Path, storage: Storage):
    make_tar(folder / "a.tar", {"images/cat.jpg": b"meow"})
    with pytest.raises(
        DatasetMissing, match=r"a.tar holds no recordings of SMALL; expected Train/<class>/<number>\.bin"
    ):
        open_small(folder / "a.tar", storage)
    assert kept_files(storage) == []


def test_several_archives_without_telling_names_are_not_guessed(folder: Path, storage: Storage):
    make_zip(folder / "a.zip", FILES)
    make_zip(folder / "b.zip", FILES)
    with pytest.raises(DatasetMismatch, match=r"holds several archives \(a.zip, b.zip\); name one of them"):
        open_small(folder, storage)


def test_the_same_recording_in_two_archives_is_refused(folder: Path, storage: Storage):
    make_zip(folder / "train.zip", FILES)
    make_zip(folder / "test.zip", FILES)
    with pytest.raises(DatasetMismatch, match="one recording twice"):
        open_small(folder, storage)


@pytest.mark.parametrize("make", [make_zip, make_tar])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Train/0/notes.txt", "unexpected Train/0/notes.txt"),
        ("Train/0/1.bin", "one recording twice"),
        ("/etc/Train/0/00003.bin", "leads out of the archive"),
        ("../Train/0/00003.bin", "leads out of the archive"),
        ("a/../../Train/0/00003.bin", "leads out of the archive"),
        ("copy/Train/0/00003.bin", "two train folders"),
    ],
)
def test_members_that_should_not_be_there_are_named(folder: Path, storage: Storage, make, name: str, message: str):
    archive = make(folder / "archive", FILES | {name: b"x"})
    with pytest.raises(DatasetMismatch, match=message) as error:
        open_small(archive, storage, allow_subset=True)
    assert str(archive) in str(error.value)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_member_that_is_there_twice_is_refused(folder: Path, storage: Storage, kind: str):
    if kind == "zip":
        with zipfile.ZipFile(folder / "a", "w") as archive:
            for content in (b"first", b"other"):
                archive.writestr("Train/0/00001.bin", content)
    else:
        with tarfile.open(folder / "a", "w") as archive:
            for content in (b"first", b"other"):
                member = tarfile.TarInfo("Train/0/00001.bin")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    with pytest.raises(DatasetMismatch, match=r"holds Train/0/00001.bin twice"):
        open_small(folder / "a", storage, allow_subset=True)


@pytest.mark.parametrize("kind", ["zip", "symbolic link in a tar", "hard link in a tar"])
def test_a_link_in_the_place_of_a_recording_is_refused(folder: Path, storage: Storage, kind: str):
    if kind == "zip":
        info = zipfile.ZipInfo("Train/0/00009.bin")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        with zipfile.ZipFile(folder / "a", "w") as archive:
            archive.writestr(info, "/etc/passwd")
    else:
        member = tarfile.TarInfo("Train/0/00009.bin")
        member.type = tarfile.SYMTYPE if kind.startswith("symbolic") else tarfile.LNKTYPE
        member.linkname = "/etc/passwd"
        with tarfile.open(folder / "a", "w") as archive:
            archive.addfile(member)
    with pytest.raises(DatasetMismatch, match=r"Train/0/00009.bin is a link"):
        open_small(folder / "a", storage, allow_subset=True)


def test_a_zip_with_a_method_that_cannot_be_read_in_place_says_so(folder: Path, storage: Storage):
    make_zip(folder / "a.zip", FILES, zipfile.ZIP_LZMA)
    with pytest.raises(DatasetMismatch, match=r"compressed by method 14; expected stored or deflated"):
        open_small(folder / "a.zip", storage)


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
