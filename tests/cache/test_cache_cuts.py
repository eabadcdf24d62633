"""DVS128 Gesture: recordings cut by their tables, and the set that others have cut."""

import io
import pickle
import struct
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from difflogic_tonic.cache import CacheReader, prepare
from difflogic_tonic.cache.sources import Recording, Source, open_source
from difflogic_tonic.config import DATASETS, PrepareConfig
from difflogic_tonic.errors import DatasetMismatch, DatasetMissing, RecordingError
from difflogic_tonic.events.formats import decode
from difflogic_tonic.events.formats.cut import cut_aedat3
from difflogic_tonic.storage import Storage

FACTS = DATASETS["DVSGESTURE"]
HEADER = b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n#Start-Time: 2017\r\n#!END-HEADER\r\n"
Event = tuple[int, int, int, int]
"""x, y, t in µs, p"""


def packet(events: Sequence[Event], kind: int = 1, overflow: int = 0) -> bytes:
    """A packet of AEDAT 3.1 by its description: 28 bytes of header, then 8 an event."""
    n = len(events)
    body = b"".join(struct.pack("<II", x << 17 | y << 2 | p << 1 | 1, t & 0x7FFFFFFF) for x, y, t, p in events)
    return struct.pack("<HHIIIIII", kind, 1, 8, 4, overflow, n, n, n) + body


EVENTS = [(3, 1, 100, 1), (4, 2, 200, 0), (5, 2, 299, 1), (6, 3, 300, 1), (127, 127, 400, 0), (0, 0, 500, 1)]
FILE = HEADER + packet(EVENTS[:3]) + packet([(1, 1, 250, 1)], kind=2) + packet(EVENTS[3:])
TABLE = b"class,startTime_usec,endTime_usec\n1,100,300\n11,300,401\n"


def columns(data: bytes) -> list[Event]:
    events = decode(data, "aedat3", "here").events
    return list(zip(*(column.tolist() for column in (events.x, events.y, events.t, events.p)), strict=True))


def write(folder: Path, **files: bytes) -> Path:
    names = {"led": FILE, "led_labels": TABLE} | files
    known = {"led": "user01_led.aedat", "led_labels": "user01_led_labels.csv"}
    lists = {"train": b"user01_led.aedat\n", "test": b"user24_lab.aedat\nuser29_natural.aedat\n"}
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in names.items():
        (folder / known.get(name, name)).write_bytes(content)
    for split, content in lists.items():
        (folder / f"trials_to_{split}.txt").write_bytes(files.get(split, content))
    return folder


def gestures(root: Path, storage: Storage) -> Source:
    return open_source(FACTS, root, storage, allow_subset=True, progress=False)


def test_a_part_has_the_events_from_its_start_up_to_its_end() -> None:
    assert columns(cut_aedat3(FILE, 200, 400, "here")) == EVENTS[1:4]
    assert columns(cut_aedat3(FILE, 0, 1000, "here")) == EVENTS
    assert columns(cut_aedat3(FILE, 299, 300, "here")) == [EVENTS[2]]


def test_a_part_without_events_is_a_file_without_packets() -> None:
    assert cut_aedat3(FILE, 600, 700, "here") == HEADER


def test_times_beyond_the_counter_are_cut_as_they_are() -> None:
    late = HEADER + packet([(1, 2, 10, 1)], overflow=1)
    start = 1 << 31
    assert columns(cut_aedat3(late, start, start + 11, "here")) == [(1, 2, start + 10, 1)]
    assert cut_aedat3(late, 0, start, "here") == HEADER


def test_a_recording_that_is_cut_off_is_named_with_its_byte() -> None:
    with pytest.raises(RecordingError, match=r"here: .*cut off at byte"):
        cut_aedat3(FILE[:-3], 0, 1000, "here")


def test_every_line_of_a_table_is_a_recording(tmp_path: Path, storage: Storage) -> None:
    source = gestures(write(tmp_path / "DvsGesture"), storage)
    assert source.recordings == (
        Recording("Train/user01_led/00-100-300", len(FILE), 0, "train"),
        Recording("Train/user01_led/01-300-401", len(FILE), 10, "train"),
    )
    assert source.classes == FACTS.classes
    assert source.subset == "2 of 1,176 train, 0 of 288 test"
    assert [columns(source.read(recording)) for recording in source.recordings] == [EVENTS[:3], EVENTS[3:5]]
    again = pickle.loads(pickle.dumps(source))
    assert again.read(source.recordings[1]) == source.read(source.recordings[1])


def test_the_lists_say_which_recordings_are_for_testing(tmp_path: Path, storage: Storage) -> None:
    root = write(
        tmp_path / "raw",
        **{"user24_lab.aedat": FILE, "user24_lab_labels.csv": b"class,startTime_usec,endTime_usec\n2,0,200\n"},
    )
    tests = [recording for recording in gestures(root, storage).recordings if recording.split == "test"]
    assert tests == [Recording("Test/user24_lab/00-0-200", len(FILE), 1, "test")]


def test_an_archive_gives_the_same(tmp_path: Path, storage: Storage) -> None:
    root = write(tmp_path / "DvsGesture")
    with tarfile.open(tmp_path / "DvsGesture.tar.gz", "w:gz") as archive:
        archive.add(root, "DvsGesture")
    plain, packed = gestures(root, storage), gestures(tmp_path / "DvsGesture.tar.gz", storage)
    assert packed.recordings == plain.recordings
    assert [*map(packed.read, packed.recordings)] == [*map(plain.read, plain.recordings)]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"led_labels": b"class,startTime_usec,endTime_usec\n12,100,300\n"}, "line 2: '12,100,300'; expected a class"),
        ({"led_labels": b"class,startTime_usec,endTime_usec\n0,100,300\n"}, "line 2: '0,100,300'"),
        ({"led_labels": b"class,startTime_usec,endTime_usec\n1,300,300\n"}, "line 2: '1,300,300'"),
        ({"led_labels": b"class,startTime_usec,endTime_usec\n1,100\n"}, "line 2: '1,100'"),
        ({"led_labels": b"class,startTime_usec,endTime_usec\n1,-1,5\n"}, "line 2: '1,-1,5'"),
        ({"train": b"user01_led\n"}, "trials_to_train.txt, line 1: 'user01_led'"),
    ],
)
def test_a_damaged_table_is_named_with_its_line(
    tmp_path: Path, storage: Storage, files: dict[str, bytes], message: str
) -> None:
    with pytest.raises(RecordingError) as error:
        gestures(write(tmp_path / "raw", **files), storage)
    assert message in str(error.value)


def test_missing_tables_and_lists_are_named(tmp_path: Path, storage: Storage) -> None:
    root = write(tmp_path / "raw")
    (root / "user01_led_labels.csv").unlink()
    with pytest.raises(DatasetMismatch, match=r"has user01_led\.aedat and no user01_led_labels\.csv"):
        gestures(root, storage)
    (root / "trials_to_train.txt").unlink()
    (root / "trials_to_test.txt").unlink()
    with pytest.raises(DatasetMissing, match=r"has no trials_to_train\.txt and no trials_to_test\.txt"):
        gestures(root, storage)


def test_a_part_of_the_dataset_is_only_taken_as_one(tmp_path: Path, storage: Storage) -> None:
    root = write(tmp_path / "raw")
    with pytest.raises(DatasetMismatch, match=r"not the complete DVSGESTURE: 2 of 1,176 train, 0 of 288 test"):
        open_source(FACTS, root, storage, allow_subset=False, progress=False)


def prepared(root: Path, storage: Storage) -> CacheReader:
    data = {"name": "DVSGESTURE", "data_root": str(root), "allow_subset": True, "time_bins": 2, "val_fraction": 0}
    return CacheReader(prepare(PrepareConfig.model_validate({"data": data}), storage, progress=False).path)


def test_cut_gestures_become_frames(tmp_path: Path, storage: Storage) -> None:
    train = prepared(write(tmp_path / "raw"), storage).split("train")
    assert train.labels.tolist() == [0, 10]
    assert train.frame_shape == (2, 128, 128)
    frames = np.empty((1, 2, 2 * 128 * 128), np.uint8)
    train.read_recordings(np.array([0]), frames)
    first = frames.reshape(2, 2, 128, 128)
    assert np.argwhere(first[0]).tolist() == [[1, 1, 3]]  # at 100 µs; p=1, y=1, x=3
    assert first[0, 1, 1, 3] == 1


def test_a_table_in_which_only_a_class_changed_makes_another_variant(tmp_path: Path, storage: Storage) -> None:
    root = write(tmp_path / "raw")
    before = prepared(root, storage)
    write(root, led_labels=TABLE.replace(b"11,300", b"10,300"))
    after = prepared(root, storage)
    assert [reader.split("train").labels.tolist() for reader in (before, after)] == [[0, 10], [0, 9]]
    assert before.manifest.fingerprint != after.manifest.fingerprint


def test_the_set_that_others_have_cut_is_told_apart_and_counted_by_its_own_numbers(
    tmp_path: Path, storage: Storage
) -> None:
    array = np.array([[3, 1, 1, 0], [4, 2, 0, 5]], np.int64)  # x, y, p, t in ms
    content = io.BytesIO()
    np.save(content, array)
    for path in ("ibmGestureTrain/user01_led/0.npy", "ibmGestureTest/user24_lab/10.npy"):
        (tmp_path / "raw" / path).parent.mkdir(parents=True)
        (tmp_path / "raw" / path).write_bytes(content.getvalue())
    source = gestures(tmp_path / "raw", storage)
    assert source.subset == "1 of 1,077 train, 1 of 264 test"
    assert [(recording.path, recording.label, recording.split) for recording in source.recordings] == [
        ("ibmGestureTest/user24_lab/10.npy", 10, "test"),
        ("ibmGestureTrain/user01_led/0.npy", 0, "train"),
    ]
    events = decode(source.read(source.recordings[0]), source.format, "here").events
    assert (events.x.tolist(), events.y.tolist(), events.p.tolist()) == ([3, 4], [1, 2], [1, 0])
    assert events.t.tolist() == [0, 5000]
    assert prepared(tmp_path / "raw", storage).split("test").n_recordings == 1
