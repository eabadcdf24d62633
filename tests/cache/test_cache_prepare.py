"""Preparing: one variant per set of parameters, in both places, the same bytes however it came about."""

import dataclasses
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from difflogic_tonic import cache
from difflogic_tonic.cache import CacheReader, fingerprint_of, load_manifest, parameters_of, prepare_source, verify
from difflogic_tonic.cache.fingerprint import parameters_hash
from difflogic_tonic.config import PrepareConfig
from difflogic_tonic.errors import RecordingError
from difflogic_tonic.events import frame_recording, recipe_from_config
from difflogic_tonic.storage import Storage

Make = Callable[..., Any]


def test_each_frame_of_each_recording_is_where_the_index_says(source: Any, storage: Storage, make_config: Make) -> None:
    config = make_config()
    reader = CacheReader(prepare_source(config, storage, source).path)
    recipe, recordings = recipe_from_config(config), reader.manifest.recordings
    seen = []
    for name in ("train", "val", "test"):
        split = reader.split(name)
        for row, recording in enumerate(split.recording_ids.tolist()):
            path = recordings.paths[recording]
            wanted = frame_recording(source.files[path], recipe, path)
            out = np.empty((1, len(wanted.frames), split.frame_nbytes), np.uint8)
            split.read_recordings(np.array([row]), out)
            assert np.array_equal(out[0], wanted.frames)
            assert split.offsets[row + 1] - split.offsets[row] == len(wanted.frames)
            assert split.n_events[row] == wanted.n_events
            assert split.labels[row] == recordings.labels[recording] == int(path.split("/")[1])
            assert recordings.splits[recording] == name
            seen.append(path)
    assert sorted(seen) == sorted(source.files)


def test_both_places_have_the_same_verified_copy(
    source: Any, storage: Storage, make_config: Make, contents: Make
) -> None:
    prepared = prepare_source(make_config(), storage, source)
    assert prepared.built
    assert prepared.paths == tuple(p.data_dir("NMNIST") / prepared.fingerprint for p in storage.places)
    scratch, project = (contents(path) for path in prepared.paths)
    assert scratch == project
    assert verify(prepared.path, source) == []


def test_a_second_preparation_reads_nothing(source: Any, storage: Storage, make_config: Make) -> None:
    first = prepare_source(make_config(), storage, source)
    source.read_paths.clear()
    second = prepare_source(make_config(), storage, source)
    assert (second.path, second.built) == (first.path, False)
    assert source.read_paths == []


def test_a_place_that_lost_its_copy_gets_it_back_without_the_recordings(
    source: Any, storage: Storage, make_config: Make, contents: Make
) -> None:
    prepared = prepare_source(make_config(), storage, source)
    before = contents(prepared.path)
    for lost in prepared.paths:
        shutil.rmtree(lost)
        source.read_paths.clear()
        assert not prepare_source(make_config(), storage, source).built
        assert source.read_paths == []
        assert contents(lost) == before


OTHER_SLICING = {"events_per_frame": None, "overlap": 0}
CHANGES: list[dict[str, Any]] = [
    {"events_per_frame": 11},
    {"time_window": 1000, **OTHER_SLICING},
    {"time_bins": 5, **OTHER_SLICING},
    {"event_bins": 5, **OTHER_SLICING},
    {"frames_by_number": 5, **OTHER_SLICING},
    {"frames_by_time": 5, **OTHER_SLICING},
    {"frame_duration": 1000, **OTHER_SLICING},
    {"custom_slicing": "json.decoder:JSONDecoder", **OTHER_SLICING},
    {"overlap": 3},
    {"include_incomplete": True},
    {"denoise_time": 5},
    {"denoise_warmup": "drop"},
    {"frames": "bits"},
    {"on_empty": "skip"},
    {"val_fraction": 0.3},
    {"seed": 1},
    {"shard_recordings": 5},
    {"hot_pixels": 10.0},
    {"refractory_time": 5},
    {"crop": [1, 2, 10, 12]},
    {"downsample": 2},
    {"frames": "thermometer", "levels": [1, 2]},
]


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_a_changed_parameter_is_another_variant(change: dict[str, Any], source: Any, make_config: Make) -> None:
    one, other = parameters_of(make_config()), parameters_of(make_config(**change))
    assert fingerprint_of(one, source.recordings) != fingerprint_of(other, source.recordings)


def test_how_and_where_it_is_prepared_does_not_name_the_variant(make_config: Make, tmp_path: Path) -> None:
    how = {"workers": 7, "reset_cache": True, "allow_subset": True, "data_root": str(tmp_path)}
    assert parameters_of(make_config(**how)) == parameters_of(make_config())


def test_every_parameter_of_a_prepare_config_is_accounted_for() -> None:
    fields = set(PrepareConfig.model_fields["data"].annotation.model_fields)  # type: ignore[union-attr]
    without_effect = {"data_root", "reset_cache", "allow_subset", "workers"}
    of_some_datasets = {"name", "sensor", "format", "image_size", "split", "test_fraction"}
    assert fields - without_effect - of_some_datasets == {field for change in CHANGES for field in change} - {"seed"}


def test_parameters_of_configs_written_before_other_slicings_have_the_names_they_had() -> None:
    config = PrepareConfig.model_validate({"data": {"name": "NMNIST", "overlap": 1000, "denoise_time": 1200}})
    assert parameters_hash(parameters_of(config)) == "5f8caf67a39276164850736d70f862de93e20646f84b07421a569e65af80ee79"


def test_source_files_name_the_variant_by_path_and_size(source: Any, make_config: Make) -> None:
    parameters = parameters_of(make_config())
    first = source.recordings[0]
    changed = [dataclasses.replace(first, size=first.size + 5), dataclasses.replace(first, path="Train/0/x.bin")]
    names = {fingerprint_of(parameters, [each, *source.recordings[1:]]) for each in [first, *changed]}
    assert len(names) == 3
    assert fingerprint_of(parameters, source.recordings[::-1]) == fingerprint_of(parameters, source.recordings)


@pytest.mark.parametrize("workers", [1, 3])
def test_the_number_of_workers_changes_no_byte(
    workers: int, source: Any, storage: Storage, make_config: Make, contents: Make
) -> None:
    one = contents(prepare_source(make_config(workers=2), storage, source).path)
    again = prepare_source(make_config(workers=workers, reset_cache=True), storage, source)
    assert again.built
    assert contents(again.path) == one


def test_bits_are_the_counts_above_zero(source: Any, storage: Storage, make_config: Make) -> None:
    counts = CacheReader(prepare_source(make_config(), storage, source).path).split("test")
    bits = CacheReader(prepare_source(make_config(frames="bits"), storage, source).path).split("test")
    assert (bits.storage, bits.frame_nbytes) == ("bits", 289)
    one, other = np.empty((counts.n_frames, 2312), np.uint8), np.empty((bits.n_frames, 289), np.uint8)
    counts.read_frames(np.arange(counts.n_frames), one)
    bits.read_frames(np.arange(bits.n_frames), other)
    assert np.array_equal(np.packbits(one > 0, axis=1, bitorder="little"), other)


def test_the_split_is_stratified_and_in_the_manifest(source: Any, storage: Storage, make_config: Make) -> None:
    manifest = load_manifest(prepare_source(make_config(val_fraction=0.34), storage, source).path)
    assert {name: split.per_class for name, split in manifest.splits.items()} == {
        "train": (4, 0, 0, 4, 0, 0, 0, 4, 0, 0),
        "val": (2, 0, 0, 2, 0, 0, 0, 2, 0, 0),
        "test": (2, 0, 0, 2, 0, 0, 0, 2, 0, 0),
    }
    assert manifest.subset == "a test subset"
    assert list(manifest.recordings.paths) == sorted(source.files)


def test_reset_rebuilds_this_variant_only(source: Any, storage: Storage, make_config: Make, contents: Make) -> None:
    other = prepare_source(make_config(overlap=0), storage, source)
    prepared = prepare_source(make_config(), storage, source)
    before, inode = contents(prepared.path), other.path.stat().st_ino
    for path in prepared.paths:
        shard = path / "train-00000.h5"
        shard.write_bytes(b"x" * shard.stat().st_size)
    source.read_paths.clear()
    assert prepare_source(make_config(reset_cache=True), storage, source).built
    assert [contents(path) for path in prepared.paths] == [before, before]
    assert len(source.read_paths) >= len(source.files)
    assert other.path.stat().st_ino == inode
    names = {entry.name for entry in prepared.path.parent.iterdir() if not entry.name.startswith(".")}
    assert names == {prepared.fingerprint, other.fingerprint}


def test_during_a_reset_the_old_variant_stays_readable(
    source: Any, storage: Storage, make_config: Make, contents: Make
) -> None:
    prepared = prepare_source(make_config(), storage, source)
    before = contents(prepared.path)
    first = sorted(source.files)[0]
    source.files[first] = b"\xff" * len(source.files[first])  # outside the sensor: the rebuild fails
    with pytest.raises(RecordingError):
        prepare_source(make_config(reset_cache=True), storage, source)
    assert contents(prepared.path) == before


def test_a_damaged_recording_stops_with_its_name_and_the_rest_is_not_published(
    make_source: Make, make_files: Make, storage: Storage, make_config: Make
) -> None:
    files = make_files()
    files["Train/3/00002.bin"] = b"123456"
    with pytest.raises(RecordingError, match=r"Train/3/00002\.bin"):
        prepare_source(make_config(), storage, make_source(files))
    assert not [path for path in storage.scratch.data_dir("NMNIST").iterdir() if len(path.name) == 64]


def test_a_recording_without_events_stops_or_is_counted(
    make_source: Make, make_files: Make, storage: Storage, make_config: Make
) -> None:
    files = make_files()
    files["Train/3/00002.bin"] = bytes([0, 240, 0, 0, 0])  # an overflow record and no event
    with pytest.raises(RecordingError, match=r"Train/3/00002\.bin.*on_empty=skip"):
        prepare_source(make_config(), storage, make_source(files))
    source = make_source(files)
    prepared = prepare_source(make_config(on_empty="skip"), storage, source)
    manifest = load_manifest(prepared.path)
    assert [manifest.recordings.paths[row] for row in manifest.skipped] == ["Train/3/00002.bin"]
    assert sum(split.n_recordings for split in manifest.splits.values()) == len(files) - 1
    assert verify(prepared.path, source) == []


def test_saturated_pixels_are_counted(make_source: Make, storage: Storage, make_config: Make) -> None:
    busy = bytes([5, 6, 0, 0, 1]) * 300  # one pixel 300 times in one frame
    files = {f"{split}/1/{n}.bin": busy for split in ("Train", "Test") for n in range(2)}
    prepared = prepare_source(make_config(events_per_frame=300, overlap=0), storage, make_source(files))
    assert load_manifest(prepared.path).n_saturated == 4


def test_two_at_once_end_in_one_correct_variant(
    make_source: Make, storage: Storage, make_config: Make, contents: Make
) -> None:
    results: list[Any] = []
    threads = [
        threading.Thread(target=lambda: results.append(prepare_source(make_config(), storage, make_source())))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({prepared.path for prepared in results}) == 1
    assert len(results) == 4
    assert verify(results[0].path) == []
    assert len([p for p in results[0].path.parent.iterdir() if not p.name.startswith(".")]) == 1


def test_with_locks_that_do_not_lock_the_bytes_are_the_same(
    make_source: Make, storage: Storage, make_config: Make, contents: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = prepare_source(make_config(), storage, make_source())
    wanted = contents(reference.path)
    monkeypatch.setattr("fcntl.flock", lambda descriptor, operation: None)  # as on some network file systems
    for _ in range(5):
        for path in reference.paths:
            shutil.rmtree(path)
        with ThreadPoolExecutor(3) as pool:
            runs = [pool.submit(prepare_source, make_config(workers=1), storage, make_source()) for _ in range(3)]
        assert [run.exception() for run in runs] == [None, None, None]
        assert [contents(path) for path in reference.paths] == [wanted, wanted]


def test_parts_side_by_side_are_published_by_the_last(
    source: Any, storage: Storage, make_config: Make, contents: Make
) -> None:
    whole = prepare_source(make_config(), storage, source)
    wanted = contents(whole.path)
    for path in whole.paths:
        shutil.rmtree(path)
    parts = [prepare_source(make_config(), storage, source, shard=(number, 3)) for number in (2, 1, 3)]
    assert [part.manifest is None for part in parts] == [True, True, False]
    assert [contents(path) for path in parts[-1].paths] == [wanted, wanted]


def test_the_summary_says_where_what_and_how_to_go_on(source: Any, storage: Storage, make_config: Make) -> None:
    config = make_config()
    prepared = prepare_source(config, storage, source)
    text = "\n".join(cache.summary_lines(prepared, config))
    for part in (*map(str, prepared.paths), prepared.fingerprint, "a test subset", "train", "val", "test"):
        assert part in text
    assert "./train.sh configs/nmnist_difflogic.yaml my_job --override" in text
    assert f"data.variant={prepared.fingerprint[:12]}" in text
