"""Folders of one's own recordings and images, from files to frames."""

import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from difflogic_tonic.cache import prepare
from difflogic_tonic.cache.sources import open_source
from difflogic_tonic.cache.summary import summary_lines
from difflogic_tonic.config import DATASETS, PrepareConfig
from difflogic_tonic.errors import ConfigError, DatasetMismatch, DatasetMissing, RecordingError, StorageError
from difflogic_tonic.storage import Storage
from raw_files import aedat2, atis, npy, png, reader_of, source_of, write

OWN = {f"{label}/{n}.bin": atis(n + 1) for label in ("wave", "clap") for n in range(10)}


def test_a_folder_of_ones_own_is_divided_by_class(tmp_path: Path, storage: Storage) -> None:
    reader = reader_of("FOLDER", write(tmp_path / "raw", OWN), storage, sensor=[20, 10], test_fraction=0.2)
    assert reader.manifest.classes == ("clap", "wave")
    assert {name: split.per_class for name, split in reader.manifest.splits.items()} == {
        "train": (7, 7), "val": (1, 1), "test": (2, 2)
    }  # fmt: skip
    assert reader.manifest.frame_shape == (2, 10, 20)
    assert reader.manifest.subset is None


def test_folders_train_and_test_of_ones_own_are_kept_apart(tmp_path: Path, storage: Storage) -> None:
    files = {f"train/{path}": content for path, content in OWN.items()} | {"Test/wave/x.bin": atis()}
    reader = reader_of("FOLDER", write(tmp_path / "raw", files), storage, sensor=[20, 10], val_fraction=0)
    assert reader.manifest.splits["train"].per_class == (10, 10)
    assert reader.manifest.splits["test"].per_class == (0, 1)


@pytest.mark.parametrize(("key", "value", "default"), [("split", "fixed", "seeded"), ("test_fraction", 0.3, 0.1)])
def test_how_to_choose_test_recordings_is_refused_where_folders_say_which_they_are(
    tmp_path: Path, storage: Storage, key: str, value: Any, default: Any
) -> None:
    files = {f"train/{path}": content for path, content in OWN.items()} | {"test/wave/x.bin": atis()}
    root = write(tmp_path / "raw", files)
    with pytest.raises(ConfigError, match=rf"data\.{key}={value} has no effect: {root} .* test and train folders"):
        reader_of("FOLDER", root, storage, sensor=[20, 10], **{key: value})
    reader = reader_of("FOLDER", root, storage, sensor=[20, 10], **{key: default})
    assert reader.manifest.splits["test"].n_recordings == 1


def test_no_class_is_left_out_however_many_there_are(
    tmp_path: Path, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("difflogic_tonic.cache.folders.SEARCH_FOLDERS", 2)
    for part in ("", "train/"):
        root = write(tmp_path / f"raw-{len(part)}", {f"{part}{name}/1.bin": atis() for name in "abcde"})
        source = open_source(DATASETS["FOLDER"], root, storage, allow_subset=False, progress=False)
        assert source.classes == tuple("abcde")


def test_recordings_of_ones_own_may_have_different_formats(tmp_path: Path, storage: Storage) -> None:
    named = np.array([(10, 3, 1, 1)], [("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("p", "i1")])
    files = {"a/1.bin": atis(), "a/2.npy": npy(named), "b/1.txt": b"3 1 10 1\n2 2 20 0\n", "b/2.bin": atis()}
    reader = reader_of("FOLDER", write(tmp_path / "raw", files), storage, sensor=[20, 10], val_fraction=0)
    assert sum(split.n_recordings for split in reader.manifest.splits.values()) == 4


def test_the_format_of_recordings_of_ones_own_can_be_given(tmp_path: Path, storage: Storage) -> None:
    ascending = b"1 1 10 1\n2 2 20 0\n"  # either of the first and the third column could be the time
    files = {f"{label}/{n}.txt": ascending for label in "ab" for n in range(2)}
    root = write(tmp_path / "raw", files)
    with pytest.raises(RecordingError, match="or a format that ends in -xytp or -txyp"):
        reader_of("FOLDER", root, storage, sensor=[40, 30])
    reader = reader_of("FOLDER", root, storage, sensor=[40, 30], format="text-txyp")
    frames = np.empty((1, 2 * 30 * 40), np.uint8)
    reader.split("train").read_frames(np.array([0]), frames)
    assert np.argwhere(frames.reshape(2, 30, 40)).tolist() == [[0, 20, 2], [1, 10, 1]]
    with pytest.raises(ConfigError, match="format 'avi' is unknown"):
        reader_of("FOLDER", root, storage, sensor=[40, 30], format="avi")


def test_the_size_of_the_camera_comes_from_the_file_or_is_asked_for(tmp_path: Path, storage: Storage) -> None:
    files = {f"{label}/{n}.aedat": aedat2((3, 1, 0, 1)) for label in "ab" for n in range(3)}
    assert reader_of("FOLDER", write(tmp_path / "one", files), storage).manifest.sensor == (128, 128, 2)
    with pytest.raises(ConfigError, match=r"clap/0\.bin does not say how many pixels .*data\.sensor=\[width, height\]"):
        reader_of("FOLDER", write(tmp_path / "two", OWN), storage)


def test_recordings_of_two_cameras_need_a_size_for_both(tmp_path: Path, storage: Storage) -> None:
    dat = b"%% Version 2\n%% Height %d\n%% Width %d\n\x0c\x08" + struct.pack("<II", 0, 1 << 28)
    root = write(tmp_path / "raw", {"a/1.dat": dat % (30, 200), "a/2.aedat": aedat2((3, 1, 0, 1)), "a/3.bin": atis()})
    with pytest.raises(
        RecordingError, match=r"2\.aedat: a camera of 128x128 pixels; expected 200x30, .* data\.sensor=\[200, 128\]"
    ):
        reader_of("FOLDER", root, storage)
    assert reader_of("FOLDER", root, storage, sensor=[200, 128]).manifest.sensor == (200, 128, 2)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"wave/1.bin": b"x" * 5, "wave/readme.doc": b"text"},
            "readme.doc is in no format of recordings that is known",
        ),
        ({"wave/deep/1.bin": b"x" * 5}, "a folder, or a link to nothing; .* name the folder that has the folders"),
        ({"notes.txt": b"text"}, r"holds no recordings of FOLDER; expected train/<class>/<recording>"),
    ],
)
def test_what_is_no_folder_of_recordings_says_why(
    tmp_path: Path, storage: Storage, files: dict[str, bytes], message: str
) -> None:
    with pytest.raises((DatasetMismatch, DatasetMissing, RecordingError), match=message):
        reader_of("FOLDER", write(tmp_path / "raw", files), storage, sensor=[200, 200], on_empty="skip")


def test_a_folder_of_ones_own_has_to_be_named(storage: Storage) -> None:
    write(storage.scratch.raw_dir("FOLDER"), OWN)
    with pytest.raises(DatasetMissing, match=r"FOLDER is a folder of your own; name it: data\.data_root=PATH"):
        open_source(DATASETS["FOLDER"], None, storage, False, False)


def test_images_of_ones_own_become_frames_of_the_wanted_size(tmp_path: Path, storage: Storage) -> None:
    files = {f"{label}/{n}.png": png(n, width=4 + n) for label in ("cat", "dog") for n in range(5)}
    reader = reader_of("IMAGEFOLDER", write(tmp_path / "raw", files), storage, image_size=[4, 2], val_fraction=0)
    train = reader.split("train")
    assert train.frame_shape == (3, 2, 4)
    frames = np.empty((train.n_frames, 24), np.uint8)
    train.read_frames(np.arange(train.n_frames), frames)
    numbers = [int(Path(reader.manifest.recordings.paths[row]).stem) for row in train.recording_ids.tolist()]
    assert (frames == np.array(numbers)[:, None]).all()
    with pytest.raises(RecordingError, match=r"5x2 pixels; expected 4x2"):
        reader_of("IMAGEFOLDER", tmp_path / "raw", storage, val_fraction=0)


@pytest.mark.integration
def test_cifar10_as_jpeg_files_is_a_folder_of_images(test_data: Path, storage: Storage) -> None:
    archive = test_data / "cifar10" / "cifar10-jpeg-12k.tar.xz"
    if not archive.exists():
        pytest.skip(f"{archive} is not there")
    manifest = reader_of("IMAGEFOLDER", archive, storage, image_size=[32, 32]).manifest
    assert manifest.splits["test"].per_class == (200,) * 10
    assert manifest.splits["train"].per_class == (900,) * 10
    assert manifest.frame_shape == (3, 32, 32)


def test_a_folder_that_may_not_be_listed_is_named(
    tmp_path: Path, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write(tmp_path / "raw", OWN)
    listed = os.scandir

    def refusing(path: Path) -> Any:
        if Path(path).name == "wave":
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(StorageError, match=r"raw/wave may not be accessed by this user"):
        source_of("FOLDER", root, storage)


def test_an_empty_file_is_called_so(tmp_path: Path, storage: Storage) -> None:
    root = write(tmp_path / "raw", OWN | {"clap/z.aedat4": b""})
    with pytest.raises(RecordingError, match=r"clap/z\.aedat4 is empty; expected a recording; remove it"):
        reader_of("FOLDER", root, storage, sensor=[20, 10])


@pytest.mark.parametrize("format", [None, "aedat2-dvs128"])
def test_an_empty_file_is_an_empty_recording_where_those_are_skipped(
    tmp_path: Path, storage: Storage, format: str | None
) -> None:
    files = {f"{label}/{n}.aedat": aedat2((3, 1, 0, 1)) for label in ("clap", "wave") for n in range(1, 4)}
    root = write(tmp_path / "raw", files | {"clap/0.aedat": b""})  # the first, by which the camera is known
    data = {"name": "FOLDER", "data_root": str(root), "on_empty": "skip", "format": format}
    config = PrepareConfig.model_validate({"data": data})
    prepared = prepare(config, storage, progress=False)
    assert "  1 recordings without events were left out, clap/0.aedat first" in summary_lines(prepared, config)
    assert prepared.manifest
    assert sum(split.n_recordings for split in prepared.manifest.splits.values()) == 6
