"""Variants of other ways to slice, filter and store, and those of a function of one's own."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from difflogic_tonic.cache import CacheReader, find_variant, load_manifest, parameters_of, prepare_source, verify
from difflogic_tonic.cache.fingerprint import is_fingerprint, parameters_hash
from difflogic_tonic.cache.summary import summary_lines
from difflogic_tonic.cache.variants import describe
from difflogic_tonic.config import PrepareConfig
from difflogic_tonic.errors import CacheMissing, ConfigError, RecordingError
from difflogic_tonic.events import frame_recording, recipe_from_config
from difflogic_tonic.storage import Storage

Make = Callable[..., PrepareConfig]
ANEW = {"events_per_frame": None, "overlap": 0}
SLICER = """
import numpy as np

def by_thirds(events, H, W):
    counts = np.zeros((3, 2, H, W), np.int64)
    third = np.arange(len(events["t"])) * 3 // len(events["t"])
    np.add.at(counts, (third, events["p"], events["y"], events["x"]), 1)
    return counts
"""


@pytest.fixture
def slicer(own_module: Callable[[str, str], Path]) -> Path:
    """A module `thirds_of` with the function `by_thirds`."""
    return own_module("thirds_of", SLICER)


@pytest.mark.parametrize(
    ("data", "shape"),
    [
        ({"time_window": 50_000, "overlap": 0.5, "include_incomplete": True}, (2, 34, 34)),
        ({"time_bins": 3, "crop": [4, 2, 20, 30]}, (2, 30, 20)),
        ({"frames_by_number": 4, "downsample": 4, "frames": "bits"}, (2, 9, 9)),
        (
            {
                "event_bins": 2,
                "on_empty": "skip",
                "downsample": 2,
                "crop": [0, 0, 33, 9],
                "frames": "thermometer",
                "levels": [1, 2],
            },
            (4, 5, 17),
        ),
    ],
    ids=str,
)
def test_what_is_cached_is_what_the_recipe_makes(
    data: dict[str, Any], shape: tuple[int, ...], source: Any, storage: Storage, make_config: Make
) -> None:
    config = make_config(**ANEW | data)
    prepared = prepare_source(config, storage, source)
    assert verify(prepared.path) == []
    manifest, recipe = load_manifest(prepared.path), recipe_from_config(config)
    assert manifest.frame_shape == recipe.frame_shape == shape
    assert (manifest.storage, manifest.frame_nbytes) == (recipe.storage, recipe.frame_nbytes)
    split = CacheReader(prepared.path).split("train")
    for row, recording in enumerate(split.recording_ids.tolist()):
        path = manifest.recordings.paths[recording]
        wanted = frame_recording(source.files[path], recipe, path)
        out = np.empty((1, len(wanted.frames), split.frame_nbytes), np.uint8)
        split.read_recordings(np.array([row]), out)
        assert np.array_equal(out[0], wanted.frames)


def test_a_function_names_the_folder_and_is_found_again(
    source: Any, storage: Storage, make_config: Make, slicer: Path
) -> None:
    config = make_config(**ANEW, custom_slicing="thirds_of:by_thirds")
    prepared = prepare_source(config, storage, source)
    assert prepared.path.name.startswith("by_thirds-")
    assert is_fingerprint(prepared.path.name)
    assert verify(prepared.path) == []
    assert "custom_slicing thirds_of:by_thirds" in describe(load_manifest(prepared.path))
    assert not prepare_source(config, storage, source).built
    wanted = parameters_hash(parameters_of(config))
    for choice in ({"parameters_hash": wanted, "prefix": None}, {"parameters_hash": None, "prefix": "by_th"}):
        assert find_variant(storage, "NMNIST", prepare_command="", **choice).path == prepared.path  # type: ignore[arg-type]


def test_the_next_command_names_a_variant_of_a_function_by_more_than_the_function(
    source: Any, storage: Storage, make_config: Make, slicer: Path
) -> None:
    config = make_config(**ANEW, custom_slicing="thirds_of:by_thirds")
    lines = summary_lines(prepare_source(config, storage, source), config)
    assert re.search(r"data\.variant=by_thirds-[0-9a-f]{12}\b", lines[-1])


def test_a_changed_function_is_another_variant(source: Any, storage: Storage, make_config: Make, slicer: Path) -> None:
    config = make_config(**ANEW, custom_slicing="thirds_of:by_thirds")
    first = prepare_source(config, storage, source)
    slicer.write_text(SLICER.replace("* 3 //", "* 2 //"))
    wanted = parameters_hash(parameters_of(config))
    with pytest.raises(CacheMissing):
        find_variant(storage, "NMNIST", parameters_hash=wanted, prefix=None, prepare_command="")
    assert prepare_source(config, storage, source).path != first.path


def test_a_crop_beyond_the_sensor_is_an_error_before_a_recording_is_read(
    source: Any, storage: Storage, make_config: Make
) -> None:
    with pytest.raises(ConfigError, match="reaches beyond the 34x34 sensor"):
        prepare_source(make_config(crop=[0, 0, 35, 34]), storage, source)
    assert source.read_paths == []


def test_a_recording_that_filters_leave_nothing_of_is_an_error_that_names_them(
    source: Any, storage: Storage, make_config: Make
) -> None:
    message = r"0/00000\.bin: no events are left after denoise_time, crop; expected at least one"
    with pytest.raises(RecordingError, match=message):
        prepare_source(make_config(crop=[0, 0, 1, 1], denoise_time=1, denoise_warmup="drop"), storage, source)
