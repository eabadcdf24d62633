"""Frames of a stream in pieces against those of the whole recording."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from difflogic_tonic.cache.fingerprint import parameters_of
from difflogic_tonic.config import PrepareConfig, SensorSize
from difflogic_tonic.config.sections import build_section
from difflogic_tonic.errors import ConfigError, RecordingError
from difflogic_tonic.events import Events, FrameRecipe, encode_atis, frame_recording, make_events, recipe_from_config
from difflogic_tonic.events.framing import frame_events_plain
from difflogic_tonic.events.live import AtisStream, Framer, LiveFrames
from difflogic_tonic.events.recipe import recipe_from_parameters

SENSOR = SensorSize(width=6, height=3, polarities=2)


def random_events(seed: int, n: int) -> Events:
    rng = np.random.default_rng(seed)
    steps = rng.choice([0, 1, 3, 40], n)
    x, y = rng.integers(0, SENSOR.width, n), rng.integers(0, SENSOR.height, n)
    return make_events(x, y, np.cumsum(steps), rng.integers(0, 2, n))


def in_pieces(framer: Framer, events: Events, cuts: list[int]) -> list[LiveFrames]:
    edges = [0, *sorted(min(cut, len(events)) for cut in cuts), len(events)]
    pieces = [framer.take(events[start:end]) for start, end in pairwise(edges)]
    return [*pieces, framer.finish()]


RECIPES = st.builds(
    FrameRecipe,
    sensor=st.just(SENSOR),
    slice_by=st.sampled_from(["events", "time"]),
    slice_size=st.integers(5, 60),
    overlap=st.integers(0, 4),
    include_incomplete=st.booleans(),
    denoise_us=st.sampled_from([0, 30]),
    denoise_warmup=st.sampled_from(["keep", "drop"]),
    refractory_us=st.sampled_from([0, 20]),
    crop=st.sampled_from([None, (1, 0, 4, 3)]),
    downsample=st.sampled_from([1, 2]),
    storage=st.sampled_from(["u8", "bits"]),
) | st.builds(FrameRecipe, sensor=st.just(SENSOR), slice_by=st.just("duration"), slice_size=st.integers(5, 90))


@given(RECIPES, st.integers(0, 2**32), st.integers(0, 150), st.lists(st.integers(0, 150), max_size=12))
@settings(max_examples=150, deadline=None)
def test_pieces_give_the_frames_of_the_whole(recipe, seed, n, cuts):
    events = random_events(seed, n)
    framed = frame_events_plain(events, recipe, "whole")
    framer = Framer(recipe)
    pieces = in_pieces(framer, events, cuts)
    assert np.array_equal(np.concatenate([piece.frames for piece in pieces]), framed.frames)
    assert (framer.n_seen, framer.n_kept) == (n, framed.n_events)
    if recipe.storage == "u8":
        counted = np.concatenate([piece.n_events for piece in pieces])
        assert np.array_equal(counted, framed.frames.sum(1))


def test_a_frame_comes_with_the_event_that_fills_it():
    events = random_events(0, 30)
    framer = Framer(FrameRecipe(SENSOR, slice_size=10))
    given_out = [len(framer.take(events[i : i + 1])) for i in range(30)]
    assert np.flatnonzero(given_out).tolist() == [9, 19, 29]
    framer = Framer(FrameRecipe(SENSOR, slice_size=10))
    assert framer.take(events).ends_us.tolist() == events.t[[9, 19, 29]].tolist()


def test_a_window_comes_when_its_time_is_over():
    events = make_events([0] * 4, [0] * 4, [5, 7, 25, 26], [1] * 4)
    framer = Framer(FrameRecipe(SENSOR, slice_by="time", slice_size=10))
    given_out = [framer.take(events[i : i + 1]) for i in range(4)]
    assert [piece.n_events.tolist() for piece in given_out] == [[], [], [2, 0], []]  # 5 to 14 and 15 to 24 µs
    assert given_out[2].ends_us.tolist() == [7, 7]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.lists(st.integers(1, 40), min_size=1, max_size=60))
def test_atis_records_may_be_cut_anywhere(seed, sizes):
    rng = np.random.default_rng(seed)
    whole = make_events(*rng.integers(0, 3, (2, 40)), np.cumsum(rng.integers(0, 20_000, 40)), rng.integers(0, 2, 40))
    data = encode_atis(whole)
    stream, found, at = AtisStream(), [], 0
    for size in [*sizes, len(data)]:
        found.append(stream.take(data[at : at + size]))
        at += size
    for name in ("x", "y", "t", "p"):
        assert np.concatenate([getattr(part, name) for part in found]).tolist() == getattr(whole, name).tolist()
    assert stream.cut_off == 0


def test_a_record_that_is_cut_off_is_known():
    stream = AtisStream()
    assert len(stream.take(encode_atis(random_events(1, 3))[:-2])) == 2
    assert stream.cut_off == 3


def test_what_needs_the_whole_recording_is_refused():
    with pytest.raises(ConfigError, match="a stream has no end; train on data prepared with events_per_frame"):
        Framer(FrameRecipe(SENSOR, slice_by="time_bins", slice_size=3))
    with pytest.raises(ConfigError, match=r"data\.hot_pixels looks at whole recordings"):
        Framer(FrameRecipe(SENSOR, slice_size=3, hot_pixels=2.0))


def test_a_pixel_off_the_sensor_and_time_that_runs_back_are_errors():
    framer = Framer(FrameRecipe(SENSOR, slice_by="time", slice_size=10))
    framer.take(random_events(0, 5))
    with pytest.raises(
        RecordingError, match=r"the stream, after 5 events: pixel x=6 y=0 of event 1 is outside the 6x3"
    ):
        framer.take(make_events([0, 6], [0, 0], [10**6, 10**6], [0, 0]))
    framer.take(make_events([0], [0], [2 * 10**6], [0]))
    with pytest.raises(RecordingError, match="comes after later ones"):
        framer.take(make_events([0], [0], [10**6], [0]))


def test_a_gap_that_no_memory_has_room_for_is_an_error():
    framer = Framer(FrameRecipe(SENSOR, slice_by="time", slice_size=1))
    framer.take(make_events([0], [0], [0], [0]))
    with pytest.raises(RecordingError, match="the stream: would become"):
        framer.take(make_events([0], [0], [2**40], [0]))


@pytest.mark.parametrize(
    "slicing",
    [
        {"events_per_frame": 40, "overlap": 0.25, "include_incomplete": True},
        {"time_window": 900, "frames": "bits", "denoise_time": 500, "crop": [1, 2, 20, 20]},
        {"frame_duration": 700, "frames": "thermometer", "levels": [1, 3], "downsample": 2, "refractory_time": 7},
    ],
)
def test_a_manifest_tells_how_its_frames_were_made(slicing):
    data = {"name": "NMNIST", "data_root": "raw", **slicing}
    config = build_section(PrepareConfig, {"data": data}, "a test")
    recipe = recipe_from_config(config)
    assert recipe_from_parameters(parameters_of(config)) == recipe
    data = encode_atis(make_events(*np.random.default_rng(0).integers(0, 30, (2, 300)), np.arange(300) * 15, [1] * 300))
    framer = Framer(recipe)
    found = [framer.take(AtisStream().take(data)).frames, framer.finish().frames]
    assert np.array_equal(np.concatenate(found), frame_recording(data, recipe, "whole").frames)
