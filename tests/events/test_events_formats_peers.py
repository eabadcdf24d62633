"""Real recordings, against a second reader where one is installed."""

import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from difflogic_tonic.events import Events
from difflogic_tonic.events.formats import HEAD_BYTES, Recorded, decode, detect


def read(path: Path, format_name: str | None = None) -> Recorded:
    content = path.read_bytes()
    found = format_name or detect(path.name, content[:HEAD_BYTES])
    assert found is not None, path
    return decode(content, found, path.name)


def fixture(test_data: Path, name: str) -> Path:
    path = test_data / "fixtures" / name
    if not path.exists():
        pytest.skip(f"{path} is not there")
    return path


def peer(name: str) -> Any:
    return pytest.importorskip(name, reason=f"{name}, the second reader, is not installed")


def assert_equal(
    events: Events, table: np.ndarray, polarity: str = "p", time: str = "t", columns: str = "xytp"
) -> None:
    names = {"x": "x", "y": "y", "t": time, "p": polarity}
    assert len(events) == len(table)
    for column in columns:
        np.testing.assert_array_equal(getattr(events, column).astype(np.int64), table[names[column]].astype(np.int64))


@pytest.mark.parametrize(
    ("name", "format_name", "n_events", "size"),
    [
        ("sample_ncars.dat", "dat", 2009, (None, None)),
        ("evt2_sample.raw", "evt2", 539_481, (640, 480)),
        ("evt3_sample.raw", "evt3", 219_596, (1280, 720)),
        ("dvs.es", "es", 473_225, (320, 240)),
        ("sample.aedat4", "aedat4", 111_954, (320, 240)),
        ("davis.aedat4", "aedat4", 117_667, (346, 260)),
        ("dvxplorer.aedat4", "aedat4", 9408, (640, 480)),
    ],
)
def test_real_recordings_are_known_by_name_and_content(
    test_data: Path, name: str, format_name: str, n_events: int, size: tuple[int | None, int | None]
):
    path = fixture(test_data, name)
    assert detect(name, path.read_bytes()[:HEAD_BYTES]) == format_name
    recorded = read(path)
    assert (len(recorded.events), recorded.width, recorded.height) == (n_events, *size)
    assert (np.diff(recorded.events.t) >= 0).all()


@pytest.mark.parametrize("name", ["sample_ncars.dat", "evt2_sample.raw"])
def test_dat_and_evt2_are_what_expelliarmus_reads(test_data: Path, name: str):
    path = fixture(test_data, name)
    encoding = "dat" if name.endswith(".dat") else "evt2"
    assert_equal(read(path).events, peer("expelliarmus").Wizard(encoding=encoding).read(path))


def test_pixels_of_evt3_are_what_expelliarmus_reads(test_data: Path):
    """Its times are not compared: it adds 4,096 µs whenever the low and the high part change together."""
    path = fixture(test_data, "evt3_sample.raw")
    assert_equal(read(path).events, peer("expelliarmus").Wizard(encoding="evt3").read(path), columns="xyp")


def test_evt2_is_what_faery_reads(test_data: Path):
    path = fixture(test_data, "evt2_sample.raw")
    assert_equal(read(path).events, np.concatenate(list(peer("faery").events_stream_from_file(path))))


def test_evt3_is_what_faery_reads_but_for_times_that_it_holds_back(test_data: Path):
    """The camera steps back by up to 11 µs in words between events, where faery keeps the later time."""
    path = fixture(test_data, "evt3_sample.raw")
    theirs = np.concatenate(list(peer("faery").events_stream_from_file(path)))
    events = read(path).events
    assert_equal(events, theirs, columns="xyp")
    late = theirs["t"].astype(np.int64) - events.t
    assert late.min() == 0
    assert late.max() == 11
    assert (late == 0).mean() > 0.99


def test_event_stream_is_what_faery_reads(test_data: Path):
    path = fixture(test_data, "dvs.es")
    assert_equal(read(path).events, np.concatenate(list(peer("faery").events_stream_from_file(path))))


def test_event_stream_is_what_its_own_library_reads_with_rows_turned_over(test_data: Path):
    path = fixture(test_data, "dvs.es")
    with peer("event_stream").Decoder(str(path)) as decoder:
        theirs = np.concatenate(list(decoder))
    theirs["y"] = 239 - theirs["y"]
    assert_equal(read(path).events, theirs)


@pytest.mark.parametrize("name", ["sample.aedat4", "davis.aedat4", "dvxplorer.aedat4"])
def test_aedat4_is_what_aedat_and_faery_read(test_data: Path, name: str):
    path = fixture(test_data, name)
    packets = peer("aedat").Decoder(str(path))
    events = read(path).events
    assert_equal(events, np.concatenate([packet["events"] for packet in packets if "events" in packet]), polarity="on")
    assert_equal(events, np.concatenate(list(peer("faery").events_stream_from_file(path))))


def test_poker_dvs_in_its_original_files_is_what_tonic_distributes(test_data: Path, tmp_path: Path):
    """Without the absolute time; the arrays have no names, and their order is found."""
    for name in ("poker_dvs_aedat.tar.xz", "pips_test.tar.gz"):
        archive = test_data / "poker-dvs" / name
        if not archive.exists():
            pytest.skip(f"{archive} is not there")
        with tarfile.open(archive) as opened:
            opened.extractall(tmp_path, filter="data")
    originals = [read(path, "aedat2-pokerdvs").events for path in sorted(tmp_path.rglob("*.aedat"))]
    arrays = [read(path).events for path in sorted(tmp_path.rglob("*.npy"))]
    assert (len(originals), len(arrays)) == (131, 20)

    def key(events: Events) -> tuple[bytes, ...]:
        return tuple(part.tobytes() for part in (events.x, events.y, events.t - events.t[0], events.p))

    assert {key(events) for events in arrays} <= {key(events) for events in originals}


def test_a_dvs_gesture_sample_of_tonics_cache(test_data: Path):
    path = test_data / "dvs-gesture" / "0_0.hdf5"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    events = read(path).events
    assert len(events) == 213_025
    assert (events.x.max(), events.y.max(), events.t[0], events.t[-1]) == (127, 127, 28, 5_044_461)


def test_mnist_dvs_text_is_what_numpy_reads(test_data: Path, tmp_path: Path):
    archive = test_data / "mnist-dvs" / "mnist-dvs-100-text.tar.xz"
    if not archive.exists():
        pytest.skip(f"{archive} is not there")
    with tarfile.open(archive) as opened:
        opened.extractall(tmp_path, filter="data")
    files = sorted(tmp_path.rglob("*.txt"))
    assert len(files) == 100
    for path in files[::10]:
        theirs = np.loadtxt(path, np.int64)
        events = read(path).events
        np.testing.assert_array_equal(np.stack([events.x, events.y, events.t, events.p], axis=1), theirs)
