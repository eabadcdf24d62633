"""Model files: whole or not at all, and one line for a disk that is full or a file that is something else."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import torch

from difflogic_tonic.errors import RunError, StorageError, StorageFull
from difflogic_tonic.runs.model_file import ModelFile, load_model, save_model


def model(value: float) -> ModelFile:
    return ModelFile(
        job_id="job",
        config={"base": {"seed": 1}},
        classes=["a", "b"],
        frame_shape=(2, 3, 5),
        fingerprint="f" * 64,
        epoch=1,
        step=10,
        model={"weight": torch.full((50_000,), value)},
        metrics={"test_frame_accuracy": 0.5},
    )


def test_a_model_comes_back_as_saved(tmp_path: Path) -> None:
    save_model(tmp_path / "models" / "best.pt", model(2.0))
    found = load_model(tmp_path / "models" / "best.pt")
    assert torch.equal(found.model["weight"], torch.full((50_000,), 2.0))
    assert (found.classes, found.frame_shape, found.metrics) == (["a", "b"], (2, 3, 5), {"test_frame_accuracy": 0.5})


@pytest.mark.parametrize("room", [0, 3_000, 100_000])
def test_a_full_disk_is_one_line_wherever_it_fills_up_and_keeps_the_old_model(
    room: int, tmp_path: Path, full_disk: Callable[[int], AbstractContextManager[None]]
) -> None:
    """`torch.save` into a file answers a full disk with an error of its own, about positions in an archive."""
    path = tmp_path / "best.pt"
    save_model(path, model(1.0))
    with full_disk(room), pytest.raises(StorageFull):
        save_model(path, model(2.0))
    assert float(load_model(path).model["weight"][0]) == 1.0
    assert [entry.name for entry in tmp_path.iterdir()] == ["best.pt"]


@pytest.mark.parametrize("content", [b"", b"not a model", b"half"])
def test_something_else_is_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "best.pt").write_bytes(content)
    with pytest.raises(RunError, match=r"best\.pt is not a model of this project or is damaged"):
        load_model(tmp_path / "best.pt")


def test_a_place_that_goes_away_while_its_folder_is_made_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(path: Path, *arguments: object, **options: object) -> None:
        raise FileNotFoundError(2, "No such file or directory", str(path))

    monkeypatch.setattr(Path, "mkdir", gone)
    with pytest.raises(StorageError, match=r"is not there \(any more\); best\.pt could not be written"):
        save_model(tmp_path / "models" / "job" / "best.pt", model(1.0))
