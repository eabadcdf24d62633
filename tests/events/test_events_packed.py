"""Packed events: what is kept of a recording, and that every slicing of it is the slicing of the recording."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from difflogic_tonic.config import SensorSize
from difflogic_tonic.errors import RecordingError
from difflogic_tonic.events import Events, FrameRecipe, encode_atis, frame_events, make_events
from difflogic_tonic.events.framing import BY_TIME, Framed
from difflogic_tonic.events.packed import (
    DamagedEvents,
    check_counts,
    columns_of,
    fill_frames,
    frames_in,
    pack_events,
    pack_recording,
    slices_of,
    time_words,
    times_of,
)
from difflogic_tonic.events.recipe import position_words

SMALL = SensorSize(5, 3, 2)
LARGE = SensorSize(346, 260, 2)
COLUMNS = ("x", "y", "t", "p")


def parts(packed: Framed, sensor: SensorSize) -> tuple[np.ndarray, np.ndarray]:
    """Positions and times of packed events."""
    words = packed.frames.reshape(-1).view("<u2")
    lengths = np.array([len(words)]), np.array([packed.n_events])
    cut = packed.n_events * position_words(sensor)
    wide = int(time_words(*lengths, sensor)[0]) == 2
    positions = words[:cut].view("<u2" if position_words(sensor) == 1 else "<u4")
    return positions, times_of(words[cut:].view("<u4" if wide else "<u2"), np.array(packed.span_us))


def words_of(packed: Framed) -> list[int]:
    return packed.frames.reshape(-1).view("<u2").tolist()  # type: ignore[no-any-return]


def some_events(seed: int, n: int, step: int, in_order: bool, sensor: SensorSize = SMALL) -> Events:
    rng = np.random.default_rng(seed)
    t = 10**12 + np.cumsum(rng.integers(0, step + 1, n))
    if not in_order:
        rng.shuffle(t)
    return make_events(rng.integers(0, sensor.width, n), rng.integers(0, sensor.height, n), t, rng.integers(0, 2, n))


def test_a_packed_recording_by_hand():
    events = make_events([4, 0, 1], [2, 0, 1], [1_000_000, 1_000_007, 1_000_007], [1, 0, 1])
    packed = pack_events(events, SMALL, "a.bin")
    assert words_of(packed) == [15 + 14, 0, 15 + 6, 0, 7, 0]
    assert packed[1:] == (3, 0, (1_000_000, 1_000_007))


@pytest.mark.parametrize(
    ("times", "n_words"),
    [([5, 65_540], 1), ([5, 65_541], 2), ([5, 4], 2), ([5, 5 + 2**32 - 1], 2), ([0], 1)],
)
def test_times_take_two_words_where_neighbours_are_far_apart_or_out_of_order(times: list[int], n_words: int):
    n = len(times)
    packed = pack_events(make_events([0] * n, [0] * n, times, [0] * n), SMALL, "a.bin")
    assert len(packed.frames) == n * (1 + n_words)
    assert parts(packed, SMALL)[1].tolist() == times


def test_a_frame_of_more_than_65536_values_has_wider_positions():
    assert [position_words(SensorSize(*size, 2)) for size in ((128, 256), (173, 190), (346, 260))] == [1, 2, 2]
    packed = pack_events(make_events([345], [259], [0], [1]), LARGE, "a.bin")
    assert parts(packed, LARGE)[0].tolist() == [2 * 346 * 260 - 1]


def test_a_recording_of_more_than_71_minutes_with_a_gap_is_an_error_that_says_what_to_do():
    with pytest.raises(RecordingError, match=r"a\.bin: lasts 72 minutes; expected at most 71 .* cut the recording"):
        pack_events(make_events([0, 0], [0, 0], [0, 2**32], [0, 0]), SMALL, "a.bin")


@pytest.mark.parametrize(("n_words", "n_events"), [(5, 2), (2, 2), (8, 2), (3, 0)])
def test_lengths_that_no_recording_has_are_told(n_words: int, n_events: int):
    with pytest.raises(DamagedEvents, match="lengths of their events"):
        time_words(np.array([n_words]), np.array([n_events]), SMALL)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.sampled_from([3, 70_000]), st.booleans(), st.booleans())
def test_events_come_back_as_they_were(seed: int, n: int, step: int, in_order: bool, large: bool):
    sensor = LARGE if large else SMALL
    events = some_events(seed, n, step, in_order, sensor)
    again = columns_of(*parts(pack_events(events, sensor, "a.es"), sensor), sensor)
    for name in COLUMNS:
        column = getattr(again, name)
        assert column.dtype == getattr(events, name).dtype
        assert column.tolist() == getattr(events, name).tolist()


@st.composite
def slicings(draw: st.DrawFn) -> FrameRecipe:
    slice_by = draw(
        st.sampled_from(["events", "time", "time_bins", "event_bins", "number", "number_by_time", "duration"])
    )
    size = draw(st.integers(1, 400 if slice_by in ("time", "duration") else 25))
    overlap: Any = 0
    if slice_by in ("events", "time"):
        overlap = draw(st.integers(0, size - 1))
    elif slice_by in ("time_bins", "event_bins"):
        overlap = draw(st.one_of(st.integers(0, 9), st.floats(0, 0.99)))
    storage = draw(st.sampled_from(["u8", "bits"]))
    levels = draw(st.sampled_from([(), (1, 3)])) if storage == "bits" else ()
    incomplete = draw(st.booleans())
    return FrameRecipe(SMALL, size, overlap, incomplete, storage=storage, slice_by=slice_by, levels=levels)  # type: ignore[arg-type]


@settings(max_examples=300, deadline=None)
@given(slicings(), st.integers(0, 2**32 - 1), st.integers(1, 300), st.sampled_from([1, 3, 30]))
def test_frames_of_packed_events_are_those_of_the_recording(recipe: FrameRecipe, seed: int, n: int, step: int):
    events = some_events(seed, n, step, in_order=True)
    wanted = frame_events(events, recipe, "a.es").frames
    packed = pack_events(events, SMALL, "a.es")
    positions, times = parts(packed, SMALL)
    (count,) = frames_in(np.array([n]), np.array([packed.span_us]), recipe)
    slices = slices_of(n, times if recipe.slice_by in BY_TIME else times[:0], recipe)
    frames = np.full((count, recipe.frame_nbytes), 7, np.uint8)
    fill_frames(positions, 0, slices, frames, recipe)
    assert np.array_equal(frames, wanted)


def test_filters_are_applied_before_packing():
    events = make_events([0, 1, 2, 4], [0, 0, 2, 2], [0, 1, 2, 3], [0, 1, 0, 1])
    recipe = FrameRecipe(SMALL, 1, denoise_us=5, denoise_warmup="drop", downsample=2, storage="events")
    packed = pack_recording(encode_atis(events), recipe, "a.bin")
    assert recipe.counted == SensorSize(3, 2, 2)
    assert words_of(packed) == [6, 0]  # the second event only, at x=0, y=0 of the ON channel
    assert packed[1:] == (1, 0, (1, 1))


def test_a_pixel_outside_of_the_sensor_is_an_error_that_names_it():
    data = encode_atis(make_events([5], [0], [0], [0]))
    with pytest.raises(RecordingError, match=r"a\.bin: pixel x=5 y=0"):
        pack_recording(data, FrameRecipe(SMALL, 1, storage="events"), "a.bin")


def test_too_many_frames_are_an_error_that_names_the_recording():
    recipe = FrameRecipe(SensorSize(1000, 1000, 2), 1, slice_by="duration")
    counts = frames_in(np.array([2, 2]), np.array([[0, 3], [0, 10**6]]), recipe)
    assert counts.tolist() == [3, 10**6]
    with pytest.raises(RecordingError, match=r"b\.bin: would become 1,000,000 frames"):
        check_counts(counts, recipe, ["a.bin", "b.bin"])


@pytest.mark.parametrize("stored", [np.array([0, 5], "<u2"), np.array([1, 3], "<u2"), np.array([1, 4], "<u4")])
def test_times_that_are_not_within_their_span_are_damage(stored: np.ndarray):
    with pytest.raises(DamagedEvents, match=r"its events are from \d+ to \d+ µs, not from 10 to 14"):
        times_of(stored, np.array([10, 14]))
    assert times_of(np.array([0, 4], "<u2"), np.array([10, 14])).tolist() == [10, 14]


@pytest.mark.parametrize("storage", ["u8", "bits"])
def test_a_position_beyond_the_frame_is_damage_and_nothing_is_written(storage: Any):
    recipe, slices = FrameRecipe(SMALL, 2, storage=storage), np.array([[0, 2]])
    frames = np.full((1, recipe.frame_nbytes), 7, np.uint8)
    for highest in (30, 65535):
        positions = np.array([29, highest], np.uint16)
        with pytest.raises(DamagedEvents, match="in no pixel"):
            fill_frames(positions, 0, slices, frames, recipe)
        with pytest.raises(DamagedEvents, match="in no pixel"):
            columns_of(positions, np.array([0, 1]), SMALL)
    assert (frames == 7).all()
