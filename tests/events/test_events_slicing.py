"""Slices of a recording by number of events, and the recipe that a config makes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from difflogic_tonic.config import DATASETS, PrepareConfig
from difflogic_tonic.events import FrameRecipe, recipe_from_config, slice_by_count
from difflogic_tonic.events.slicing import overlap_units


@pytest.mark.parametrize(
    ("per_frame", "overlap", "incomplete", "slices"),
    [
        (3, 0, False, [(0, 3), (3, 6), (6, 9)]),
        (3, 0, True, [(0, 3), (3, 6), (6, 9), (9, 10)]),
        (5, 0, True, [(0, 5), (5, 10)]),
        (4, 2, False, [(0, 4), (2, 6), (4, 8), (6, 10)]),
        (4, 2, True, [(0, 4), (2, 6), (4, 8), (6, 10)]),
        (4, 1, False, [(0, 4), (3, 7), (6, 10)]),
        (6, 1, True, [(0, 6), (5, 10)]),
        (9, 8, False, [(0, 9), (1, 10)]),
        (100, 0, False, [(0, 10)]),
        (100, 99, True, [(0, 10)]),
    ],
)
def test_ten_events(per_frame: int, overlap: int, incomplete: bool, slices: list[tuple[int, int]]):
    assert [tuple(row) for row in slice_by_count(10, per_frame, overlap, incomplete).tolist()] == slices


def test_no_events_give_no_slices():
    assert slice_by_count(0, 5).shape == (0, 2)


@given(st.integers(1, 300), st.integers(1, 60), st.data(), st.booleans())
def test_slices_are_full_move_by_the_stride_and_leave_less_than_a_stride(n, per_frame, data, incomplete):
    overlap = data.draw(st.integers(0, per_frame - 1))
    stride = per_frame - overlap
    slices = slice_by_count(n, per_frame, overlap, incomplete).tolist()
    assert [start for start, _ in slices] == [i * stride for i in range(len(slices))]
    full = slices[:-1] if incomplete else slices
    assert all(end - start == min(per_frame, n) for start, end in full)
    assert all(end > start for start, end in slices)
    left = n - slices[-1][1]
    assert left == 0 if incomplete else 0 <= left < stride


@pytest.mark.parametrize(
    ("overlap", "per_frame", "events"),
    [(0, 10, 0), (9, 10, 9), (1, 10, 1), (0.0, 10, 0), (0.5, 1500, 750), (0.29, 100, 29), (0.999, 10, 9), (0.5, 1, 0)],
)
def test_overlap_is_a_count_or_a_fraction_of_a_frame(overlap: float, per_frame: int, events: int):
    assert overlap_units(overlap, per_frame) == events


def test_a_recipe_takes_everything_from_the_config():
    values = {
        "name": "NMNIST", "events_per_frame": 200, "overlap": 0.25, "include_incomplete": True, "denoise_time": 1200,
        "denoise_warmup": "drop", "frames": "bits",
    }  # fmt: skip
    recipe = recipe_from_config(PrepareConfig.model_validate({"data": values}))
    assert recipe == FrameRecipe(DATASETS["NMNIST"].sensor, 200, 50, True, 1200, "drop", "bits")
    assert (recipe.frame_shape, recipe.frame_nbytes) == ((2, 34, 34), 289)
