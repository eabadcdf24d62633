"""Recordings of real cameras, from their files to frames and pictures."""

import shutil
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from difflogic_tonic import cache
from difflogic_tonic.config import PrepareConfig, StoragePaths
from difflogic_tonic.storage import Storage, open_storage
from difflogic_tonic.sync.show import make_pictures

FRAMES = 10
FULL = 255

pytestmark = pytest.mark.integration


@dataclass(frozen=True)
class Sample:
    """A recording, what other readers say is in it, and keys for what its file does not say."""

    path: str
    size: tuple[int, int]
    n_events: int
    keys: dict[str, Any] = field(default_factory=dict)


SAMPLES = (
    Sample("fixtures/davis.aedat4", (346, 260), 117_667),
    Sample("fixtures/sample.aedat4", (320, 240), 111_954),
    Sample("fixtures/dvxplorer.aedat4", (640, 480), 9_408),  # three rectangles, drawn at one time, as the file has it
    Sample("fixtures/dvs.es", (320, 240), 473_225),
    Sample("fixtures/evt2_sample.raw", (640, 480), 539_481),
    Sample("fixtures/evt3_sample.raw", (1280, 720), 219_596),
    Sample("fixtures/sample_ncars.dat", (120, 100), 2_009, {"sensor": [120, 100]}),
    Sample("dvs-gesture/0_0.hdf5", (128, 128), 213_025, {"sensor": [128, 128]}),
)


def storage_in(root: Path) -> Storage:
    return open_storage(StoragePaths(scratch=root / "storage", project=root / "storage"))


def prepared(root: Path, **data: Any) -> cache.CacheReader:
    return cache.CacheReader(
        cache.prepare(PrepareConfig.model_validate({"data": data}), storage_in(root), progress=False).path
    )


def all_frames(reader: cache.CacheReader, split: str) -> np.ndarray:
    opened = reader.split(split)
    frames = np.empty((opened.n_frames, opened.frame_nbytes), np.uint8)
    opened.read_frames(np.arange(opened.n_frames), frames)
    return frames.reshape(-1, *opened.frame_shape)


def check_pictures(root: Path, dataset: str, n_frames: int) -> None:
    """The sheet has both colours of events, the animation every frame, and there are charts."""
    sheet, animation, charts = make_pictures(storage_in(root), dataset, "", "train", 0, root / "pictures")
    with PIL.Image.open(sheet) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    assert (pixels[..., 2] - pixels[..., 0] > 30).any()
    assert (pixels[..., 0] - pixels[..., 2] > 30).any()
    with PIL.Image.open(animation) as image:
        assert getattr(image, "n_frames", 1) == n_frames
    with PIL.Image.open(charts) as image:
        assert min(image.size) > 500


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: Path(sample.path).name)
def test_a_recording_of_a_camera_becomes_frames_with_all_its_events(
    sample: Sample, test_data: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "raw" / "scene"
    folder.mkdir(parents=True)
    shutil.copy(test_data / sample.path, folder)
    keys = {"name": "FOLDER", "data_root": str(tmp_path / "raw"), "frames_by_time": FRAMES, "time_bins": None}
    reader = prepared(tmp_path, **keys, **sample.keys)
    frames = all_frames(reader, "train")
    assert reader.manifest.frame_shape == (2, *sample.size[::-1])
    n_frames = 1 if sample.path.endswith("dvxplorer.aedat4") else FRAMES
    assert np.count_nonzero(frames.any(axis=(1, 2, 3))) == n_frames
    found = int(frames.sum(dtype=np.int64))
    assert found == sample.n_events or (
        reader.manifest.n_saturated and found < sample.n_events and frames.max() == FULL
    )
    check_pictures(tmp_path, "FOLDER", len(frames))


def test_poker_dvs_is_upright_in_both_forms(test_data: Path, tmp_path: Path) -> None:
    """A club has one leaf above and two below: its upper third is the narrower one."""
    keys = {"name": "POKERDVS", "events_per_frame": 500}
    arrays = prepared(tmp_path / "a", data_root=str(test_data / "poker-dvs"), **keys)
    original = test_data / "poker-dvs" / "poker_dvs_aedat.tar.xz"
    recordings = prepared(tmp_path / "b", data_root=str(original), **keys)
    assert [split.n_recordings for split in arrays.manifest.splits.values()] == [44, 4, 20]
    assert sum(split.n_recordings for split in recordings.manifest.splits.values()) == 131
    for reader in (arrays, recordings):
        train = reader.split("train")
        club = reader.manifest.classes.index("club")
        wanted = np.repeat(train.labels == club, np.diff(train.offsets))
        mean = all_frames(reader, "train")[wanted].sum(axis=(0, 1), dtype=np.int64)
        upper, lower = (rows.sum(axis=0) for rows in (mean[3:13], mean[18:28]))
        assert width_of(upper) < 0.8 * width_of(lower)
    check_pictures(tmp_path / "a", "POKERDVS", 5)


def width_of(columns: np.ndarray) -> float:
    """Standard deviation of the columns of the events."""
    place = np.arange(len(columns))
    mean = np.average(place, weights=columns)
    return float(np.sqrt(np.average((place - mean) ** 2, weights=columns)))


def test_mnist_dvs_as_text_is_prepared_class_by_class(test_data: Path, tmp_path: Path) -> None:
    with tarfile.open(test_data / "mnist-dvs" / "mnist-dvs-100-text.tar.xz") as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    for file in (tmp_path / "unpacked").rglob("*.txt"):
        digit = tmp_path / "raw" / file.name[1]
        digit.mkdir(parents=True, exist_ok=True)
        file.rename(digit / file.name)
    keys = {"name": "FOLDER", "data_root": str(tmp_path / "raw"), "sensor": [128, 128], "format": "text-xytp"}
    reader = prepared(tmp_path, **keys, time_bins=FRAMES)
    assert {name: split.per_class for name, split in reader.manifest.splits.items()} == {
        "train": (8,) * 10, "val": (1,) * 10, "test": (1,) * 10
    }  # fmt: skip
    check_pictures(tmp_path, "FOLDER", FRAMES)
