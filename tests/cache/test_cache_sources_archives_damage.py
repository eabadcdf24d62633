"""Archives that are damaged, or hold what they should not."""

import io
import stat
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from archived import FILES, KINDS, contents, kept_files, make_tar, make_zip, open_small
from difflogic_tonic.errors import DataError, DatasetMismatch, DatasetMissing
from difflogic_tonic.storage import Storage


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
