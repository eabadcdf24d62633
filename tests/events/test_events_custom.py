"""Slicing by a function of one's own."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from difflogic_tonic.config import PrepareConfig, SensorSize
from difflogic_tonic.errors import ConfigError
from difflogic_tonic.events import FrameRecipe, frame_events, frame_events_plain, make_events, recipe_from_config
from difflogic_tonic.events.custom import load_function, source_digest

SENSOR = SensorSize(width=5, height=2, polarities=2)
SOURCE = """
import numpy as np

def halves(events, H, W):
    counts = np.zeros((2, 2, H, W), np.int64)
    n = len(events["t"])
    for frame, part in enumerate((slice(0, n // 2), slice(n // 2, n))):
        np.add.at(counts, (frame, events["p"][part], events["y"][part], events["x"][part]), 1)
    events["x"][:] = 0
    return counts

def of_another_shape(events, H, W):
    return np.zeros((1, 2, W, H), np.int64)

def of_floats(events, H, W):
    return np.zeros((1, 2, H, W))

def a_list(events, H, W):
    return [1]

def nothing(events, H, W):
    return np.zeros((0, 2, H, W), int)

def negative(events, H, W):
    return np.full((1, 2, H, W), -1)

def large(events, H, W):
    return np.full((1, 2, H, W), 70000)

number = 3
"""


@pytest.fixture
def module(own_module: Callable[[str, str], Path]) -> Path:
    """A module `my_slicers` that can be imported."""
    load_function.cache_clear()
    return own_module("my_slicers", SOURCE)


def recipe(function: str, **options: object) -> FrameRecipe:
    return FrameRecipe(SENSOR, 0, slice_by="custom", custom=f"my_slicers:{function}", **options)  # type: ignore[arg-type]


EVENTS = make_events([3, 4, 1], [1, 0, 0], [0, 5, 9], [1, 0, 1])


@pytest.mark.parametrize("frame", [frame_events, frame_events_plain])
def test_the_function_gets_the_events_and_gives_the_counts(frame, module: Path):
    framed = frame(EVENTS, recipe("halves"), "a.es")
    assert np.argwhere(framed.frames.reshape(2, 2, 2, 5)).tolist() == [[0, 1, 1, 3], [1, 0, 0, 4], [1, 1, 0, 1]]
    assert framed[1:3] == (3, 0)
    assert EVENTS.x.tolist() == [3, 4, 1]  # though the function wrote into its own


@pytest.mark.parametrize("frame", [frame_events, frame_events_plain])
def test_filters_come_before_it_and_storage_after(frame, module: Path):
    cropped = frame(EVENTS, recipe("halves", crop=(3, 0, 2, 2), storage="bits"), "a.es")
    assert cropped.frames.tolist() == [[0b0100_0000], [0b0000_0010]]  # p=1 y=1 x=0, then p=0 y=0 x=1 of [2, 2, 2]


@pytest.mark.parametrize("frame", [frame_events, frame_events_plain])
def test_a_recording_that_filters_leave_empty_has_no_frame_whatever_the_function_would_make(frame, module: Path):
    framed = frame(EVENTS, recipe("large", crop=(0, 0, 1, 1)), "a.es")
    assert (framed.frames.shape, framed.n_events, framed.n_saturated) == ((0, 2), 0, 0)


def test_counts_that_are_too_large_saturate(module: Path):
    framed = frame_events(EVENTS, recipe("large"), "a.es")
    assert (framed.frames.min(), framed.n_saturated) == (255, 20)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("of_another_shape", r"returned int64\[1, 2, 5, 2\] for a\.es; expected an array of integers \[T, 2, 2, 5\]"),
        ("of_floats", r"returned float64\[1, 2, 2, 5\]"),
        ("a_list", "returned list for a.es"),
        ("negative", "returned counts below 0"),
        ("nothing", "made 0 frames of a.es; expected at least one"),
        ("number", r"my_slicers\.py has no function number"),
        ("missing", r"my_slicers\.py has no function missing"),
    ],
)
def test_what_it_must_return(function: str, message: str, module: Path):
    with pytest.raises(ConfigError, match=f"data.custom_slicing: my_slicers:{function}: .*{message}"):
        frame_events(EVENTS, recipe(function), "a.es")


@pytest.mark.parametrize("name", ["no_such_module:f", "no_such.package:f", "sys:exit", "numpy.no_such:f"])
def test_a_module_that_is_not_there_is_an_error_that_says_where_to_put_it(name: str):
    with pytest.raises(ConfigError, match=f"data.custom_slicing: {name}: there is no module .* beside main.py"):
        source_digest(name)


def test_its_source_is_known_by_a_digest_that_changes_with_it(module: Path):
    before = source_digest("my_slicers:halves")
    assert source_digest("my_slicers:of_floats") == before  # of the file: what a function calls decides, too
    module.write_text(SOURCE.replace("number = 3", "number = 4"))
    assert source_digest("my_slicers:halves") != before


def test_a_recipe_names_the_function(module: Path):
    config = PrepareConfig.model_validate({"data": {"name": "NMNIST", "custom_slicing": "my_slicers:halves"}})
    found = recipe_from_config(config)
    assert (found.slice_by, found.slice_size, found.custom) == ("custom", 0, "my_slicers:halves")
