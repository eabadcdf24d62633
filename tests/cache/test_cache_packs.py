"""Images that lie many in a file: found, checked, prepared."""

import gzip
import pickle
import struct
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from difflogic_tonic.cache import CacheReader, prepare
from difflogic_tonic.cache.sources import Recording, open_source
from difflogic_tonic.config import DATASETS, PrepareConfig, SensorSize, load_prepare_config
from difflogic_tonic.errors import DatasetMismatch, DatasetMissing, RecordingError
from difflogic_tonic.storage import Storage

FACTS = replace(
    DATASETS["MNIST"],
    name="SMALL",
    sensor=SensorSize(width=3, height=2, polarities=1),
    classes=("0", "1", "2"),
    counts={"train": (2, 1, 0), "test": (1, 0, 1)},
    files=(),
)
TRAIN, TEST = [0, 1, 0], [2, 0]
IMAGES = "train-images-idx3-ubyte"
LABELS = "train-labels-idx1-ubyte"


def idx(shape: tuple[int, ...], values: Iterable[int]) -> bytes:
    return bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + bytes(values)


FILES = {
    IMAGES: idx((3, 2, 3), range(18)),
    LABELS: idx((3,), TRAIN),
    "t10k-images-idx3-ubyte": idx((2, 2, 3), range(100, 112)),
    "t10k-labels-idx1-ubyte": idx((2,), TEST),
}


def write(folder: Path, files: dict[str, bytes] = FILES) -> Path:
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


def packed(files: dict[str, bytes] = FILES) -> dict[str, bytes]:
    return {f"{name}.gz": gzip.compress(content) for name, content in files.items()}


def test_images_are_recordings_named_by_split_class_and_number(tmp_path: Path, storage: Storage):
    source = open_source(FACTS, write(tmp_path / "raw"), storage, False, False)
    assert source.recordings == (
        Recording("Test/0/00001", 6, 0, "test"),
        Recording("Test/2/00000", 6, 2, "test"),
        Recording("Train/0/00000", 6, 0, "train"),
        Recording("Train/0/00002", 6, 0, "train"),
        Recording("Train/1/00001", 6, 1, "train"),
    )
    assert source.subset is None
    values = {recording.path: list(source.read(recording)) for recording in source.recordings}
    assert values["Train/0/00002"] == [12, 13, 14, 15, 16, 17]
    assert values["Test/0/00001"] == [106, 107, 108, 109, 110, 111]


@pytest.mark.parametrize("files", [packed(), {f"a/raw/{name}": content for name, content in FILES.items()}])
def test_files_may_be_compressed_and_lie_deeper(tmp_path: Path, storage: Storage, files: dict[str, bytes]):
    plain = open_source(FACTS, write(tmp_path / "plain"), storage, False, False)
    other = open_source(FACTS, write(tmp_path / "other", files), storage, False, False)
    assert other.recordings == plain.recordings
    assert [*map(other.read, other.recordings)] == [*map(plain.read, plain.recordings)]


def test_an_unpacked_file_beside_its_archive_is_used(tmp_path: Path, storage: Storage):
    root = write(tmp_path / "raw", FILES | packed(dict.fromkeys(FILES, b"not read")))
    assert len(open_source(FACTS, root, storage, False, False).recordings) == 5


def test_a_source_of_images_survives_pickling(tmp_path: Path, storage: Storage):
    source = open_source(FACTS, write(tmp_path / "raw"), storage, False, False)
    again = pickle.loads(pickle.dumps(source))
    assert [*map(again.read, again.recordings)] == [*map(source.read, source.recordings)]


def test_raw_folder_of_a_storage_place_is_found(storage: Storage):
    write(storage.project.raw_dir("SMALL"), packed())
    assert len(open_source(FACTS, None, storage, False, False).recordings) == 5


def test_a_missing_file_is_named(tmp_path: Path, storage: Storage):
    root = write(tmp_path / "raw", {name: content for name, content in FILES.items() if name != LABELS})
    with pytest.raises(DatasetMissing, match=rf"raw has no {LABELS} \(or \.gz\); expected .* of SMALL"):
        open_source(FACTS, root, storage, False, False)


def test_two_copies_are_refused(tmp_path: Path, storage: Storage):
    root = write(tmp_path / "raw", FILES | {f"copy/{IMAGES}": FILES[IMAGES]})
    with pytest.raises(DatasetMismatch, match=f"two copies, copy/{IMAGES} and {IMAGES}; name .*data.data_root"):
        open_source(FACTS, root, storage, False, False)


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        (IMAGES, FILES[IMAGES][:-1], RecordingError, "17 values after byte 16; expected 18"),
        (IMAGES, gzip.compress(FILES[IMAGES], mtime=0)[:-9], RecordingError, "is damaged: .*; fetch it again"),
        (IMAGES, b"", RecordingError, "byte 0 does not begin an IDX file"),
        (IMAGES, idx((3, 3, 2), range(18)), DatasetMismatch, "images of 3 x 2; expected 2 x 3"),
        (LABELS, idx((2,), [0, 1]), DatasetMismatch, "2 labels for 3 images"),
        (LABELS, idx((3,), [0, 9, 0]), DatasetMismatch, "label 9 of image 1; SMALL has classes 0 to 2"),
        (LABELS, idx((3,), [0, 0, 0]), DatasetMismatch, "train class 0 has 3 instead of 2"),
    ],
    ids=["short", "short gzip", "empty", "other size", "other number", "other class", "other counts"],
)
def test_damaged_files_and_files_of_another_dataset_are_named(
    tmp_path: Path, storage: Storage, name: str, content: bytes, error: type[Exception], message: str
):
    root = write(tmp_path / "raw", FILES | {name: content})
    with pytest.raises(error, match=message) as raised:
        open_source(FACTS, root, storage, False, False)
    assert "\n" not in str(raised.value)


def test_a_dataset_that_cannot_be_fetched_says_which_files_to_put_where(storage: Storage):
    facts = replace(
        FACTS, files=tuple(replace(file, urls=("http://127.0.0.1:9/x",)) for file in DATASETS["MNIST"].files)
    )
    with pytest.raises(DatasetMissing) as error:
        open_source(facts, None, storage, False, False)
    for name in FILES:
        assert f"{name}.gz (http://127.0.0.1:9/x)" in str(error.value)
    assert str(storage.project.raw_dir("SMALL")) in str(error.value)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("name", "folder", "n_train"), [("MNIST", "mnist", 54_001), ("FASHIONMNIST", "fashion-mnist", 54_000)]
)
def test_the_official_files_become_frames(
    test_data: Path, repository: Path, storage: Storage, name: str, folder: str, n_train: int
):
    root = test_data / folder
    if not root.is_dir():
        pytest.skip(f"{root} is not there")
    config = load_prepare_config(repository / DATASETS[name].prepare_config, [f"data.data_root={root}"])
    reader = CacheReader(prepare(config, storage, progress=False).path)
    frames = {split: facts.n_frames for split, facts in reader.manifest.splits.items()}
    assert frames == {"train": n_train, "val": 60_000 - n_train, "test": 10_000}
    assert reader.manifest.subset is None
    test = reader.split("test")
    assert test.frame_shape == (1, 28, 28)
    with gzip.open(root / "t10k-images-idx3-ubyte.gz") as file:
        images = np.frombuffer(file.read()[16:], np.uint8).reshape(-1, 784)
    with gzip.open(root / "t10k-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read()[8:], np.uint8)
    paths = [reader.manifest.recordings.paths[row] for row in test.recording_ids.tolist()]
    numbers = [int(path.split("/")[2]) for path in paths]
    frames = np.empty((10_000, 784), np.uint8)
    test.read_frames(np.arange(10_000), frames)
    assert (frames == images[numbers]).all()
    assert (test.labels == labels[numbers]).all()


def test_the_split_into_train_and_val_is_by_image_stratified_and_seeded(
    tmp_path: Path, storage: Storage, monkeypatch: pytest.MonkeyPatch
):
    labels = [0] * 20 + [1] * 10
    files = FILES | {IMAGES: idx((30, 2, 3), [7] * 180), LABELS: idx((30,), labels)}
    monkeypatch.setitem(DATASETS, "SMALL", replace(FACTS, counts={"train": (20, 10, 0), "test": (1, 0, 1)}))

    def val(seed: int) -> list[str]:
        data = {"name": "SMALL", "data_root": str(write(tmp_path / "raw", files)), "val_fraction": 0.2}
        config = PrepareConfig.model_validate({"base": {"seed": seed}, "data": data})
        recordings = prepare(config, storage, progress=False).manifest.recordings
        return [path for path, split in zip(recordings.paths, recordings.splits, strict=True) if split == "val"]

    assert [path.split("/")[1] for path in val(1)] == ["0"] * 4 + ["1"] * 2
    assert val(1) == val(1) != val(2)
