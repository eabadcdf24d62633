"""The machine code of all ways to slice, filter and store computes what the plain numpy steps compute."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from difflogic_tonic.config import SensorSize
from difflogic_tonic.events import (
    FrameRecipe,
    encode_atis,
    frame_events,
    frame_events_plain,
    frame_recording,
    frame_recording_plain,
    make_events,
)
from difflogic_tonic.events.formats import HEAD_BYTES, decode, detect

SIZES = {
    "events": (1, 30), "time": (1, 400), "time_bins": (1, 20), "event_bins": (1, 20),
    "number": (1, 20), "number_by_time": (1, 20), "duration": (1, 400),
}  # fmt: skip


@st.composite
def recipes(draw: st.DrawFn) -> FrameRecipe:
    """Any way to slice, with any filters, on a small sensor of any shape."""
    sensor = SensorSize(draw(st.integers(1, 9)), draw(st.integers(1, 7)), draw(st.sampled_from([1, 2])))
    slice_by = draw(st.sampled_from(sorted(SIZES)))
    size = draw(st.integers(*SIZES[slice_by]))
    overlap: Any = 0
    if slice_by in ("events", "time"):
        overlap = draw(st.integers(0, size - 1))
    elif slice_by in ("time_bins", "event_bins"):
        overlap = draw(st.one_of(st.integers(0, 9), st.floats(0, 0.99)))
    crop = None
    if draw(st.booleans()):
        left, top = draw(st.integers(0, sensor.width - 1)), draw(st.integers(0, sensor.height - 1))
        crop = left, top, draw(st.integers(1, sensor.width - left)), draw(st.integers(1, sensor.height - top))
    storage = draw(st.sampled_from(["u8", "bits", "bits"]))
    filtered = draw(st.booleans())
    return FrameRecipe(
        sensor,
        size,
        overlap,
        include_incomplete=draw(st.booleans()),
        denoise_us=draw(st.sampled_from([0, 0, 3, 50, 10_000])),
        denoise_warmup=draw(st.sampled_from(["keep", "drop"])),
        storage=storage,
        slice_by=slice_by,  # type: ignore[arg-type]
        hot_pixels=draw(st.sampled_from([0.0, 1.0, 2.5])) if filtered else 0.0,
        refractory_us=draw(st.sampled_from([0, 4, 60])) if filtered else 0,
        crop=crop if filtered else None,
        downsample=draw(st.integers(1, 3)) if filtered else 1,
        levels=draw(st.sampled_from([(), (1,), (1, 2, 4)])) if storage == "bits" else (),
    )


@settings(max_examples=400, deadline=None)
@given(recipes(), st.integers(0, 2**32 - 1), st.integers(1, 300), st.sampled_from([1, 3, 30]), st.booleans())
def test_kernels_equal_the_plain_steps(recipe: FrameRecipe, seed: int, n: int, step: int, in_order: bool):
    rng = np.random.default_rng(seed)
    t = np.cumsum(rng.integers(0, step + 1, n))
    if not in_order:
        rng.shuffle(t)
    x, y = rng.integers(0, recipe.sensor.width, n), rng.integers(0, recipe.sensor.height, n)
    events = make_events(x, y, t, rng.integers(0, 2, n))
    plain = frame_events_plain(events, recipe, "a.es")
    fast = frame_events(events, recipe, "a.es")
    assert fast.frames.shape == plain.frames.shape
    assert np.array_equal(fast.frames, plain.frames)
    assert fast[1:] == plain[1:]
    if in_order:
        data = encode_atis(events)
        fused, plain = frame_recording(data, recipe, "a.bin"), frame_recording_plain(data, recipe, "a.bin")
        assert np.array_equal(fused.frames, plain.frames)
        assert fused[1:] == plain[1:]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["events", "time_bins", "number"]))
def test_so_many_events_that_counts_saturate(seed: int, slice_by: Any):
    rng = np.random.default_rng(seed)
    recipe = FrameRecipe(SensorSize(2, 1, 2), {"events": 1200}.get(slice_by, 3), slice_by=slice_by)
    n = int(rng.integers(2000, 4000))
    events = make_events(rng.random(n) < 0.1, np.zeros(n), np.arange(n), rng.random(n) < 0.3)
    plain, fast = frame_events_plain(events, recipe, "a.es"), frame_events(events, recipe, "a.es")
    assert np.array_equal(fast.frames, plain.frames)
    assert fast.n_saturated == plain.n_saturated > 0


def test_a_sensor_of_more_positions_than_16_bits_hold():
    sensor = SensorSize(width=346, height=260, polarities=2)
    events = make_events([345, 0], [259, 1], [0, 1], [1, 0])
    for frame in (frame_events, frame_events_plain):
        frames = frame(events, FrameRecipe(sensor, 2), "a.es").frames.reshape(1, 2, 260, 346)
        assert np.argwhere(frames).tolist() == [[0, 0, 1, 0], [0, 1, 259, 345]]


def test_framing_leaves_the_events_alone():
    events = make_events([3, 1, 0], [1, 0, 0], [9, 5, 7], [1, 0, 1])
    recipe = FrameRecipe(
        SensorSize(5, 2, 1), 3, slice_by="time", denoise_us=5, refractory_us=2, crop=(0, 0, 4, 2), downsample=2
    )
    for frame in (frame_events, frame_events_plain):
        frame(events, recipe, "a.es")
    assert [getattr(events, column).tolist() for column in "xytp"] == [[3, 1, 0], [1, 0, 0], [9, 5, 7], [1, 0, 1]]


@pytest.mark.integration
@pytest.mark.parametrize("name", ["dvs.es", "evt3_sample.raw", "sample_ncars.dat", "davis.aedat4"])
def test_recordings_of_real_cameras(test_data: Path, name: str):
    path = test_data / "fixtures" / name
    if not path.exists():
        pytest.skip(f"{path} is not there")
    data = path.read_bytes()
    format_name = detect(name, data[:HEAD_BYTES])
    assert format_name is not None
    events = decode(data, format_name, name).events
    sensor = SensorSize(int(events.x.max()) + 1, int(events.y.max()) + 1, 2)
    span = int(events.t.max() - events.t.min())
    for slice_by, size in (
        ("events", len(events) // 7),
        ("time", span // 7),
        ("time_bins", 7),
        ("duration", span // 7),
    ):
        recipe = FrameRecipe(sensor, size, slice_by=slice_by, format=format_name, downsample=3, storage="bits")  # type: ignore[arg-type]
        fast, plain = frame_recording(data, recipe, name), frame_recording_plain(data, recipe, name)
        assert np.array_equal(fast.frames, plain.frames)
        assert fast[1:] == plain[1:]
        assert len(fast.frames) >= 6
