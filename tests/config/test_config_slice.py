"""`data.slice` of training configs: the keys and checks of prepare configs, and which of the two says how."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from difflogic_tonic.config import TrainConfig, load_prepare_config, load_train_config
from difflogic_tonic.config.prepare import PrepareData
from difflogic_tonic.config.slicing import SLICING_KEYS, Slice
from difflogic_tonic.errors import ConfigError


@pytest.fixture
def prepare_events(tmp_path: Path) -> Path:
    return written(tmp_path / "prepare.yaml", {"data": {"name": "NMNIST", "frames": "events", "overlap": 500}})


def written(path: Path, content: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(content))
    return path


def train(prepare: Path | None, *overrides: str, name: str = "NMNIST") -> TrainConfig:
    """A training config beside `prepare`, or of a variant that is named."""
    folder = prepare.parent if prepare else Path.cwd()
    chosen = {"prepare": str(prepare)} if prepare else {"variant": "0123abcd"}
    content = {"data": {"name": name} | chosen, "model": {"model_type": "MLP"}}
    return load_train_config(written(folder / "train.yaml", content), overrides)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_slicing_of_the_prepare_config_is_written_out(prepare_events: Path) -> None:
    config = train(prepare_events)
    assert config.data.slice == Slice(events_per_frame=1500, overlap=500)
    assert config.source.name == "train.yaml"
    assert TrainConfig.model_validate(config.to_dict()).data.slice == config.data.slice


def test_a_slicing_of_ones_own_replaces_it_as_a_whole(prepare_events: Path) -> None:
    assert train(prepare_events, "data.slice.time_bins=10").data.slice == Slice(time_bins=10)


def test_a_variant_by_name_has_the_slicing_that_is_given_or_none() -> None:
    assert train(None).data.slice is None
    assert train(None, "data.slice.frames_by_number=16").data.slice == Slice(frames_by_number=16)


def test_a_slicing_of_prepared_frames_is_an_error_that_names_both_files(tmp_path: Path) -> None:
    prepare = written(tmp_path / "prepare.yaml", {"data": {"name": "NMNIST", "frames": "bits"}})
    assert train(prepare).data.slice is None
    message = r"train\.yaml: data\.slice slices prepared events, and .*prepare\.yaml prepares frames: bits; set data\."
    with pytest.raises(ConfigError, match=message):
        train(prepare, "data.slice.time_bins=10")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("data.slice.overlap=3", "data.slice does not say how to slice; add one of events_per_frame, time_window"),
        ("data.slice.time_bins=3 data.slice.event_bins=3", "data.slice.time_bins and data.slice.event_bins are tw"),
        ("data.slice.frames_by_time=3 data.slice.overlap=3", "data.slice.overlap has no meaning with data.slice.f"),
        ("data.slice.time_window=3 data.slice.overlap=3", "data.slice.overlap 3 must be below data.slice.time_win"),
        ("data.slice.time_bins=3 data.slice.levels=[1]", "data.slice.frames: thermometer and data.slice.levels belong"),
        ("data.slice.time_bins=3 data.slice.frames=events", "data.slice.frames: 'events' is not one of u8, bits"),
        ("data.slice.time_bin=3", "unknown key data.slice.time_bin (did you mean data.slice.time_bins?)"),
        ("data.slice.custom_slicing=numpy", "data.slice.custom_slicing: expected module:function, found 'numpy'"),
    ],
)  # fmt: skip
def test_what_is_no_slicing_is_refused(prepare_events: Path, overrides: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        train(prepare_events, overrides)
    assert message in str(error.value)


def test_images_are_not_sliced() -> None:
    with pytest.raises(ConfigError, match=r"data\.slice is for events, and MNIST has images; remove it"):
        train(None, "data.slice.time_bins=3", name="MNIST")


def test_levels_are_channels_of_the_network(prepare_events: Path) -> None:
    assert train(prepare_events).sample_shape == (2, 34, 34)
    leveled = "data.slice.time_bins=3 data.slice.frames=thermometer data.slice.levels=[1,2,4]"
    assert train(prepare_events, leveled).sample_shape == (6, 34, 34)
    stacked = f"{leveled} data.view=stacked data.max_frames=3"
    assert train(prepare_events, stacked).sample_shape == (18, 34, 34)


def test_events_have_no_levels_before_they_are_sliced(tmp_path: Path) -> None:
    prepare = {"data": {"name": "NMNIST", "frames": "events", "levels": [1]}}
    with pytest.raises(ConfigError, match=r"data\.frames: thermometer and data\.levels belong together"):
        load_prepare_config(written(tmp_path / "prepare.yaml", prepare))


@pytest.mark.parametrize("key", SLICING_KEYS)
def test_every_way_of_a_prepare_config_is_one_of_a_training_config(key: str) -> None:
    value = "module:function" if key == "custom_slicing" else 7
    assert PrepareData.model_validate({"name": "NMNIST", key: value}).as_slice() == Slice.model_validate({key: value})
