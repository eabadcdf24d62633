"""Agreement with tonic 1.7.0: on random streams, and on every original recording of the fixture."""

import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from difflogic_tonic.config import DATASETS, SensorSize
from difflogic_tonic.events import FrameRecipe, decode_atis, denoise, encode_atis, frame_recording, make_events

pytestmark = pytest.mark.integration
SENSOR = SensorSize(width=7, height=4, polarities=2)
NMNIST = DATASETS["NMNIST"].sensor
EVENT = np.dtype([("x", int), ("y", int), ("t", int), ("p", int)])


@pytest.fixture(scope="module")
def tonic() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tonic = pytest.importorskip("tonic")
        pytest.importorskip("tonic.io")
    assert tonic.__version__ == "1.7.0", "the release that our semantics are stated for"
    return tonic  # type: ignore[no-any-return]


def oracle(tonic: ModuleType, events: np.ndarray, sensor: SensorSize, recipe: FrameRecipe) -> np.ndarray:
    """Frames as tonic makes them: i16[T, P, H, W]."""
    if recipe.denoise_us:
        events = tonic.transforms.Denoise(filter_time=recipe.denoise_us)(events)
    to_frame = tonic.transforms.ToFrame(
        sensor_size=tuple(sensor),
        event_count=recipe.slice_size,
        overlap=recipe.overlap,
        include_incomplete=recipe.include_incomplete,
    )
    return to_frame(events)  # type: ignore[no-any-return]


def structured(events: Any) -> np.ndarray:
    array = np.zeros(len(events), EVENT)
    for name in EVENT.names or ():
        array[name] = getattr(events, name)
    return array


@st.composite
def streams(draw: st.DrawFn) -> Any:
    """A stream in order of time, dense enough that a part of it survives denoising."""
    n = draw(st.integers(1, 80))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    step = draw(st.sampled_from([1, 20, 3000]))
    t = np.cumsum(rng.integers(0, step + 1, n)) + draw(st.sampled_from([0, 50, 8_000_000, 9_000_000]))
    width, height = draw(st.integers(1, SENSOR.width)), draw(st.integers(1, SENSOR.height))
    return make_events(rng.integers(0, width, n), rng.integers(0, height, n), t, rng.integers(0, 2, n))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(streams(), st.integers(1, 30), st.data())
def test_random_streams_give_tonics_frames(tonic: ModuleType, events: Any, per_frame: int, data: st.DataObject):
    recipe = FrameRecipe(
        SENSOR,
        per_frame,
        overlap=data.draw(st.integers(0, per_frame - 1)),
        include_incomplete=data.draw(st.booleans()),
        denoise_us=data.draw(st.sampled_from([0, 1, 10, 100, 10_000])),
    )
    framed = frame_recording(encode_atis(events), recipe, "a.bin")
    ours = framed.frames.reshape(-1, *recipe.frame_shape)
    theirs = structured(events)
    survived = tonic.transforms.Denoise(filter_time=recipe.denoise_us)(theirs) if recipe.denoise_us else theirs
    assert framed.n_events == len(survived)
    if len(survived):  # tonic's empty frames have height and width exchanged
        assert np.array_equal(ours, oracle(tonic, theirs, SENSOR, recipe))
    else:
        assert len(ours) == 0


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(streams(), st.integers(1, 20_000))
def test_the_reference_keeps_the_events_that_tonic_keeps(tonic: ModuleType, events: Any, denoise_us: int):
    theirs = tonic.transforms.Denoise(filter_time=denoise_us)(structured(events))
    assert np.array_equal(structured(denoise(events, denoise_us)), theirs)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 6), st.sampled_from([0, 3, 240]), *[st.integers(0, 255)] * 3), min_size=1))
def test_random_bytes_decode_as_in_tonic(tonic: ModuleType, tmp_path: Path, rows: list[tuple[int, ...]]):
    path = tmp_path / "a.bin"
    path.write_bytes(b"".join(map(bytes, rows)))
    assert np.array_equal(
        structured(decode_atis(path.read_bytes(), SENSOR, "a.bin")), tonic.io.read_mnist_file(str(path), EVENT)
    )


def test_every_original_recording_decodes_as_in_tonic(tonic: ModuleType, nmnist_raw: Path):
    paths = sorted(nmnist_raw.rglob("*.bin"))
    assert len(paths) == 1100
    for path in paths:
        ours = structured(decode_atis(path.read_bytes(), NMNIST, path.name))
        assert np.array_equal(ours, tonic.io.read_mnist_file(str(path), EVENT)), path


@pytest.mark.parametrize(
    "recipe",
    [
        FrameRecipe(NMNIST, 1500, overlap=1000),
        FrameRecipe(NMNIST, 200, include_incomplete=True),
        FrameRecipe(NMNIST, 100_000),
    ],
)
def test_every_original_recording_gives_tonics_frames(tonic: ModuleType, nmnist_raw: Path, recipe: FrameRecipe):
    for path in sorted(nmnist_raw.rglob("*.bin")):
        content = path.read_bytes()
        theirs = oracle(tonic, tonic.io.read_mnist_file(str(path), EVENT), NMNIST, recipe)
        ours = frame_recording(content, recipe, path.name).frames.reshape(-1, *recipe.frame_shape)
        assert np.array_equal(ours, theirs), path


@pytest.mark.parametrize(("denoise_us", "every"), [(1200, 1), (10_000, 10)])
def test_original_recordings_give_tonics_frames_after_denoising(
    tonic: ModuleType, nmnist_raw: Path, denoise_us: int, every: int
):
    recipe = FrameRecipe(NMNIST, 500, overlap=100, denoise_us=denoise_us)
    for path in sorted(nmnist_raw.rglob("*.bin"))[::every]:
        theirs = oracle(tonic, tonic.io.read_mnist_file(str(path), EVENT), NMNIST, recipe)
        ours = frame_recording(path.read_bytes(), recipe, path.name).frames.reshape(-1, *recipe.frame_shape)
        assert np.array_equal(ours, theirs), path
