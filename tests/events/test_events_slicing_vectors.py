"""Every way to slice, on ten events that can be counted by hand, and on the edges: in numpy and in machine code."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from difflogic_tonic.config import SensorSize
from difflogic_tonic.errors import RecordingError
from difflogic_tonic.events import (
    Events,
    FrameRecipe,
    encode_atis,
    frame_events,
    frame_events_plain,
    frame_recording,
    make_events,
)

SENSOR = SensorSize(width=5, height=2, polarities=2)
TENS = range(0, 100, 10)  # ten events at 0, 10, … 90 µs


def frame_bytes(events: Events, recipe: FrameRecipe, where: str) -> Any:
    return frame_recording(encode_atis(events), recipe, where)


PATHS: list[Callable[..., Any]] = [frame_events_plain, frame_events, frame_bytes]


def at(times: Any) -> Events:
    """Events at these times, all at the pixel x=3, y=1."""
    n = len(times)
    return make_events([3] * n, [1] * n, list(times), [1] * n)


def counts(path: Callable[..., Any], times: Any, slice_by: str, size: int, **options: Any) -> list[int]:
    """Events in each frame."""
    framed = path(at(times), FrameRecipe(SENSOR, size, slice_by=slice_by, **options), "a.bin")  # type: ignore[arg-type]
    frames = framed.frames.reshape(-1, 2, 2, 5)
    assert frames.sum() == frames[:, 1, 1, 3].sum()
    return frames.sum(axis=(1, 2, 3)).tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("slice_by", "size", "options", "expected"),
    [
        ("events", 3, {}, [3, 3, 3]),
        ("events", 3, {"include_incomplete": True}, [3, 3, 3, 1]),
        ("events", 4, {"overlap": 2}, [4, 4, 4, 4]),
        ("events", 100, {}, [10]),
        ("time", 30, {}, [3, 3, 3]),
        ("time", 30, {"include_incomplete": True}, [3, 3, 3]),  # the event at 90 µs is the end of the last window
        ("time", 45, {}, [5, 4]),
        ("time", 40, {}, [4, 4]),
        ("time", 40, {"include_incomplete": True}, [4, 4, 2]),
        ("time", 90, {}, [9]),
        ("time", 91, {}, [10]),
        ("time", 1000, {"include_incomplete": True}, [10]),
        ("time", 40, {"overlap": 20}, [4, 4, 4]),
        ("time", 40, {"overlap": 20, "include_incomplete": True}, [4, 4, 4, 4]),
        ("time_bins", 3, {}, [3, 3, 3]),
        ("time_bins", 4, {}, [3, 2, 2, 2]),  # 22 µs each, so that 88 and 90 are in none
        ("time_bins", 1, {}, [9]),
        ("time_bins", 3, {"overlap": 0.5}, [5, 4, 4]),  # 45 µs, a new one every 22.5: [0, 45) [22.5, 67.5) [45, 90)
        ("time_bins", 3, {"overlap": 10}, [4, 4, 4]),  # 40 µs, a new one every 30: [0, 40) [30, 70) [60, 100)
        ("event_bins", 3, {}, [3, 3, 3]),
        ("event_bins", 4, {}, [2, 2, 2, 2]),
        ("event_bins", 3, {"overlap": 0.5}, [4, 4, 4]),  # int(4.5) events, a new frame every 2
        ("event_bins", 2, {"overlap": 0.2}, [6, 6]),
        ("event_bins", 3, {"overlap": 2}, [5, 5, 4]),  # [0, 5) [3, 8) [6, 11), and there is no eleventh
        ("number", 3, {}, [3, 3, 4]),
        ("number", 10, {}, [1] * 10),
        ("number_by_time", 3, {}, [3, 3, 4]),
        ("number_by_time", 4, {}, [3, 2, 2, 3]),
        ("number_by_time", 1, {}, [10]),
        ("duration", 30, {}, [3, 3, 4]),
        ("duration", 45, {}, [5, 5]),
        ("duration", 10, {}, [1, 1, 1, 1, 1, 1, 1, 1, 2]),
        ("duration", 91, {}, [10]),
    ],
)
def test_ten_events(path: Any, slice_by: str, size: int, options: dict[str, Any], expected: list[int]):
    assert counts(path, TENS, slice_by, size, **options) == expected


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("slice_by", "size", "expected"),
    [
        ("time", 30, [2, 0, 0]),  # 95 is no whole window any more
        ("time_bins", 3, [2, 0, 0]),  # 31 µs each
        ("number_by_time", 3, [2, 0, 1]),
        ("duration", 30, [2, 0, 0, 1]),
    ],
)
def test_a_pause_gives_empty_frames(path: Any, slice_by: str, size: int, expected: list[int]):
    assert counts(path, [0, 1, 95], slice_by, size) == expected


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("times", "slice_by", "size", "options", "expected"),
    [
        ([3, 4, 4, 5], "time_bins", 8, {}, [1, 2, 1, 0, 0, 0, 0, 0]),
        ([3, 4, 4, 5], "number_by_time", 5, {}, [1, 2, 1, 0, 0]),
        ([5, 5, 5], "time_bins", 2, {}, [3, 0]),
        ([5, 5, 5], "number_by_time", 2, {}, [3, 0]),
        ([5, 5, 5], "duration", 30, {}, [3]),
        ([3, 4, 5], "event_bins", 5, {}, [1, 1, 1, 0, 0]),
        ([3, 4, 5], "event_bins", 3, {"overlap": 0.5}, [1, 1, 1]),
        ([3, 4, 5], "number", 5, {}, [0, 0, 0, 0, 3]),  # SpikingJelly's rule: all the rest is in the last
    ],
)
def test_more_frames_than_microseconds_or_events(
    path: Any, times: list[int], slice_by: str, size: int, options: dict[str, Any], expected: list[int]
):
    assert counts(path, times, slice_by, size, **options) == expected


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("slice_by", ["time", "duration"])
def test_where_time_starts_does_not_matter(path: Any, slice_by: str):
    assert counts(path, [7_000_000 + t for t in TENS], slice_by, 30) == counts(path, TENS, slice_by, 30)


@pytest.mark.parametrize("path", [frame_events_plain, frame_events])
def test_times_of_an_epoch_clock_are_sliced_exactly(path: Any):
    start = 1_700_000_000_000_000
    for slice_by, size in (("time", 30), ("time_bins", 3), ("number_by_time", 3), ("duration", 30)):
        assert counts(path, [start + t for t in TENS], slice_by, size) == counts(path, TENS, slice_by, size)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("slice_by", "frames"),
    [("events", 1), ("time", 1), ("duration", 1), ("time_bins", 2), ("event_bins", 2), ("number", 2)],
)
def test_one_event_is_in_a_frame(path: Any, slice_by: str, frames: int):
    found = counts(path, [5], slice_by, 2)
    assert (len(found), sum(found)) == (frames, 1)


@pytest.mark.parametrize("path", [frame_events_plain, frame_events])
@pytest.mark.parametrize(
    "slice_by", ["events", "time", "time_bins", "event_bins", "number", "number_by_time", "duration"]
)
def test_no_events_give_no_frames(path: Any, slice_by: str):
    framed = path(at([]), FrameRecipe(SENSOR, 3, slice_by=slice_by), "a.bin")  # type: ignore[arg-type]
    assert framed.frames.shape == (0, 20)
    assert framed[1:3] == (0, 0)


@pytest.mark.parametrize("path", [frame_events_plain, frame_events])
@pytest.mark.parametrize("slice_by", ["time", "time_bins", "number_by_time", "duration"])
def test_events_out_of_order_are_placed_by_their_time(path: Any, slice_by: str):
    assert counts(path, [90, 0, 50, 20, 10, 30, 70, 40, 80, 60], slice_by, 3) == counts(path, TENS, slice_by, 3)


def test_records_out_of_order_are_placed_by_their_time():
    ascending = encode_atis(at(TENS))
    records = np.frombuffer(ascending, np.uint8).reshape(-1, 5)[::-1].tobytes()
    recipe = FrameRecipe(SENSOR, 30, slice_by="duration")
    assert np.array_equal(
        frame_recording(records, recipe, "a.bin").frames, frame_recording(ascending, recipe, "a.bin").frames
    )


@pytest.mark.parametrize("path", PATHS)
def test_times_that_make_too_many_frames_are_an_error_and_no_allocation(path: Any):
    recipe = FrameRecipe(SensorSize(256, 240, 2), 1, slice_by="time")
    with pytest.raises(RecordingError, match=r"a\.bin: would become 8,000,000 frames; expected at most 34,952"):
        path(at([0, 8_000_000]), recipe, "a.bin")


@pytest.mark.parametrize("path", [frame_events_plain, frame_events])
@pytest.mark.parametrize("pixel", [(5, 1), (3, 2), (65_535, 0)])
@pytest.mark.parametrize("denoise_us", [0, 10])
def test_a_pixel_outside_the_sensor_is_an_error_that_names_it(path: Any, pixel: tuple[int, int], denoise_us: int):
    events = make_events([3, pixel[0]], [1, pixel[1]], [0, 1], [1, 1])
    with pytest.raises(RecordingError, match=f"a.es: pixel x={pixel[0]} y={pixel[1]} of event 1 is outside the 5x2"):
        path(events, FrameRecipe(SENSOR, 3, denoise_us=denoise_us), "a.es")


@pytest.mark.parametrize("path", PATHS)
def test_every_level_is_a_plane_of_its_polarity(path: Any):
    events = make_events([0, 0, 0, 1, 4, 4], [0, 0, 0, 0, 1, 1], range(6), [0, 0, 0, 0, 1, 1])
    recipe = FrameRecipe(SENSOR, 10, storage="bits", levels=(1, 2, 3))
    assert (recipe.frame_shape, recipe.frame_nbytes) == ((6, 2, 5), 8)
    planes = np.unpackbits(path(events, recipe, "a.bin").frames, axis=1, bitorder="little")[0, :60].reshape(6, 2, 5)
    assert [np.argwhere(plane).tolist() for plane in planes] == [
        [[0, 0], [0, 1]], [[0, 0]], [[0, 0]],  # polarity 0: 3 events at x=0, 1 at x=1
        [[1, 4]], [[1, 4]], [],
    ]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_a_pixel_counts_as_saturated_in_every_frame_that_it_is_in(path: Any):
    framed = path(at([0] * 300 + [20] * 255 + [30] * 256), FrameRecipe(SENSOR, 10, slice_by="time"), "a.bin")
    assert framed.frames.max(axis=1).tolist() == [255, 0, 255]
    assert framed.n_saturated == 1
    assert path(at([0] * 300), FrameRecipe(SENSOR, 400, storage="bits"), "a.bin").n_saturated == 0
