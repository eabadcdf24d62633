"""Predictions come back as they were saved, and are counted by class."""

import json
from pathlib import Path

import numpy as np
import pytest

from difflogic_tonic.errors import RunError
from difflogic_tonic.runs.predictions import Answers, Predictions, load_predictions

SCORES = np.array([[0.7, 0.2, 0.1], [0.4, 0.4, 0.2], [0.1, 0.1, 0.8], [0.2, 0.5, 0.3]])
ANSWERS = Answers.of(np.arange(4), np.array([0, 1, 2, 2]), SCORES)


def test_the_first_of_equal_scores_is_predicted() -> None:
    assert ANSWERS.predicted.tolist() == [0, 0, 2, 1]


def test_confusion_has_a_row_for_the_right_class() -> None:
    assert ANSWERS.confusion().tolist() == [[1, 0, 0], [1, 0, 0], [0, 1, 1]]
    assert ANSWERS.class_accuracy() == [1.0, 0.0, 0.5]


def test_a_class_without_samples_has_no_accuracy() -> None:
    assert Answers.of(np.arange(2), np.array([0, 0]), SCORES[:2]).class_accuracy() == [1.0, None, None]


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    saved = Predictions("test", ("a", "b", "ü"), {"recordings": ANSWERS, "frames_hard": ANSWERS})
    saved.save(tmp_path / "predictions.npz")
    loaded = load_predictions(tmp_path / "predictions.npz")
    assert (loaded.split, loaded.classes, list(loaded.kinds)) == (
        "test",
        ("a", "b", "ü"),
        ["recordings", "frames_hard"],
    )
    for name in ("rows", "labels", "predicted", "scores"):
        expected = getattr(ANSWERS, name)
        found = getattr(loaded.kinds["frames_hard"], name)
        assert (found.dtype, found.tolist()) == (expected.dtype, expected.tolist())


def test_the_confusion_file_is_plain(tmp_path: Path) -> None:
    Predictions("val", ("a", "b", "c"), {"recordings": ANSWERS}).save_confusion(tmp_path / "confusion.json")
    assert json.loads((tmp_path / "confusion.json").read_text()) == {
        "split": "val",
        "classes": ["a", "b", "c"],
        "recordings": {"confusion": [[1, 0, 0], [1, 0, 0], [0, 1, 1]], "class_accuracy": [1.0, 0.0, 0.5]},
    }


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x04K\x01.", b"text"])
def test_what_is_no_such_file_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "predictions.npz"
    path.write_bytes(content)
    with pytest.raises(RunError, match="damaged"):
        load_predictions(path)


def test_one_array_or_others_are_told(tmp_path: Path) -> None:
    path = tmp_path / "predictions.npz"
    with path.open("wb") as file:
        np.save(file, np.arange(3))
    with pytest.raises(RunError, match="one array"):
        load_predictions(path)
    np.savez(path, something=np.arange(3))
    with pytest.raises(RunError, match="damaged"):
        load_predictions(path)
