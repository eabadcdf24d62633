"""Variants of unsliced events: listed, copied, mended and shown as others are."""

import json
import shutil
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from difflogic_tonic import cache
from difflogic_tonic.config import PrepareConfig
from difflogic_tonic.errors import ConfigError
from difflogic_tonic.storage import Storage
from difflogic_tonic.sync.command import run

Command = Callable[..., Namespace]


@pytest.fixture
def events(prepared: Path, storage: Storage) -> cache.Prepared:
    """A variant of the events of six recordings, four events each, in both places."""
    data = {"name": "FOLDER", "data_root": prepared.parent / "mine", "sensor": [5, 3], "val_fraction": 0.0}
    return cache.prepare(PrepareConfig.model_validate({"data": data | {"frames": "events"}}), storage, progress=False)


def test_a_damaged_and_a_missing_copy_are_brought_back(
    events: cache.Prepared, storage: Storage, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    scratch, project = events.paths
    shard = scratch / "train-00000.h5"
    good = shard.read_bytes()
    shard.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    assert run(command("--verify"), storage) == 0
    assert shard.read_bytes() == good
    shutil.rmtree(project)
    assert run(command("--json"), storage) == 0
    assert (project / shard.name).read_bytes() == good
    shown = capsys.readouterr().out
    found = json.loads(shown[shown.index("\n{") :])
    (variant,) = (each for each in found["variants"] if each["fingerprint"] == events.fingerprint)
    assert variant["events"] == {"train": 16, "val": 0, "test": 8}
    assert "frames" not in variant


@pytest.mark.parametrize(("words", "n_frames"), [((), 8), (("--slice", "events_per_frame=1 frames=bits"), 4)])
def test_events_are_shown_as_frames_of_any_slicing(
    words: tuple[str, ...], n_frames: int, events: cache.Prepared, storage: Storage, command: Command, tmp_path: Path
) -> None:
    out = str(tmp_path / "out")
    assert run(command("show", "FOLDER", "--variant", events.fingerprint[:12], "--output", out, *words), storage) == 0
    with Image.open(tmp_path / "out" / "sample-train-00000.gif") as animation:
        assert animation.n_frames == n_frames  # type: ignore[attr-defined]
    assert (tmp_path / "out" / "statistics-train.png").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("time_bin=8", r"--slice: unknown key time_bin \(did you mean time_bins\?\)"),
        ("8", r"--slice: '8'; expected KEY=VALUE, e\.g\. time_bins=8"),
        ("overlap=2", r"--slice: data\.slice does not say how to slice; add one of events_per_frame, "),
    ],
)
def test_words_that_are_no_slicing_are_an_error(
    text: str, message: str, events: cache.Prepared, storage: Storage, command: Command
) -> None:
    with pytest.raises(ConfigError, match=message):
        run(command("show", "FOLDER", "--variant", events.fingerprint[:12], "--slice", text), storage)


def test_a_slicing_of_frames_is_an_error(storage: Storage, one_variant: Path, command: Command) -> None:
    with pytest.raises(ConfigError, match=rf"slices prepared events, and {one_variant} has frames"):
        run(command("show", "FOLDER", "--slice", "time_bins=8"), storage)
