"""Filters before slicing: what each keeps, and their order."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from difflogic_tonic.config import SensorSize
from difflogic_tonic.events import Events, FrameRecipe, frame_events, frame_events_plain, make_events
from difflogic_tonic.events.filters import apply_filters, crop_and_downsample, refractory, remove_hot_pixels

SENSOR = SensorSize(width=6, height=3, polarities=2)


def pixels(events: Events) -> list[tuple[int, int]]:
    return list(zip(events.x.tolist(), events.y.tolist(), strict=True))


def test_a_pixel_is_hot_with_more_than_its_share_of_events():
    events = make_events([0] * 8 + [3, 5], [1] * 8 + [0, 2], range(10), [0] * 10)  # 10 events of 3 pixels: mean 10/3
    assert pixels(remove_hot_pixels(events, 2.0)) == [(3, 0), (5, 2)]
    assert len(remove_hot_pixels(events, 2.4)) == 10  # 8 is not more than 2.4 times 10/3
    assert remove_hot_pixels(events, 0) is events


@given(st.lists(st.integers(0, 5), min_size=1, max_size=40), st.floats(1, 10))
def test_never_all_pixels_are_hot(columns: list[int], factor: float):
    events = make_events(columns, [0] * len(columns), range(len(columns)), [0] * len(columns))
    assert len(remove_hot_pixels(events, factor)) > 0


def test_an_event_is_refractory_until_longer_than_the_period_after_the_one_before_kept_or_not():
    events = make_events([1, 1, 1, 1, 2], [0] * 5, [0, 10, 21, 31, 31], [0, 1, 0, 1, 0])
    assert refractory(events, 10).t.tolist() == [0, 21, 31]  # 10 and 31 are no longer than 10 after; x=2 is another
    assert refractory(events, 0) is events


def test_a_crop_moves_its_corner_to_the_origin():
    events = make_events([0, 2, 4, 5, 2], [1, 1, 1, 1, 2], range(5), [0] * 5)
    cropped = crop_and_downsample(events, (2, 1, 3, 1), 1)
    assert (pixels(cropped), cropped.t.tolist()) == ([(0, 0), (2, 0)], [1, 2])


def test_downsampling_counts_squares_of_pixels_as_one():
    recipe = FrameRecipe(SensorSize(width=5, height=3, polarities=2), 10, downsample=2)
    assert recipe.frame_shape == (2, 2, 3)  # half squares at the borders count
    events = make_events([0, 1, 0, 4], [0, 1, 1, 2], range(4), [0, 0, 1, 1])
    frames = frame_events(events, recipe, "a.es").frames.reshape(2, 2, 3)
    assert frames.tolist() == [[[2, 0, 0], [0, 0, 0]], [[1, 0, 0], [0, 0, 1]]]


def test_cropping_comes_before_downsampling():
    recipe = FrameRecipe(SENSOR, 10, crop=(1, 0, 4, 3), downsample=2)
    assert recipe.frame_shape == (2, 2, 2)
    events = make_events([1, 2, 3, 5], [0, 0, 2, 0], range(4), [0] * 4)
    assert pixels(apply_filters(events, recipe)) == [(0, 0), (0, 0), (1, 1)]


@pytest.mark.parametrize("frame", [frame_events, frame_events_plain])
def test_noise_is_judged_by_the_whole_sensor_and_before_downsampling(frame):
    events = make_events([2, 3], [1, 1], [1000, 1001], [0, 0])
    outside = FrameRecipe(SENSOR, 10, denoise_us=10, denoise_warmup="drop", crop=(3, 0, 3, 3))
    assert frame(events, outside, "a.es").n_events == 1  # its neighbour supports it from outside the crop
    coarse = FrameRecipe(SENSOR, 10, denoise_us=10, denoise_warmup="drop", downsample=2)
    far = make_events([0, 2], [1, 1], [1000, 1001], [0, 0])  # neighbours only after downsampling
    assert frame(far, coarse, "a.es").n_events == 0


@pytest.mark.parametrize("frame", [frame_events, frame_events_plain])
def test_a_hot_pixel_supports_nobody(frame):
    events = make_events([1] * 20 + [2], [1] * 21, range(1000, 1021), [0] * 21)
    recipe = FrameRecipe(SENSOR, 100, denoise_us=10, denoise_warmup="drop")
    assert frame(events, recipe, "a.es").n_events == 1
    quiet = dataclasses.replace(recipe, hot_pixels=1.5)
    assert frame(events, quiet, "a.es").n_events == 0
