"""Datasets in the layouts of their publishers, from files to frames."""

import io
import shutil
import struct
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from difflogic_tonic.cache.sources import open_source
from difflogic_tonic.config import DATASETS
from difflogic_tonic.errors import DatasetMismatch, DatasetMissing, RecordingError
from difflogic_tonic.storage import Storage
from raw_files import aedat2, atis, npy, png, reader_of, source_of, write

CIFAR = {f"{label}/cifar10_{label}_{n}.aedat": aedat2((3, 1, 10 * n, 1), (5, 2, 10 * n + 9, 0)) for label in
         ("airplane", "truck") for n in range(20)}  # fmt: skip


def test_cifar10_dvs_is_prepared_from_its_original_files(tmp_path: Path, storage: Storage) -> None:
    reader = reader_of("CIFAR10DVS", write(tmp_path / "raw", CIFAR), storage, event_bins=2)
    assert {name: split.n_recordings for name, split in reader.manifest.splits.items()} == {
        "train": 32, "val": 4, "test": 4
    }  # fmt: skip
    assert reader.manifest.subset == "40 of 10,000"
    assert reader.manifest.parameters["test_split"] == "seeded"
    frames = np.empty((1, 2, 2 * 128 * 128), np.uint8)
    reader.split("test").read_recordings(np.array([0]), frames)
    assert np.argwhere(frames.reshape(2, 2, 128, 128)).tolist() == [[0, 1, 1, 3], [1, 0, 2, 5]]


def test_the_fixed_split_of_cifar10_dvs_takes_the_first_files(tmp_path: Path, storage: Storage) -> None:
    root = write(tmp_path / "raw", CIFAR)
    reader = reader_of("CIFAR10DVS", root, storage, split="fixed")
    recordings = reader.manifest.recordings
    assert [path for path, split in zip(recordings.paths, recordings.splits, strict=True) if split == "test"] == [
        f"{label}/cifar10_{label}_{n}.aedat" for label in ("airplane", "truck") for n in (0, 1)
    ]
    assert reader.manifest.fingerprint != reader_of("CIFAR10DVS", root, storage).manifest.fingerprint


def test_the_ten_archives_of_cifar10_dvs_are_read_together(tmp_path: Path, storage: Storage) -> None:
    for label in ("airplane", "truck"):
        write(tmp_path / label, {path: content for path, content in CIFAR.items() if path.startswith(label)})
        shutil.make_archive(str(storage.project.raw_dir("CIFAR10DVS") / label), "zip", tmp_path / label)
    found = open_source(DATASETS["CIFAR10DVS"], storage.project.raw_dir("CIFAR10DVS"), storage, True, False)
    assert {recording.path: found.read(recording) for recording in found.recordings} == CIFAR


def test_a_class_that_lies_in_two_folders_is_refused(tmp_path: Path, storage: Storage) -> None:
    root = write(tmp_path / "raw", CIFAR | {"more/truck/cifar10_truck_20.aedat": aedat2((1, 1, 1, 1))})
    with pytest.raises(DatasetMismatch, match=r"raw/truck and .*raw/more/truck are one folder twice"):
        source_of("CIFAR10DVS", root, storage)


@pytest.mark.parametrize("part", [0.0, 0.5])
def test_all_recordings_of_a_class_must_be_there(tmp_path: Path, storage: Storage, part: float) -> None:
    facts = replace(DATASETS["CIFAR10DVS"], classes=("airplane", "truck"), counts={"all": (20, 20)})
    kept = {path: content for path, content in CIFAR.items() if "truck_1" not in path or part}
    root = write(tmp_path / "raw", kept)
    if part:
        assert open_source(facts, root, storage, False, False).subset is None
        return
    with pytest.raises(DatasetMismatch, match=r"29 of 40 recordings \(class truck has 9 instead of 20\)"):
        open_source(facts, root, storage, False, False)


def test_n_caltech101_lies_in_an_archive_and_tells_its_classes(tmp_path: Path, storage: Storage) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        for label in ("ant", "BACKGROUND_Google"):
            archive.writestr(f"Caltech101/{label}/image_0001.bin", atis())
    with zipfile.ZipFile(tmp_path / "outer.zip", "w") as archive:
        archive.writestr("data/Caltech101.zip", inner.getvalue())
        archive.writestr("data/README.txt", b"text")
    source = source_of("NCALTECH101", tmp_path / "outer.zip", storage)
    assert source.classes == ("BACKGROUND_Google", "ant")
    assert [recording.label for recording in source.recordings] == [0, 1]
    assert source.subset == "2 of 8,709"


def test_n_cars_is_prepared_from_dat_files(tmp_path: Path, storage: Storage) -> None:
    event = struct.pack("<II", 7, 1 << 28 | 2 << 14 | 5)  # t, then polarity, y and x
    dat = b"% Data file containing CD events.\n% Version 2\n" + bytes([0, 8]) + event
    files = {f"n-cars_{split}/{label}/obj_00000{n}_td.dat": dat for split in ("train", "test") for n, label in
             enumerate(("cars", "background", "cars"))}  # fmt: skip
    reader = reader_of("NCARS", write(tmp_path / "Prophesee_Dataset_n_cars", files), storage, val_fraction=0)
    assert reader.manifest.splits["train"].per_class == (1, 2)
    frames = np.empty((1, 2 * 100 * 120), np.uint8)
    reader.split("test").read_frames(np.array([0]), frames)
    assert np.argwhere(frames.reshape(2, 100, 120)).tolist() == [[1, 2, 5]]


def test_asl_dvs_is_prepared_from_matlab_files(tmp_path: Path, storage: Storage) -> None:
    from scipy.io import savemat

    out = io.BytesIO()
    column = {"x": [3, 4], "y": [0, 179], "ts": [10, 20], "pol": [1, 0]}
    savemat(out, {name: np.array(values, np.int32)[:, None] for name, values in column.items()}, do_compression=True)
    files = {f"{letter}/{letter}_000{n}.mat": out.getvalue() for letter in "ay" for n in range(4)}
    reader = reader_of("ASL_DVS", write(tmp_path / "raw", files), storage, event_bins=1)
    frames = np.empty((1, 2 * 180 * 240), np.uint8)
    reader.split("train").read_frames(np.array([0]), frames)
    assert np.argwhere(frames.reshape(2, 180, 240)).tolist() == [[0, 0, 4], [1, 179, 3]]
    assert reader.split("test").labels.tolist() == [0, 23]
    (tmp_path / "raw/a/a_0001.mat").write_bytes(out.getvalue()[:-9])
    with pytest.raises(RecordingError, match=r"a_0001\.mat: .*unpack it again"):
        reader_of("ASL_DVS", tmp_path / "raw", storage, event_bins=1)


def test_dvs_lip_is_prepared_from_named_columns(tmp_path: Path, storage: Storage) -> None:
    named = np.array([(10, 3, 1, 1), (20, 4, 2, 0)], [("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("p", "i1")])
    files = {f"DVS-Lip/{split}/{word}/{n}.npy": npy(named) for split in ("train", "test") for word in
             ("accused", "young") for n in range(2)}  # fmt: skip
    reader = reader_of("DVSLIP", write(tmp_path / "raw", files), storage, val_fraction=0)
    assert reader.manifest.classes == ("accused", "young")
    assert reader.manifest.splits["test"].per_class == (2, 2)


def test_tiny_imagenet_takes_the_labels_of_its_test_images_from_their_table(tmp_path: Path, storage: Storage) -> None:
    files = {f"tiny-imagenet-200/train/n0{k}/images/n0{k}_{n}.JPEG": png(k, 64, 64) for k in (1, 2) for n in range(3)}
    files |= {f"tiny-imagenet-200/val/images/val_{n}.JPEG": png(9, 64, 64) for n in range(2)}
    files |= {
        "tiny-imagenet-200/val/val_annotations.txt": b"val_0.JPEG\tn02\t0\t0\t9\t9\nval_1.JPEG\tn01\t0\t0\t9\t9\n"
    }
    files |= {"tiny-imagenet-200/test/images/test_0.JPEG": png(5, 64, 64), "tiny-imagenet-200/words.txt": b"n01\tant"}
    root = write(tmp_path / "raw", files)
    source = source_of("TINYIMAGENET", root, storage)
    assert source.classes == ("n01", "n02")
    assert source.subset == "6 of 100,000 train, 2 of 10,000 test"
    tests = [(recording.path, recording.label) for recording in source.recordings if recording.split == "test"]
    assert tests == [("Test/n01/val_1.JPEG", 0), ("Test/n02/val_0.JPEG", 1)]
    reader = reader_of("TINYIMAGENET", root, storage, val_fraction=0)
    assert reader.manifest.splits["train"].per_class == (3, 3)
    (root / "tiny-imagenet-200/val/val_annotations.txt").write_bytes(b"val_0.JPEG n02\n")
    with pytest.raises(
        RecordingError, match=r"val_annotations\.txt, line 1: 'val_0\.JPEG n02'; expected a name, a tab"
    ):
        source_of("TINYIMAGENET", root, storage)


def test_cifar10_is_found_in_both_its_archives(tmp_path: Path, storage: Storage) -> None:
    import pickle

    rows = np.arange(2 * 3072).astype(np.uint8).reshape(2, 3072)
    records = b"".join(bytes([label]) + row.tobytes() for label, row in zip((7, 2), rows, strict=True))
    batch = pickle.dumps({b"labels": [7, 2], b"data": rows}, 2)
    names = [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]
    write(tmp_path / "b", {f"cifar-10-batches-bin/{name}.bin": records for name in names})
    write(tmp_path / "p", {f"cifar-10-batches-py/{name}": batch for name in names})
    sources = [source_of("CIFAR10", tmp_path / kind, storage) for kind in "bp"]
    for kind in "bp":
        packed = shutil.make_archive(str(tmp_path / kind), "gztar", tmp_path / kind)
        sources.append(source_of("CIFAR10", Path(packed), storage))
    first = sources[0]
    assert [recording.path for recording in first.recordings if recording.label == 2][:2] == [
        "Test/2/00001", "Train/2/00001"
    ]  # fmt: skip
    for other in sources:
        assert other.recordings == first.recordings
        assert [*map(other.read, other.recordings)] == [*map(first.read, first.recordings)]
    assert first.read(first.recordings[-1]) == rows[0].tobytes()
    (tmp_path / "b/cifar-10-batches-bin/data_batch_3.bin").unlink()
    with pytest.raises(DatasetMissing, match=r"has no data_batch_3\.bin"):
        source_of("CIFAR10", tmp_path / "b", storage)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("path", "train", "test"), [("", (12,) * 4, (5,) * 4), ("poker_dvs_aedat.tar.xz", (27, 21, 39, 31), (3, 2, 4, 4))]
)
def test_poker_dvs_is_prepared_from_both_its_forms(
    test_data: Path, tmp_path: Path, storage: Storage, path: str, train: tuple[int, ...], test: tuple[int, ...]
) -> None:
    poker = test_data / "poker-dvs"
    if not poker.is_dir():
        pytest.skip(f"{poker} is not there")
    root = poker / path
    if not path:
        root = tmp_path / "pips"
        root.mkdir()
        for name in ("pips_train.tar.gz", "pips_test.tar.gz"):
            shutil.copy(poker / name, root)
    manifest = reader_of("POKERDVS", root, storage, val_fraction=0, events_per_frame=500).manifest
    assert manifest.splits["train"].per_class == train
    assert manifest.splits["test"].per_class == test
    assert manifest.subset is None
