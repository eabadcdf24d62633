"""What the chosen model of a run says of every test recording and frame: `predictions.npz` and `confusion.json`.

`predictions.npz` holds `split` and `classes` (text), and for each kind of answers four arrays, named `<kind>_rows` and
so on. Kinds: `recordings`, `frames` (only where a sample is a frame), both again with `_hard` for logic networks.

    rows       i32[n]           recording, from 0, in its split; `frames` come by recording, and those in time order
    labels     i16[n]           the right class
    predicted  i16[n]           the class with the largest score
    scores     f32[n, classes]  probabilities; of a recording the means over its frames

`confusion.json` counts the same answers: for each kind `confusion[i][j]` recordings or frames of class i were taken for
class j, and `class_accuracy[i]` is the right part of them (null for a class without any).
"""

import json
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from difflogic_tonic.errors import RunError
from difflogic_tonic.storage import atomic_write, write_json

KINDS = ("recordings", "frames", "recordings_hard", "frames_hard")
_ARRAYS = ("rows", "labels", "predicted", "scores")


@dataclass(frozen=True)
class Answers:
    """Scores and classes of n recordings or frames; dtypes and meaning are those of the file."""

    rows: np.ndarray
    labels: np.ndarray
    predicted: np.ndarray
    scores: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray, labels: np.ndarray, scores: np.ndarray) -> "Answers":
        """From probabilities f64[n, classes], or their sums: those are compared as they are, as for the accuracies."""
        shares = scores / scores.sum(1, keepdims=True)
        predicted = scores.argmax(1).astype(np.int16)
        return cls(rows.astype(np.int32), labels.astype(np.int16), predicted, shares.astype(np.float32))

    def confusion(self) -> np.ndarray:
        """i64[classes, classes]: entry [i, j] counts those of class i that were taken for class j."""
        classes = self.scores.shape[1]
        flat = self.labels.astype(np.int64) * classes + self.predicted
        return np.bincount(flat, minlength=classes * classes).reshape(classes, classes)

    def class_accuracy(self) -> list[float | None]:
        """The right part of those of each class; None for a class without any."""
        matrix = self.confusion()
        return [int(row[i]) / int(row.sum()) if row.sum() else None for i, row in enumerate(matrix)]


@dataclass(frozen=True)
class Predictions:
    """All answers on one split, by kind; a kind that the run does not have is absent."""

    split: str
    classes: tuple[str, ...]
    kinds: dict[str, Answers]

    def save(self, path: Path) -> None:
        """Write `predictions.npz`. Raises `StorageError`."""
        arrays: dict[str, np.ndarray] = {"split": np.array(self.split), "classes": np.array(self.classes)}
        for kind, answers in self.kinds.items():
            arrays |= {f"{kind}_{name}": getattr(answers, name) for name in _ARRAYS}
        with atomic_write(path) as partial, partial.open("wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]

    def save_confusion(self, path: Path) -> None:
        """Write `confusion.json`. Raises `StorageError`."""
        counted: dict[str, Any] = {"split": self.split, "classes": list(self.classes)}
        for kind, answers in self.kinds.items():
            counted[kind] = {
                "confusion": answers.confusion().tolist(),
                "class_accuracy": answers.class_accuracy(),
            }
        write_json(path, counted)


def load_predictions(path: Path) -> Predictions:
    """Read `predictions.npz`. Raises `RunError` with the reason for a file that is not there or damaged."""
    try:
        # opened here: of a damaged file numpy would leave its own open
        with path.open("rb") as opened:
            file = np.load(opened, allow_pickle=False)
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise ValueError("one array, where several by name are expected")
            kinds = {
                kind: Answers(*(file[f"{kind}_{name}"] for name in _ARRAYS))
                for kind in KINDS
                if f"{kind}_rows" in file.files
            }
            return Predictions(str(file["split"]), tuple(map(str, file["classes"])), kinds)
    except FileNotFoundError:
        raise RunError(f"{path}: not there; runs of older versions have none, and unfinished ones not yet") from None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise RunError(f"{path}: damaged ({error}); ./evaluate.sh tells the accuracies again") from None


def load_confusion(path: Path) -> dict[str, Any]:
    """Read `confusion.json` as plain data. Raises `ValueError` or `OSError`."""
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict) or not isinstance(content.get("classes"), list):
        raise ValueError("no classes in it")
    return content
