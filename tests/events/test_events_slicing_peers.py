"""Agreement with tonic 1.7.0 and SpikingJelly 2.0.0 on random streams, and every difference, each in a test."""

import importlib
import importlib.util
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from difflogic_tonic.config import DATASETS, SensorSize
from difflogic_tonic.events import (
    Events,
    FrameRecipe,
    decode_atis,
    denoise,
    encode_atis,
    frame_events,
    frame_recording,
    make_events,
)
from difflogic_tonic.events.filters import refractory

pytestmark = pytest.mark.integration
SENSOR = SensorSize(width=4, height=3, polarities=2)
EVENT = np.dtype([("x", int), ("y", int), ("t", int), ("p", int)])
MANY = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much]}


@pytest.fixture(scope="module")
def tonic() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tonic = pytest.importorskip("tonic")
        pytest.importorskip("tonic.transforms")
    assert tonic.__version__ == "1.7.0", "the release that our semantics are stated for"
    return tonic  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def spikingjelly() -> Iterator[ModuleType]:
    """`spikingjelly.datasets.utils` alone, without the libraries that it imports for pictures and downloads."""
    found = importlib.util.find_spec("spikingjelly")
    if found is None or found.submodule_search_locations is None:
        pytest.skip("spikingjelly is not installed")
    package = ModuleType("spikingjelly.datasets")
    package.__path__ = [f"{found.submodule_search_locations[0]}/datasets"]
    unused = ("spikingjelly.logger", "matplotlib", "matplotlib.pyplot", "torchvision", "torchvision.transforms")
    replaced = {"spikingjelly.datasets": package} | {name: MagicMock() for name in unused}
    before = {name: sys.modules.get(name) for name in replaced}
    sys.modules.update(replaced)
    try:
        yield importlib.import_module("spikingjelly.datasets.utils")
    finally:
        for name, module in before.items():
            sys.modules.pop(name)
            if module:
                sys.modules[name] = module


@st.composite
def streams(draw: st.DrawFn) -> Events:
    """Events in order of time: dense, sparse, with pauses, with equal times, starting anywhere."""
    n = draw(st.integers(1, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    step = draw(st.sampled_from([0, 1, 5, 100, 3000]))
    t = np.cumsum(rng.integers(0, step + 1, n)) + draw(st.sampled_from([0, 7, 1_000_003]))
    if draw(st.booleans()):
        t[n // 2 :] += draw(st.sampled_from([1, 50, 20_000]))
    return make_events(rng.integers(0, 4, n), rng.integers(0, 3, n), t, rng.integers(0, 2, n))


def structured(events: Events) -> np.ndarray:
    array = np.zeros(len(events), EVENT)
    for name in EVENT.names or ():
        array[name] = getattr(events, name)
    return array


def columns(events: Events) -> dict[str, np.ndarray]:
    return {"t": events.t, "x": events.x, "y": events.y, "p": events.p}


def ours(events: Events, size: int, slice_by: str, **options: Any) -> np.ndarray:
    """[T, P, H, W], by both ways to machine code."""
    recipe = FrameRecipe(SENSOR, size, slice_by=slice_by, **options)  # type: ignore[arg-type]
    frames = frame_events(events, recipe, "a.bin").frames
    assert np.array_equal(frames, frame_recording(encode_atis(events), recipe, "a.bin").frames)
    return frames.reshape(-1, *recipe.frame_shape)


def times(*values: int) -> Events:
    """Events at these times in one pixel."""
    return make_events([1] * len(values), [2] * len(values), values, [1] * len(values))


def sums(frames: np.ndarray) -> list[int]:
    return frames.sum(axis=(1, 2, 3)).astype(int).tolist()  # type: ignore[no-any-return]


@settings(max_examples=300, **MANY)
@given(streams(), st.integers(1, 40), st.data(), st.booleans())
def test_events_per_frame(tonic: ModuleType, events: Events, size: int, data: st.DataObject, incomplete: bool):
    overlap = data.draw(st.integers(0, size - 1))
    theirs = tonic.transforms.ToFrame(
        tuple(SENSOR), event_count=size, overlap=overlap, include_incomplete=incomplete
    )(structured(events))  # fmt: skip
    assert np.array_equal(ours(events, size, "events", overlap=overlap, include_incomplete=incomplete), theirs)


@settings(max_examples=400, **MANY)
@given(streams(), st.integers(1, 5), st.integers(1, 60), st.data(), st.booleans())
def test_time_window(tonic: ModuleType, events: Events, spans: int, part: int, data: st.DataObject, incomplete: bool):
    window = max(1, int(events.t[-1] - events.t[0]) * spans // part)
    overlap = data.draw(st.sampled_from([0, 0, window // 3, window * 4 // 5]))
    theirs = tonic.transforms.ToFrame(
        tuple(SENSOR), time_window=window, overlap=overlap, include_incomplete=incomplete
    )(structured(events))  # fmt: skip
    assert np.array_equal(ours(events, window, "time", overlap=overlap, include_incomplete=incomplete), theirs)


@settings(max_examples=400, **MANY)
@given(streams(), st.integers(1, 40), st.sampled_from([0.0, 0.0, 0.1, 0.25, 1 / 3, 0.5, 0.9]))
def test_time_bins(tonic: ModuleType, events: Events, bins: int, overlap: float):
    bins = min(bins, max(1, int(events.t[-1] - events.t[0])))  # below one µs a bin we differ
    assume(events.t[0] < events.t[-1])
    theirs = tonic.transforms.ToFrame(tuple(SENSOR), n_time_bins=bins, overlap=overlap)(structured(events))
    assert np.array_equal(ours(events, bins, "time_bins", overlap=overlap), theirs)


@settings(max_examples=300, **MANY)
@given(streams(), st.integers(1, 40), st.sampled_from([0.0, 0.0, 0.1, 0.25, 1 / 3, 0.5, 0.9]))
def test_event_bins(tonic: ModuleType, events: Events, bins: int, overlap: float):
    bins = min(bins, len(events))
    assume(int(int(len(events) // bins * (1 + overlap)) * (1 - overlap)) > 0)  # in tonic they may not advance
    theirs = tonic.transforms.ToFrame(tuple(SENSOR), n_event_bins=bins, overlap=overlap)(structured(events))
    assert np.array_equal(ours(events, bins, "event_bins", overlap=overlap), theirs)


@settings(max_examples=300, **MANY)
@given(streams(), st.integers(1, 70))
def test_frames_by_number(spikingjelly: ModuleType, events: Events, frames: int):
    theirs = spikingjelly.integrate_events_by_fixed_frames_number(columns(events), "number", frames, 3, 4)
    assert np.array_equal(ours(events, frames, "number"), theirs)


@settings(max_examples=300, **MANY)
@given(streams(), st.integers(1, 12))
def test_frames_by_time(spikingjelly: ModuleType, events: Events, frames: int):
    found = ours(events, frames, "number_by_time")
    assert found.sum() == len(events)
    duration = int(events.t[-1] - events.t[0]) // frames
    in_frame = (events.t - events.t[0]) // max(1, duration)
    every_frame_has_events = set(range(frames)) <= set(in_frame.tolist())  # at one without any it stops
    assume(duration > 0 and every_frame_has_events)
    theirs = spikingjelly.integrate_events_by_fixed_frames_number(columns(events), "time", frames, 3, 4)
    assert np.array_equal(found, theirs)


@settings(max_examples=300, **MANY)
@given(streams(), st.integers(1, 40))
def test_frame_duration(spikingjelly: ModuleType, events: Events, parts: int):
    duration = max(1, int(events.t[-1] - events.t[0]) // parts)
    assume(events.t[0] < events.t[-1])
    theirs = spikingjelly.integrate_events_by_fixed_duration(columns(events), duration, 3, 4)
    assert np.array_equal(ours(events, duration, "duration"), theirs)


@settings(max_examples=200, **MANY)
@given(streams(), st.integers(1, 5000))
def test_refractory_period(tonic: ModuleType, events: Events, refractory_us: int):
    later = Events(events.x, events.y, events.t + 1, events.p)  # tonic loses first events at time 0
    theirs = tonic.transforms.RefractoryPeriod(refractory_us)(structured(later))
    assert np.array_equal(structured(refractory(later, refractory_us)), theirs)


@pytest.mark.parametrize("denoise_us", [0, 2000])
def test_original_recordings_in_every_way(
    tonic: ModuleType, spikingjelly: ModuleType, nmnist_raw: Path, denoise_us: int
):
    nmnist = DATASETS["NMNIST"].sensor
    for path in sorted(nmnist_raw.rglob("*.bin"))[:: 200 if denoise_us else 50]:
        content = path.read_bytes()
        kept = denoise(decode_atis(content, nmnist, path.name), denoise_us)

        def check(theirs: np.ndarray, size: int, slice_by: str, content: bytes = content, **options: Any) -> None:
            recipe = FrameRecipe(nmnist, size, slice_by=slice_by, denoise_us=denoise_us, **options)  # type: ignore[arg-type]
            found = frame_recording(content, recipe, "a.bin").frames.reshape(-1, *recipe.frame_shape)
            assert np.array_equal(found, theirs)

        def to_frame(kept: Events = kept, **options: Any) -> np.ndarray:
            return tonic.transforms.ToFrame(tuple(nmnist), **options)(structured(kept))  # type: ignore[no-any-return]

        check(to_frame(event_count=500, overlap=100), 500, "events", overlap=100)
        check(to_frame(time_window=20_000, include_incomplete=True), 20_000, "time", include_incomplete=True)
        check(to_frame(time_window=30_000, overlap=10_000), 30_000, "time", overlap=10_000)
        check(to_frame(n_time_bins=10), 10, "time_bins")
        check(to_frame(n_time_bins=7, overlap=0.3), 7, "time_bins", overlap=0.3)
        check(to_frame(n_event_bins=10, overlap=0.3), 10, "event_bins", overlap=0.3)
        fixed_number = spikingjelly.integrate_events_by_fixed_frames_number
        check(fixed_number(columns(kept), "number", 10, 34, 34), 10, "number")
        check(fixed_number(columns(kept), "time", 10, 34, 34), 10, "number_by_time")
        check(spikingjelly.integrate_events_by_fixed_duration(columns(kept), 30_000, 34, 34), 30_000, "duration")


# Differences, with what the peer does. Our side of each is also in test_events_slicing_vectors.py, without the peer.


def test_bins_of_less_than_a_microsecond_do_not_give_empty_frames(tonic: ModuleType):
    events = times(3, 4, 4, 5)
    assert sums(ours(events, 8, "time_bins")) == [1, 2, 1, 0, 0, 0, 0, 0]
    assert sums(tonic.transforms.ToFrame(tuple(SENSOR), n_time_bins=8)(structured(events))) == [0] * 8


def test_bins_of_less_than_an_event_do_not_give_empty_frames(tonic: ModuleType):
    events = times(3, 4, 5)
    assert sums(ours(events, 5, "event_bins")) == [1, 1, 1, 0, 0]
    assert sums(tonic.transforms.ToFrame(tuple(SENSOR), n_event_bins=5)(structured(events))) == [0] * 5


def test_event_bins_advance_whatever_the_overlap(tonic: ModuleType):
    events = make_events([0, 1, 2], [0, 0, 0], [0, 1, 2], [0, 0, 0])
    assert [np.argwhere(frame)[0, 2] for frame in ours(events, 3, "event_bins", overlap=0.5)] == [0, 1, 2]
    theirs = tonic.transforms.ToFrame(tuple(SENSOR), n_event_bins=3, overlap=0.5)(structured(events))
    assert [np.argwhere(frame)[0, 2] for frame in theirs] == [0, 0, 0]


def test_counts_stop_where_tonics_turn_negative(tonic: ModuleType):
    events = times(*[0] * 40_000)
    assert ours(events, 40_000, "events").max() == 255
    assert tonic.transforms.ToFrame(tuple(SENSOR), event_count=40_000)(structured(events)).min() < 0


def test_a_fraction_of_overlap_is_of_a_frame_where_tonic_takes_it_for_events(tonic: ModuleType):
    events = times(*range(10))
    assert sums(ours(events, 4, "events", overlap=2)) == [4, 4, 4, 4]  # data.overlap: 0.5
    theirs = tonic.transforms.ToFrame(tuple(SENSOR), event_count=4, overlap=0.5)(structured(events))
    assert sums(theirs) == [4, 4]


def test_events_out_of_order_are_counted_where_tonic_counts_none(tonic: ModuleType):
    events = times(*range(90, -1, -10))
    framed = frame_events(events, FrameRecipe(SENSOR, 30, slice_by="time"), "a.bin")
    assert sums(framed.frames.reshape(-1, 2, 3, 4)) == [3, 3, 3]
    assert sums(tonic.transforms.ToFrame(tuple(SENSOR), time_window=30)(structured(events))) == [0]


def test_a_first_event_at_time_0_is_not_refractory(tonic: ModuleType):
    events = times(0, 50)
    assert refractory(events, 10).t.tolist() == [0, 50]
    assert tonic.transforms.RefractoryPeriod(10)(structured(events))["t"].tolist() == [50]


def test_no_events_give_no_frames_where_tonic_exchanges_height_and_width(tonic: ModuleType):
    assert frame_events(times(), FrameRecipe(SENSOR, 3, slice_by="time_bins"), "a.bin").frames.shape == (0, 24)
    assert tonic.transforms.ToFrame(tuple(SENSOR), n_time_bins=3)(structured(times())).shape == (3, 2, 4, 3)


def test_a_frame_of_time_without_events_is_empty_where_spikingjelly_stops(spikingjelly: ModuleType):
    events = times(0, 1, 95)
    assert sums(ours(events, 3, "number_by_time")) == [2, 0, 1]
    with pytest.raises(IndexError):
        spikingjelly.integrate_events_by_fixed_frames_number(columns(events), "time", 3, 3, 4)


def test_frames_of_less_than_a_microsecond_are_one_long_where_spikingjelly_stops(spikingjelly: ModuleType):
    events = times(3, 4, 4, 5)
    assert sums(ours(events, 5, "number_by_time")) == [1, 2, 1, 0, 0]
    with pytest.raises(IndexError):
        spikingjelly.integrate_events_by_fixed_frames_number(columns(events), "time", 5, 3, 4)


def test_equal_times_are_one_frame_where_spikingjelly_stops(spikingjelly: ModuleType):
    events = times(5, 5, 5)
    assert sums(ours(events, 30, "duration")) == [3]
    with pytest.raises(IndexError):
        spikingjelly.integrate_events_by_fixed_duration(columns(events), 30, 3, 4)
