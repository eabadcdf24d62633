"""Frames and statistics as arrays, and the pictures of them."""

from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from difflogic_tonic.cache import CacheReader
from difflogic_tonic.errors import CacheAmbiguous, CacheMissing, ConfigError
from difflogic_tonic.storage import Storage
from difflogic_tonic.sync import sampling
from difflogic_tonic.sync.command import run
from difflogic_tonic.sync.pictures import OFF_COLOUR, ON_COLOUR, colours_of, full_colour, joined
from difflogic_tonic.sync.sampling import Sample, Statistics, durations_s, evenly_spaced, measure, read_sample

Command = Callable[..., Namespace]
Find = Callable[[str], Path]
CLAP, WAVE = 0, 2
"""Rows of the first recording of each class in the training split."""


def sample_of(folder: Path, row: int) -> Sample:
    cache = CacheReader(folder)
    return read_sample(cache.manifest, cache.split("train"), "train", row)


def statistics_of(folder: Path, **options: int) -> Statistics:
    cache = CacheReader(folder)
    return measure(cache.manifest, cache.split("train"), "train", **options)


def nonzero(counts: np.ndarray) -> dict[tuple[int, ...], int]:
    """Frame, polarity, row, column → count."""
    return {tuple(place): int(counts[tuple(place)]) for place in np.argwhere(counts).tolist()}


def test_a_sample_has_the_frames_and_the_name_of_its_recording(folder_of: Find) -> None:
    sample = sample_of(folder_of("counts"), WAVE)
    assert (sample.class_name, sample.source, sample.n_events) == ("wave", "Train/wave/a.csv", 4)
    assert nonzero(sample.counts) == {(0, 0, 0, 0): 1, (0, 1, 2, 4): 1, (1, 1, 2, 4): 1, (1, 0, 2, 1): 1}
    assert sample.counts.shape == (2, 2, 3, 5)


def test_bits_are_unpacked_to_their_pixels(folder_of: Find) -> None:
    sample = sample_of(folder_of("bits"), WAVE)
    assert nonzero(sample.counts) == {(0, 0, 0, 0): 1, (0, 0, 2, 1): 1, (0, 1, 2, 4): 1}


def test_planes_of_a_thermometer_become_the_level_that_was_reached(folder_of: Find) -> None:
    """Levels 1 and 3: three events of one pixel reach the second."""
    sample = sample_of(folder_of("levels"), CLAP)
    assert nonzero(sample.counts) == {(0, 1, 1, 2): 2, (0, 0, 0, 3): 1}
    assert sample.counts.shape == (1, 2, 3, 5)


def test_statistics_of_a_split_by_hand(folder_of: Find) -> None:
    """Two recordings of each class; each has two frames of two events."""
    found = statistics_of(folder_of("counts"))
    assert found.labels.tolist() == [0, 0, 1, 1]
    assert found.n_events.tolist() == [4, 4, 4, 4]
    assert found.n_frames.tolist() == [2, 2, 2, 2]
    assert found.per_frame.tolist() == [2] * 8
    assert found.mean.shape == (2, 3, 5)
    assert found.mean[1, 1, 2] == 3 * 2 / 8
    assert found.mean[1, 2, 4] == 2 * 2 / 8
    assert found.mean.sum() == pytest.approx(2)
    assert found.values[:4].tolist() == [8 * 30 - 14, 12, 2, 0]


def test_statistics_of_a_large_split_are_made_from_evenly_spaced_frames(folder_of: Find) -> None:
    found = statistics_of(folder_of("counts"), read_bytes=4 * 30)
    assert found.n_read == 4
    assert len(found.n_frames) == 4
    assert found.values.sum() == 4 * 30


def test_durations_are_known_where_frames_are_spans_of_time(folder_of: Find) -> None:
    """Windows of 20 µs that advance by 10."""
    reader: Any = SimpleNamespace(offsets=np.array([0, 1, 4]), spans_us=np.empty((0, 2), np.int64))
    assert durations_s(CacheReader(folder_of("times")).manifest, reader).tolist() == [20e-6, 40e-6]  # type: ignore[union-attr]
    assert durations_s(CacheReader(folder_of("counts")).manifest, reader) is None


def test_durations_of_kept_events_are_known_however_they_are_sliced(folder_of: Find) -> None:
    reader: Any = SimpleNamespace(offsets=np.array([0, 1, 4]), spans_us=np.array([[5, 25], [7, 7]]))
    assert durations_s(CacheReader(folder_of("counts")).manifest, reader).tolist() == [20e-6, 0]  # type: ignore[union-attr]


def test_on_is_blue_off_is_orange_and_nothing_is_white(folder_of: Find) -> None:
    folder = folder_of("counts")
    colours = colours_of(sample_of(folder, WAVE).counts[0], 1, CacheReader(folder).manifest)
    assert colours.shape == (3, 5, 3)
    assert tuple(colours[0, 0]) == OFF_COLOUR
    assert tuple(colours[2, 4]) == ON_COLOUR
    assert tuple(colours[1, 1]) == (255, 255, 255)


def test_the_full_colour_is_that_of_the_99th_percentile_of_what_fired() -> None:
    """Of 200 pixels that fired, 196 counted 2 events, three 5 and one 255."""
    counts = np.zeros((2, 1, 11, 20), np.uint8)
    counts.reshape(-1)[:200] = [2] * 196 + [5] * 3 + [255]
    assert full_colour(list(counts)) == 5
    assert full_colour([np.zeros((2, 3, 5), np.uint8)]) == 1


def test_a_small_picture_of_a_large_sensor_loses_no_event() -> None:
    """3 × 5 pixels joined in squares of 2."""
    counts = np.zeros((2, 3, 5), np.uint8)
    counts[0, :2, :2] = 100
    counts[1, 2, 4] = 7
    assert joined(counts, 2, is_image=False).tolist() == [[[400, 0, 0], [0, 0, 0]], [[0, 0, 0], [0, 0, 7]]]
    assert joined(counts, 2, is_image=True)[0].tolist() == [[100, 0, 0], [0, 0, 0]]
    assert np.array_equal(joined(counts, 1, is_image=False), counts)


def test_frames_of_many_are_chosen_from_the_first_on() -> None:
    assert evenly_spaced(3, 40) == (0, 1, 2)
    assert evenly_spaced(100, 4) == (0, 25, 50, 75)


def test_a_long_recording_is_thinned_when_it_is_read(folder_of: Find, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "SAMPLE_FRAMES", 1)
    sample = sample_of(folder_of("counts"), WAVE)
    assert (sample.frames, sample.n_frames, len(sample.counts)) == ((0,), 2, 1)


def test_show_writes_sheet_animation_and_charts(
    storage: Storage, folder_of: Find, command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prefix = folder_of("counts").name[:10]
    words = ("show", "folder", "--variant", prefix, "--sample", str(WAVE), "--output", str(tmp_path / "out"))
    assert run(command(*words), storage) == 0
    names = ["sample-train-00002.png", "sample-train-00002.gif", "statistics-train.png"]
    assert capsys.readouterr().out.split() == [str(tmp_path / "out" / name) for name in names]
    with Image.open(tmp_path / "out" / names[1]) as animation:
        assert (animation.format, animation.n_frames) == ("GIF", 2)  # type: ignore[attr-defined]
        shown = np.asarray(animation.convert("RGB")).astype(int)
    side = shown.shape[1] // 5
    assert np.abs(shown[side // 2, side // 2] - OFF_COLOUR).max() < 8
    assert np.abs(shown[2 * side + side // 2, 4 * side + side // 2] - ON_COLOUR).max() < 8
    with Image.open(tmp_path / "out" / names[0]) as sheet:
        assert sheet.format == "PNG"
        assert {tuple(colour) for colour in np.asarray(sheet.convert("RGB")).reshape(-1, 3)} >= {ON_COLOUR, OFF_COLOUR}
    with Image.open(tmp_path / "out" / names[2]) as charts:
        assert charts.format == "PNG"


@pytest.mark.integration
@pytest.mark.parametrize("name", ["bits", "levels", "times"])
def test_every_kind_of_frame_can_be_shown(storage: Storage, folder_of: Find, command: Command, name: str) -> None:
    assert run(command("show", "FOLDER", "--variant", folder_of(name).name, "--split", "test"), storage) == 0
    (folder,) = (storage.project.root / "pictures").iterdir()
    assert sorted(path.name for path in folder.iterdir()) == [
        "sample-test-00000.gif",
        "sample-test-00000.png",
        "statistics-test.png",
    ]


def test_a_recording_or_variant_that_is_not_there_is_answered_with_what_is(
    storage: Storage, folder_of: Find, command: Command
) -> None:
    start = folder_of("counts").name[:12]
    with pytest.raises(ConfigError, match=r"--sample 4: recordings of train of FOLDER \w+: 0 to 3"):
        run(command("show", "FOLDER", "--variant", start, "--sample", "4"), storage)
    with pytest.raises(ConfigError, match=r"recordings of val .*: none"):
        run(command("show", "FOLDER", "--variant", start, "--split", "val"), storage)
    with pytest.raises(CacheAmbiguous, match=f"4 variants of FOLDER fit: .*{start}"):
        run(command("show", "FOLDER"), storage)
    with pytest.raises(CacheMissing, match="there is no prepared NMNIST; there are: FOLDER"):
        run(command("show", "NMNIST"), storage)
