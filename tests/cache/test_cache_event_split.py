"""Variants of packed events: found whatever the slicing, and read as the frames that preparing with it would store."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from difflogic_tonic.cache import (
    CacheReader,
    Prepared,
    check_prepared,
    find_variant,
    load_manifest,
    parameters_hash,
    parameters_of,
    prepare,
    prepare_source,
    verify,
)
from difflogic_tonic.cache.event_split import EventSplit
from difflogic_tonic.cache.shard import open_shard
from difflogic_tonic.cache.summary import summary_lines
from difflogic_tonic.cache.variants import describe
from difflogic_tonic.config import PrepareConfig, StoragePaths
from difflogic_tonic.config.slicing import Slice
from difflogic_tonic.errors import CacheCorrupt, ConfigError, RecordingError
from difflogic_tonic.events import encode_atis, make_events
from difflogic_tonic.storage import Storage, open_storage

Make = Callable[..., PrepareConfig]
ANEW = {"events_per_frame": None, "overlap": 0}
LARGE = {"shard_recordings": 10}
FILTERS = {"denoise_time": 90_000, "crop": [3, 2, 29, 30], "downsample": 2, "on_empty": "skip"}
SLICER = """
import numpy as np

def by_half(events, H, W):
    assert [column.dtype.name for column in events.values()] == ["int64", "uint16", "uint16", "uint8"]
    half = (events["t"] > (events["t"].min() + events["t"].max()) // 2).astype(int)
    counts = np.zeros((half.max() + 1, 2, H, W), np.int64)
    np.add.at(counts, (half, events["p"], events["y"], events["x"]), 1)
    return counts
"""
WAYS: list[dict[str, Any]] = [
    {"events_per_frame": 7, "overlap": 3},
    {"events_per_frame": 7, "include_incomplete": True, "frames": "bits"},
    {"time_window": 50_000, "overlap": 0.5, "include_incomplete": True},
    {"time_bins": 3, "overlap": 0.25, "frames": "thermometer", "levels": [1, 2]},
    {"event_bins": 4, "overlap": 1},
    {"frames_by_number": 4},
    {"frames_by_time": 4, "frames": "bits"},
    {"frame_duration": 70_000},
]


def in_gaps(n: int) -> bytes:
    """A recording whose neighbours are up to 0.3 s apart: its times take two words."""
    rng = np.random.default_rng(n)
    t = np.cumsum(rng.integers(0, 300_000, n))
    return encode_atis(make_events(rng.integers(0, 34, n), rng.integers(0, 34, n), t, rng.integers(0, 2, n)))


@pytest.fixture
def files(make_files: Callable[..., dict[str, bytes]]) -> dict[str, bytes]:
    one = encode_atis(make_events([9], [9], [5], [1]))
    return make_files() | {"Train/3/00090.bin": in_gaps(40), "Train/7/00090.bin": one}


@pytest.fixture
def packed(files: dict[str, bytes], make_source: Any, storage: Storage, make_config: Make) -> Prepared:
    return prepare_source(make_config(**LARGE, frames="events", overlap=0), storage, make_source(files))


@pytest.fixture
def slicer(own_module: Callable[[str, str], Path]) -> Path:
    """A module `halves` with the function `by_half`, which makes one frame or two."""
    return own_module("halves", SLICER)


def everything(split: Any, room: int | None = None) -> np.ndarray:
    """All recordings, padded; rows in an order of their own."""
    rows = np.random.default_rng(1).permutation(split.n_recordings)
    room = room or int(np.diff(split.offsets).max())
    out = np.full((len(rows), room, split.frame_nbytes), 9, np.uint8)
    split.read_recordings(rows, out)
    return out


def assert_same(one: Any, other: Any, room: int | None = None) -> None:
    """Two splits with the same recordings and frames, read in every way."""
    assert one.storage == other.storage
    assert one.frame_shape == other.frame_shape
    for name in ("offsets", "labels", "recording_ids", "n_events"):
        assert getattr(one, name).tolist() == getattr(other, name).tolist(), name
    assert np.array_equal(everything(one, room), everything(other, room))
    frames = np.random.default_rng(2).integers(0, one.n_frames, 50)
    for chosen in (frames, np.sort(frames), np.arange(one.n_frames)):
        made = [np.full((len(chosen), split.frame_nbytes), 9, np.uint8) for split in (one, other)]
        one.read_frames(chosen, made[0])
        other.read_frames(chosen, made[1])
        assert np.array_equal(*made)


@pytest.mark.parametrize("filters", [{}, FILTERS], ids=["", "filtered"])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: next(iter(way)))
def test_frames_are_those_of_a_variant_prepared_with_the_slicing(
    way: dict[str, Any],
    filters: dict[str, Any],
    files: dict[str, bytes],
    make_source: Any,
    storage: Storage,
    make_config: Make,
) -> None:
    source = make_source(files)
    events = prepare_source(make_config(**filters | LARGE, frames="events"), storage, source)
    framed = prepare_source(make_config(**ANEW | way | filters | LARGE), storage, source)
    assert verify(events.path) == []
    wanted = CacheReader(framed.path)
    reader = CacheReader(events.path, Slice.model_validate(way))
    for name in ("train", "val", "test"):
        assert_same(reader.split(name), wanted.split(name))
        assert_same(reader.split(name), wanted.split(name), room=2)
    for fact in ("frame_shape", "storage", "sensor", "classes", "frame_nbytes"):
        assert getattr(reader.manifest, fact) == getattr(wanted.manifest, fact)
    assert describe(reader.manifest) == describe(wanted.manifest)
    assert reader.manifest.fingerprint == events.fingerprint


def test_a_function_of_ones_own_sees_the_events_that_it_would_see_in_preparation(
    files: dict[str, bytes], make_source: Any, storage: Storage, make_config: Make, slicer: Path
) -> None:
    way = {"custom_slicing": "halves:by_half"}
    source = make_source(files)
    events = prepare_source(make_config(frames="events"), storage, source)
    framed = prepare_source(make_config(**ANEW | way), storage, source)
    split = CacheReader(events.path, Slice.model_validate(way)).split("train")
    assert_same(split, CacheReader(framed.path).split("train"))
    assert set(np.diff(split.offsets)) == {1, 2}


def test_a_function_that_makes_no_frame_is_an_error_that_names_the_recording(packed: Prepared, slicer: Path) -> None:
    slicer.write_text("import numpy as np\ndef none(events, H, W):\n    return np.zeros((0, 2, H, W), int)\n")
    with pytest.raises(ConfigError, match=r"halves:none: made 0 frames of Train/\d/\d+\.bin; expected at least one"):
        CacheReader(packed.path, Slice(custom_slicing="halves:none")).split("train")
    for missing in ("halves:nothing", "nowhere:nothing"):
        with pytest.raises(ConfigError, match=rf"^data\.slice\.custom_slicing: {missing}: .* no "):
            CacheReader(packed.path, Slice(custom_slicing=missing)).split("train")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_frames_in_any_order_are_parts_of_the_recordings(packed: Prepared, data: st.DataObject) -> None:
    way = data.draw(st.sampled_from(WAYS))
    split = CacheReader(packed.path, Slice.model_validate(way)).split("train")
    whole = [np.empty((1, int(n), split.frame_nbytes), np.uint8) for n in np.diff(split.offsets)]
    for row, out in enumerate(whole):
        split.read_recordings(np.array([row]), out)
    wanted = np.concatenate([out[0] for out in whole])
    chosen = np.array(data.draw(st.lists(st.integers(0, split.n_frames - 1), min_size=1, max_size=20)))
    out = np.empty((len(chosen), split.frame_nbytes), np.uint8)
    split.read_frames(chosen, out)
    assert np.array_equal(out, wanted[chosen])


def test_events_out_of_order_are_placed_by_their_time_where_time_counts(tmp_path: Path, storage: Storage) -> None:
    text = "t,x,y,p\n" + "".join(f"{t},{t % 5},{t % 3},{t % 2}\n" for t in (40, 10, 20, 90, 30, 0, 70))
    for name in ("train/wave/a.csv", "test/wave/b.csv"):
        path = tmp_path / "mine" / name
        path.parent.mkdir(parents=True)
        path.write_text(text)

    def prepared(**data: Any) -> Path:
        values = {"name": "FOLDER", "data_root": tmp_path / "mine", "sensor": [5, 3], "val_fraction": 0.0} | data
        return prepare(PrepareConfig.model_validate({"data": values}), storage, progress=False).path

    events = prepared(frames="events")
    for way in ({"time_window": 30}, {"time_bins": 3}, {"events_per_frame": 3}, {"frame_duration": 25}):
        assert_same(
            CacheReader(events, Slice.model_validate(way)).split("train"), CacheReader(prepared(**way)).split("train")
        )


def test_how_recordings_are_sliced_does_not_name_the_variant(make_config: Make) -> None:
    first = parameters_of(make_config(frames="events"))
    for way in WAYS:
        given = {key: value for key, value in way.items() if key not in ("frames", "levels")}
        assert parameters_of(make_config(**ANEW | given | {"frames": "events"})) == first
    assert parameters_of(make_config(frames="events", denoise_time=5)) != first
    assert parameters_of(make_config(frames="events", downsample=2)) != first
    assert parameters_of(make_config()) != first


def test_the_variant_is_found_verified_and_described(
    files: dict[str, bytes], make_source: Any, storage: Storage, make_config: Make
) -> None:
    config = make_config(frames="events", overlap=5)
    prepared = prepare_source(config, storage, make_source(files))
    assert not prepare_source(make_config(frames="events", events_per_frame=99), storage, make_source(files)).built
    wanted = parameters_hash(parameters_of(config))
    assert (
        find_variant(storage, "NMNIST", parameters_hash=wanted, prefix=None, prepare_command="").path == prepared.path
    )
    manifest = load_manifest(prepared.path)
    assert describe(manifest).startswith("denoise 0 µs, events, val 0.2")
    n_events = sum(
        int(CacheReader(prepared.path, Slice(time_bins=1)).split(name).n_events.sum())
        for name in ("train", "val", "test")
    )
    assert sum(split.n_frames for split in manifest.splits.values()) == n_events
    lines = summary_lines(prepared, config)
    assert any(line.startswith("  events on 2 x 34 x 34, 2 bytes a position, ") for line in lines)
    assert any(" events, " in line for line in lines if line.startswith("  train"))
    assert lines[-1].endswith(' data.slice.events_per_frame=10 data.slice.overlap=5"')


def test_parts_prepared_side_by_side_are_the_whole_byte_for_byte(
    files: dict[str, bytes],
    make_source: Any,
    storage: Storage,
    make_config: Make,
    contents: Callable[[Path], dict[str, bytes]],
    tmp_path: Path,
) -> None:
    config = make_config(**LARGE, frames="events")
    whole = prepare_source(config, storage, make_source(files))
    other = open_storage(StoragePaths(tmp_path / "other", tmp_path / "other"))
    parts = [prepare_source(config, other, make_source(files), shard=(number, 2)) for number in (1, 2)]
    assert parts[0].manifest is None
    assert contents(parts[1].path) == contents(whole.path)


def test_a_sensor_of_wide_positions_is_told_what_would_halve_them(tmp_path: Path, storage: Storage) -> None:
    for name in ("train/wave/a.csv", "test/wave/b.csv"):
        path = tmp_path / "mine" / name
        path.parent.mkdir(parents=True)
        path.write_text("t,x,y,p\n0,345,259,1\n70000,0,0,0\n70001,345,0,1\n")
    data = {"name": "FOLDER", "data_root": tmp_path / "mine", "sensor": [346, 260], "val_fraction": 0.0}
    config = PrepareConfig.model_validate({"data": data | {"frames": "events"}})
    prepared = prepare(config, storage, progress=False)
    assert any("data.downsample=2 would make positions of 2 bytes" in line for line in summary_lines(prepared, config))
    framed = prepare(PrepareConfig.model_validate({"data": data | {"time_bins": 2}}), storage, progress=False)
    assert_same(CacheReader(prepared.path, Slice(time_bins=2)).split("train"), CacheReader(framed.path).split("train"))


def test_events_without_a_slicing_and_a_slicing_of_frames_are_errors_that_name_the_variant(
    packed: Prepared, storage: Storage, make_source: Any, make_config: Make
) -> None:
    with pytest.raises(ConfigError, match=rf"{packed.path} has events; say .* data\.slice\.events_per_frame=1500"):
        CacheReader(packed.path)
    framed = prepare_source(make_config(), storage, make_source())
    with pytest.raises(ConfigError, match=rf"data\.slice slices prepared events, and {framed.path} has frames"):
        CacheReader(framed.path, Slice(time_bins=3))


def test_a_recording_of_too_many_frames_is_an_error_that_names_it(
    packed: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("difflogic_tonic.events.framing.MOST_BYTES", 2312 * 1000)
    with pytest.raises(RecordingError, match=r"Train/3/00090\.bin: would become [\d,]+ frames"):
        CacheReader(packed.path, Slice(frame_duration=1000)).split("train")


def test_first_and_last_events_are_kept_only_as_far_as_there_is_room(
    packed: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = CacheReader(packed.path, Slice(time_bins=3))
    wanted = everything(reader.split("train"))
    monkeypatch.setattr("difflogic_tonic.cache.event_split.KEPT_BYTES", 1000)
    split = reader.split("train")
    assert isinstance(split, EventSplit)
    for _ in range(2):
        assert np.array_equal(everything(split), wanted)
        assert len(split._kept) == 3


def test_a_split_survives_pickling_after_it_was_read(packed: Prepared) -> None:
    split = CacheReader(packed.path, Slice(time_bins=3)).split("train")
    wanted = everything(split)
    again = pickle.loads(pickle.dumps(split))
    assert np.array_equal(everything(again), wanted)
    split.close()
    assert np.array_equal(everything(split), wanted)


def flip(path: Path, at: int) -> None:
    """The top bit of the word at byte `at`."""
    data = bytearray(path.read_bytes())
    data[at + 1] ^= 0x80
    path.write_bytes(data)


@pytest.mark.parametrize(("word", "problem"), [(0, "an event is in no pixel of a frame"), (-1, "its events are from")])
def test_events_that_were_damaged_after_they_were_checked_are_an_error_and_no_crash(
    packed: Prepared, slicer: Path, word: int, problem: str
) -> None:
    shard = sorted(packed.path.glob("train-*.h5"))[0]
    index = open_shard(shard, packed.fingerprint)
    flip(shard, index.payload_at + 2 * int(index.offsets[word % 2] + min(word, 0)))
    by_count = {"events_per_frame": 7}
    for way in ({"time_bins": 3}, {"custom_slicing": "halves:by_half"}, *([by_count] if word == 0 else [])):
        with pytest.raises(CacheCorrupt, match=rf"is damaged: Train/.*bin: {problem}.* rebuild it"):
            everything(CacheReader(packed.path, Slice.model_validate(way)).split("train"))


def test_a_recording_of_an_impossible_length_is_damage(packed: Prepared) -> None:
    reader = CacheReader(packed.path, Slice(time_bins=3))
    from difflogic_tonic.cache.reader import SplitReader

    split = SplitReader(packed.path, load_manifest(packed.path), load_manifest(packed.path).splits["train"])
    split.n_events[0] += 1
    with pytest.raises(CacheCorrupt, match=r"is damaged: its recordings do not have the lengths .* rebuild it"):
        EventSplit(split, Slice(time_bins=3), reader.manifest.recordings.paths)


@pytest.mark.integration
def test_frames_of_real_recordings_are_those_of_variants_prepared_with_the_slicing(
    nmnist_raw: Path, storage: Storage
) -> None:
    def prepared(**data: Any) -> Path:
        values = {"name": "NMNIST", "data_root": nmnist_raw, "allow_subset": True, "denoise_time": 1200} | data
        return prepare(PrepareConfig.model_validate({"data": values}), storage, progress=False).path

    config = {"name": "NMNIST", "data_root": nmnist_raw, "allow_subset": True, "denoise_time": 1200, "frames": "events"}
    whole = PrepareConfig.model_validate({"data": config})
    assert "verified" in check_prepared(prepare(whole, storage, progress=False), whole, storage)
    events = prepared(frames="events")
    for way in (
        {"events_per_frame": 1500, "overlap": 1000},
        {"time_window": 30_000, "overlap": 0.5, "frames": "bits"},
        {"time_bins": 10, "overlap": 0.3},
        {"frames_by_time": 10},
    ):
        wanted = CacheReader(prepared(**way)).split("test")
        assert_same(CacheReader(events, Slice.model_validate(way)).split("test"), wanted)
