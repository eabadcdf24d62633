"""What a model gets right and wrong, as pictures: confusion matrix, accuracy of each class, calibration.

Axes: n answers, C classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from difflogic_tonic.report.style import BLUE, GREY, ORANGE, clean, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BINS = 10
NUMBERED_CLASSES = 20
"""Cells of so many classes have room for their counts."""

NAMED_CLASSES = 40
LISTED_CLASSES = 120
"""Lines of classes that have room in one picture."""


@dataclass(frozen=True)
class Calibration:
    """Answers by their confidence, in `BINS` bins of equal width: how many, their mean confidence and accuracy.

    The last two are NaN in an empty bin. `error` is the expected calibration error: the distance between confidence
    and accuracy, in the mean over all answers (Naeini et al. 2015, Guo et al. 2017).
    """

    counts: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray
    error: float


def calibration_of(scores: np.ndarray, labels: np.ndarray, bins: int = BINS) -> Calibration:
    """Of probabilities f[n, C] and classes i[n], n > 0. A confidence on an edge belongs to the bin below it."""
    confidence = scores.max(axis=1).astype(np.float64)
    right = (scores.argmax(axis=1) == labels).astype(np.float64)
    place = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    counts = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(place, confidence, bins) / counts
        accuracy = np.bincount(place, right, bins) / counts
    filled = counts > 0
    error = float((counts[filled] * np.abs(mean[filled] - accuracy[filled])).sum() / counts.sum())
    return Calibration(counts, mean, accuracy, error)


def worst_mistakes(scores: np.ndarray, labels: np.ndarray, most: int) -> np.ndarray:
    """Up to `most` of the wrong answers, i64[k]: first those with the most probability on the wrong class."""
    predicted = scores.argmax(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    return wrong[np.argsort(-scores[wrong, predicted[wrong]], kind="stable")][:most]


def save_confusion(path: Path, title: str, matrix: np.ndarray, classes: Sequence[str]) -> Path:
    """Draw counts i64[C, C], true class by row, as shares of each row."""
    n = len(classes)
    side = float(np.clip(0.48 * n + 2.2, 5.0, 16.0))
    figure = new_figure(side + 1.0, side + 0.4)
    figure.suptitle(title)
    axes = figure.add_subplot()
    totals = matrix.sum(axis=1, keepdims=True)
    shares = 100 * matrix / np.maximum(totals, 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    _name(axes, classes, "x")
    _name(axes, classes, "y")
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    if n <= NUMBERED_CLASSES:
        for row, column in np.argwhere(matrix > 0):
            colour = "white" if shares[row, column] > 55 else "black"
            axes.text(column, row, f"{matrix[row, column]}", ha="center", va="center", color=colour, fontsize=8)
    figure.colorbar(image, ax=axes, label="share of the true class (%)", shrink=0.8)
    return save_figure(figure, path)


def save_class_accuracy(path: Path, title: str, matrix: np.ndarray, classes: Sequence[str]) -> Path:
    """Draw the part of each class that is right, the worst first, beside what all classes together have."""
    figure = new_figure(6.4, float(np.clip(0.3 * np.count_nonzero(matrix.sum(axis=1)) + 1.4, 2.5, 20)))
    figure.suptitle(title)
    draw_class_accuracy(figure.add_subplot(), matrix, classes)
    return save_figure(figure, path)


def draw_class_accuracy(axes: "Axes", matrix: np.ndarray, classes: Sequence[str]) -> None:
    """Dots, since the axis does not begin at 0: bars of a cut axis have lengths that mean nothing."""
    totals = matrix.sum(axis=1)
    present = np.flatnonzero(totals)
    right = 100 * matrix.diagonal()[present] / totals[present]
    order = present[np.argsort(right, kind="stable")][:LISTED_CLASSES]
    values = 100 * matrix.diagonal()[order] / totals[order]
    overall = 100 * matrix.trace() / matrix.sum()
    axes.axvline(overall, color=ORANGE, linestyle="--", label=f"all classes: {overall:.1f} %")
    axes.plot(values, np.arange(len(order)), "o", color=BLUE, markersize=7, clip_on=False, zorder=3)
    names = [f"{classes[k]}  ({totals[k]})" for k in order.tolist()]
    axes.set_yticks(np.arange(len(order)), names, fontsize=8 if len(order) > NAMED_CLASSES else 9)
    axes.set_ylim(len(order) - 0.4, -0.6)
    clean(axes)
    lowest = float(values.min())
    axes.set_xlim(max(0.0, lowest - max(1.0, 0.15 * (100 - lowest))), 100)
    for place, value in enumerate(values):
        # outside, where neither a dot nor the line crosses it
        axes.annotate(f"{value:.1f}", (1.02, place), xycoords=axes.get_yaxis_transform(), va="center", fontsize=8)
    axes.set_xlabel("right (%)")
    part = f", the worst {len(order)} of {len(present)}" if len(order) < len(present) else ""
    axes.set_ylabel(f"class (how many of it){part}")
    axes.legend(fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), frameon=False)


def save_calibration(path: Path, title: str, scores: np.ndarray, labels: np.ndarray, what: str) -> Path:
    """Reliability diagram of probabilities f[n, C]: accuracy against confidence, and how many answers have it."""
    found = calibration_of(scores, labels)
    figure = new_figure(5.6, 5.8)
    figure.suptitle(title)
    upper, lower = figure.subplots(2, 1, height_ratios=[3, 1], sharex=True)
    centres, width = 100 * (np.arange(BINS) + 0.5) / BINS, 100 / BINS
    filled = found.counts > 0
    upper.plot([0, 100], [0, 100], color=GREY, linestyle="--", linewidth=1, label="perfectly calibrated")
    upper.bar(centres[filled], 100 * found.accuracy[filled], 0.92 * width, color=BLUE, label="accuracy")
    upper.plot(
        100 * found.confidence[filled], 100 * found.accuracy[filled], "o", color=ORANGE, markeredgecolor="white",
        clip_on=False, zorder=3, label="at the mean confidence of its bin",
    )  # fmt: skip
    upper.set_ylim(0, 103)
    upper.set_ylabel(f"{what} right (%)")
    upper.legend(fontsize=8, loc="upper left")
    upper.set_title(f"expected calibration error {100 * found.error:.1f} %", fontsize=10)
    lower.bar(centres, found.counts, 0.92 * width, color=GREY)
    lower.set_xlim(0, 100)
    lower.set_xlabel("confidence: probability of the predicted class (%)")
    lower.set_ylabel(what)
    for axes in (upper, lower):
        clean(axes)
    return save_figure(figure, path)


def _name(axes: "Axes", classes: Sequence[str], which: str) -> None:
    """Names at an axis; of too many classes, only every so many."""
    every = -(-len(classes) // NAMED_CLASSES)
    places = np.arange(0, len(classes), every)
    names = [classes[k] for k in places.tolist()]
    long = max(map(len, names)) > 3
    if which == "x":
        axes.set_xticks(places, names, rotation=60 if long else 0, ha="right" if long else "center")
    else:
        axes.set_yticks(places, names)
