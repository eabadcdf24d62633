"""Ways to slice and filter in a prepare config: one at a time, and no key that does nothing."""

from pathlib import Path
from typing import Any

import pytest

from difflogic_tonic.config import DATASETS, PrepareConfig, load_prepare_config
from difflogic_tonic.config.slicing import SLICING_KEYS
from difflogic_tonic.errors import ConfigError
from difflogic_tonic.events import FrameRecipe, recipe_from_config

NMNIST = DATASETS["NMNIST"].sensor


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "prepare.yaml"
    path.write_text("data:\n  name: NMNIST\n  events_per_frame: 1500\n")
    return path


def recipe(**data: Any) -> FrameRecipe:
    return recipe_from_config(PrepareConfig.model_validate({"data": {"name": "NMNIST"} | data}))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({}, FrameRecipe(NMNIST, 1500)),
        ({"events_per_frame": 200, "overlap": 0.25}, FrameRecipe(NMNIST, 200, 50)),
        ({"time_window": 3000, "overlap": 0.5}, FrameRecipe(NMNIST, 3000, 1500, slice_by="time")),
        (
            {"time_window": 3000, "overlap": 500, "include_incomplete": True},
            FrameRecipe(NMNIST, 3000, 500, True, slice_by="time"),
        ),
        ({"time_bins": 10, "overlap": 0.5}, FrameRecipe(NMNIST, 10, 0.5, slice_by="time_bins")),
        ({"time_bins": 10, "overlap": 500}, FrameRecipe(NMNIST, 10, 500, slice_by="time_bins")),
        ({"event_bins": 10, "overlap": 0.0}, FrameRecipe(NMNIST, 10, slice_by="event_bins")),
        ({"frames_by_number": 10}, FrameRecipe(NMNIST, 10, slice_by="number")),
        ({"frames_by_time": 10}, FrameRecipe(NMNIST, 10, slice_by="number_by_time")),
        ({"frame_duration": 3000}, FrameRecipe(NMNIST, 3000, slice_by="duration")),
        ({"hot_pixels": 8}, FrameRecipe(NMNIST, 1500, hot_pixels=8.0)),
        ({"refractory_time": 100}, FrameRecipe(NMNIST, 1500, refractory_us=100)),
        ({"crop": [1, 2, 20, 30]}, FrameRecipe(NMNIST, 1500, crop=(1, 2, 20, 30))),
        ({"downsample": 2}, FrameRecipe(NMNIST, 1500, downsample=2)),
        ({"frames": "thermometer", "levels": [1, 3]}, FrameRecipe(NMNIST, 1500, storage="bits", levels=(1, 3))),
    ],
    ids=str,
)
def test_a_recipe_from_every_key(data: dict[str, Any], expected: FrameRecipe) -> None:
    assert recipe(**data) == expected


@pytest.mark.parametrize("key", SLICING_KEYS[1:])
def test_two_ways_to_slice_are_an_error_that_says_how_to_take_one_away(config: Path, key: str) -> None:
    value = "a:b" if key == "custom_slicing" else "10"
    with pytest.raises(ConfigError, match=rf"data\.events_per_frame and data\.{key} .* data\.events_per_frame=null"):
        load_prepare_config(config, [f"data.{key}={value}"])
    assert load_prepare_config(config, [f"data.events_per_frame=null data.{key}={value}"]).data.slicing[0] == key


@pytest.mark.parametrize("key", SLICING_KEYS[4:])
@pytest.mark.parametrize("overlap", ["5", "0.5"])
def test_an_overlap_where_frames_cannot_overlap_is_an_error(config: Path, key: str, overlap: str) -> None:
    value = "a:b" if key == "custom_slicing" else "10"
    with pytest.raises(ConfigError, match=rf"data\.overlap has no meaning with data\.{key}; it goes with events_per"):
        load_prepare_config(config, [f"data.events_per_frame=null data.{key}={value} data.overlap={overlap}"])


@pytest.mark.parametrize("key", ["time_bins", "event_bins", "frames_by_number", "frame_duration"])
def test_an_incomplete_frame_where_there_is_none_is_an_error(config: Path, key: str) -> None:
    with pytest.raises(ConfigError, match=rf"data\.include_incomplete has no meaning with data\.{key}"):
        load_prepare_config(config, [f"data.events_per_frame=null data.{key}=10 data.include_incomplete=true"])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.events_per_frame=null data.time_window=500 data.overlap=500", "data.overlap 500 must be below data.t"),
        ("data.events_per_frame=null data.custom_slicing=numpy", "expected module:function, found 'numpy'"),
        ("data.frames=thermometer", "data.frames: thermometer and data.levels belong together, e.g."),
        ("data.levels=[1]", "data.frames: thermometer and data.levels belong together"),
        ("data.frames=thermometer data.levels=[2, 1]", "data.levels: expected ascending counts, found [2, 1]"),
        ("data.frames=thermometer data.levels=[0]", "data.levels: expected greater than or equal to 1, found 0"),
        ("data.crop=[1, 2, 3]", "data.crop: expected [x, y, width, height], found [1, 2, 3]"),
        ("data.crop=[1, 2, 3, 0]", "data.crop: expected [x, y, width, height]"),
        ("data.hot_pixels=0.5", "data.hot_pixels: expected greater than or equal to 1"),
        ("data.downsample=0", "data.downsample: expected greater than or equal to 1"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused(config: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_prepare_config(config, [override])
    assert message in str(error.value)


def test_a_crop_beyond_the_sensor_is_an_error_with_its_size() -> None:
    with pytest.raises(
        ConfigError, match=r"data\.crop=\[10, 0, 30, 34\] reaches beyond the 34x34 sensor; expected x \+"
    ):
        recipe(crop=[10, 0, 30, 34])
