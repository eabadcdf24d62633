"""Recordings in folders and from the generator: which are found, in what order, and what is refused."""

import multiprocessing
import pickle
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from difflogic_tonic.cache.sources import Recording, open_source
from difflogic_tonic.config import DATASETS, StoragePaths
from difflogic_tonic.errors import DatasetMismatch, DatasetMissing, RecordingError
from difflogic_tonic.storage import Storage, open_storage

FILES = {
    "Test/0/00004.bin": b"dddd!",
    "Test/2/00001.bin": b"eeeee",
    "Train/0/00001.bin": b"aaaaa",
    "Train/0/00010.bin": b"bbbbbbbbbb",
    "Train/1/00002.bin": b"ccccc",
}
FACTS = replace(
    DATASETS["NMNIST"], name="SMALL", classes=("0", "1", "2"), counts={"train": (2, 1, 0), "test": (1, 0, 1)}, files=()
)


def write(folder: Path, files: dict[str, bytes] = FILES) -> Path:
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


def contents(source) -> dict[str, bytes]:
    return {recording.path: source.read(recording) for recording in source.recordings}


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage(StoragePaths(tmp_path / "scratch", tmp_path / "project"))


def test_a_folder_gives_its_recordings_by_path(tmp_path: Path, storage: Storage):
    source = open_source(FACTS, write(tmp_path / "raw"), storage, False, False)
    assert source.recordings == (
        Recording("Test/0/00004.bin", 5, 0, "test"),
        Recording("Test/2/00001.bin", 5, 2, "test"),
        Recording("Train/0/00001.bin", 5, 0, "train"),
        Recording("Train/0/00010.bin", 10, 0, "train"),
        Recording("Train/1/00002.bin", 5, 1, "train"),
    )
    assert contents(source) == FILES
    assert source.subset is None
    assert source.describe == str(tmp_path / "raw")


def test_the_order_in_which_files_were_written_does_not_matter(tmp_path: Path, storage: Storage):
    forwards = open_source(FACTS, write(tmp_path / "a"), storage, False, False)
    backwards = open_source(FACTS, write(tmp_path / "b", dict(reversed(FILES.items()))), storage, False, False)
    assert forwards.recordings == backwards.recordings


@pytest.mark.parametrize("prefix", ["N-MNIST", "a/b/c"])
def test_recordings_may_lie_deeper(tmp_path: Path, storage: Storage, prefix: str):
    write(tmp_path / "raw" / prefix)
    assert contents(open_source(FACTS, tmp_path / "raw", storage, False, False)) == FILES


def test_each_archive_unpacked_into_a_folder_of_its_name_is_found(tmp_path: Path, storage: Storage):
    for path, content in FILES.items():
        write(tmp_path / "raw" / path.split("/")[0], {path: content})  # Train/Train/0/..., Test/Test/0/...
    assert contents(open_source(FACTS, tmp_path / "raw", storage, False, False)) == FILES


def test_folders_in_lower_case_give_the_same_recordings(tmp_path: Path, storage: Storage):
    lower = {path.replace("Train", "train").replace("Test", "test"): content for path, content in FILES.items()}
    assert contents(open_source(FACTS, write(tmp_path / "raw", lower), storage, False, False)) == FILES


def test_hidden_files_and_files_beside_the_class_folders_are_left_out(tmp_path: Path, storage: Storage):
    extra = {"README.txt": b"", "Train/0/._00001.bin": b"", "Train/.DS_Store": b"", "__MACOSX/Train/0/9.bin": b"x"}
    assert contents(open_source(FACTS, write(tmp_path / "raw", FILES | extra), storage, False, False)) == FILES


def test_a_partial_extraction_is_refused_with_both_numbers(tmp_path: Path, storage: Storage):
    root = write(tmp_path / "raw")
    (root / "Train/0/00010.bin").unlink()
    with pytest.raises(DatasetMismatch) as error:
        open_source(FACTS, root, storage, False, False)
    assert str(error.value) == (
        f"{root}: not the complete SMALL: 2 of 3 train, 2 of 2 test recordings (train class 0 has 1 instead of 2); "
        "unpack or fetch it again, or accept it as a part with data.allow_subset=true"
    )
    accepted = open_source(FACTS, root, storage, True, False)
    assert accepted.subset == "2 of 3 train, 2 of 2 test"
    assert len(accepted.recordings) == 4


def test_right_totals_in_the_wrong_classes_are_no_complete_dataset(tmp_path: Path, storage: Storage):
    moved = {path.replace("Train/0/00010", "Train/1/00010"): content for path, content in FILES.items()}
    root = write(tmp_path / "raw", moved)
    with pytest.raises(DatasetMismatch, match="train class 0 has 1 instead of 2"):
        open_source(FACTS, root, storage, False, False)
    assert open_source(FACTS, root, storage, True, False).subset is not None


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("Train/0/notes.txt", "unexpected Train/0/notes.txt; expected Train/<class>/<number>.bin"),
        ("Train/0/00001 (1).bin", "unexpected Train/0/00001 (1).bin"),
        ("Train/0/00001.bin.part", "unexpected Train/0/00001.bin.part"),
        ("Train/7/00001.bin", "unexpected Train/7/00001.bin"),
        ("Train/0/1.bin", "are one recording twice"),
        ("copy/Train/0/00001.bin", "two train folders"),
    ],
)
@pytest.mark.parametrize("allow_subset", [False, True])
def test_files_that_should_not_be_there_are_named(
    tmp_path: Path, storage: Storage, extra: str, message: str, allow_subset: bool
):
    root = write(tmp_path / "raw", FILES | {extra: b"x"})
    with pytest.raises(DatasetMismatch) as error:
        open_source(FACTS, root, storage, allow_subset, False)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_links_to_files_and_folders_elsewhere_are_followed(tmp_path: Path, storage: Storage):
    write(tmp_path / "disk")
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "Train").symlink_to(tmp_path / "disk" / "Train")
    (tmp_path / "raw" / "Test").symlink_to(tmp_path / "disk" / "Test")
    (tmp_path / "raw" / "loop").symlink_to(tmp_path / "raw")
    (tmp_path / "raw" / "loop").unlink()
    assert contents(open_source(FACTS, tmp_path / "raw", storage, False, False)) == FILES


def test_a_link_to_nothing_and_a_folder_in_the_place_of_a_recording_are_named(tmp_path: Path, storage: Storage):
    root = write(tmp_path / "raw")
    (root / "Train/0/00003.bin").symlink_to(tmp_path / "missing")
    with pytest.raises(DatasetMismatch, match=r"Train/0/00003.bin: a folder, or a link to nothing"):
        open_source(FACTS, root, storage, True, False)
    (root / "Train/0/00003.bin").unlink()
    (root / "Train/0/00003.bin").mkdir()
    with pytest.raises(DatasetMismatch, match=r"Train/0/00003.bin: a folder, or a link to nothing"):
        open_source(FACTS, root, storage, True, False)


def test_a_folder_that_links_to_itself_ends_with_an_answer(tmp_path: Path, storage: Storage):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "loop").symlink_to(tmp_path / "raw")
    with pytest.raises(DatasetMissing, match="holds no recordings of SMALL"):
        open_source(FACTS, tmp_path / "raw", storage, True, False)


def test_nothing_there_says_what_was_expected(tmp_path: Path, storage: Storage):
    with pytest.raises(DatasetMissing, match=f"data.data_root={tmp_path}/nothing does not exist; expected a folder or"):
        open_source(FACTS, tmp_path / "nothing", storage, True, False)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetMissing, match=r"holds no recordings of SMALL; expected Train/<class>/<number>\.bin"):
        open_source(FACTS, tmp_path / "empty", storage, True, False)


def test_a_recording_that_changes_or_goes_away_is_named(tmp_path: Path, storage: Storage):
    root = write(tmp_path / "raw")
    source = open_source(FACTS, root, storage, False, False)
    (root / "Test/0/00004.bin").write_bytes(b"longer than before")
    with pytest.raises(RecordingError, match=r"Test/0/00004.bin has 18 bytes, listed were 5"):
        source.read(source.recordings[0])
    (root / "Test/0/00004.bin").unlink()
    with pytest.raises(RecordingError, match=r"Test/0/00004.bin: it was here a moment ago"):
        source.read(source.recordings[0])


def test_without_data_root_both_places_are_searched_scratch_first(tmp_path: Path, storage: Storage):
    write(storage.project.raw_dir("SMALL"))
    assert open_source(FACTS, None, storage, False, False).describe == str(tmp_path / "project/raw/SMALL")
    write(storage.scratch.raw_dir("SMALL"))
    assert open_source(FACTS, None, storage, False, False).describe == str(tmp_path / "scratch/raw/SMALL")


def test_an_archive_put_into_raw_is_found(tmp_path: Path, storage: Storage):
    folder = storage.project.raw_dir("SMALL")
    folder.mkdir(parents=True)
    shutil.make_archive(str(folder / "mine"), "xztar", write(tmp_path / "raw"))
    assert contents(open_source(FACTS, None, storage, False, False)) == FILES


def test_a_dataset_that_nobody_offers_says_how_to_give_it(storage: Storage):
    with pytest.raises(DatasetMissing, match=r"SMALL is not here .* data\.data_root=PATH"):
        open_source(FACTS, None, storage, True, False)


def read_in_child(source, recording, queue) -> None:
    queue.put(source.read(recording))


def test_a_source_works_in_threads_and_forks_and_survives_pickling(tmp_path: Path, storage: Storage):
    source = open_source(FACTS, write(tmp_path / "raw"), storage, False, False)
    assert contents(pickle.loads(pickle.dumps(source))) == FILES
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(source.read, source.recordings)) == list(FILES.values())
    fork = multiprocessing.get_context("fork")
    queue = fork.Queue()
    child = fork.Process(target=read_in_child, args=(source, source.recordings[3], queue))
    child.start()
    assert queue.get(timeout=60) == b"bbbbbbbbbb"
    child.join()


@pytest.mark.integration
def test_the_generator_lists_what_it_reads_and_is_not_needed_twice(
    storage: Storage, importing_environment: dict[str, str]
):
    facts = DATASETS["DIGITS_DVS"]
    first = open_source(facts, None, storage, False, False)
    assert len(first.recordings) == 1797
    assert first.subset is None
    code = (
        "import sys; from pathlib import Path; from difflogic_tonic.cache.sources import open_source;"
        "from difflogic_tonic.config import DATASETS, StoragePaths; from difflogic_tonic.storage import open_storage;"
        f"paths = StoragePaths(Path({str(storage.scratch.root)!r}), Path({str(storage.project.root)!r}));"
        "source = open_source(DATASETS['DIGITS_DVS'], None, open_storage(paths), False, False);"
        "print(len(source.recordings), [m for m in ('numba', 'sklearn', 'h5py', 'torch') if m in sys.modules]);"
        "print(source.read(source.recordings[-1]).hex())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=importing_environment
    )
    listed, content = done.stdout.splitlines()
    assert listed == "1797 []"
    assert bytes.fromhex(content) == first.read(first.recordings[-1])


@pytest.mark.integration
def test_a_damaged_list_of_the_generator_is_made_again(storage: Storage):
    facts = DATASETS["DIGITS_DVS"]
    folder = storage.scratch.raw_dir(facts.name) / "unpacked"
    folder.mkdir(parents=True)
    (folder / "digits-v1.json").write_text('{"Train/0/000')
    assert len(open_source(facts, None, storage, False, False).recordings) == 1797
