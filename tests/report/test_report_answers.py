"""Calibration and mistakes, by hand."""

import numpy as np
import pytest

from difflogic_tonic.report.answers import LISTED_CLASSES, calibration_of, draw_class_accuracy, worst_mistakes
from difflogic_tonic.report.style import new_figure

SCORES = np.array([[0.9, 0.1], [0.95, 0.05], [0.4, 0.6], [0.45, 0.55]], np.float32)
LABELS = np.array([0, 1, 1, 0])
"""Right with 0.9, wrong with 0.95, right with 0.6, wrong with 0.55."""


def test_answers_fall_into_bins_of_confidence_with_their_accuracy() -> None:
    found = calibration_of(SCORES, LABELS, bins=2)
    assert found.counts.tolist() == [0, 4]
    assert found.accuracy[1] == pytest.approx(0.5)
    assert found.confidence[1] == pytest.approx((0.9 + 0.95 + 0.6 + 0.55) / 4)
    assert np.isnan(found.accuracy[0])


def test_the_calibration_error_is_the_mean_distance_of_confidence_and_accuracy() -> None:
    # bins (0.5, 0.6], (0.6, 0.7] …: 0.55 alone and wrong with 0.6 right, 0.9 alone and right, 0.95 alone and wrong
    scores = np.array([[0.9, 0.1], [0.95, 0.05], [0.25, 0.75], [0.45, 0.55]])
    found = calibration_of(scores, LABELS)
    assert found.counts.tolist() == [0, 0, 0, 0, 0, 1, 0, 1, 1, 1]
    assert found.error == pytest.approx(((1 - 0.9) + 0.95 + (1 - 0.75) + 0.55) / 4)


def test_perfect_confidence_that_is_right_has_no_error() -> None:
    assert calibration_of(np.eye(3), np.arange(3)).error == 0


def test_the_surest_mistake_comes_first_and_right_answers_never() -> None:
    assert worst_mistakes(SCORES, LABELS, most=5).tolist() == [1, 3]
    assert worst_mistakes(SCORES, LABELS, most=1).tolist() == [1]
    assert worst_mistakes(np.eye(2), np.arange(2), most=5).tolist() == []


def test_classes_on_an_axis_that_is_cut_are_dots_and_no_bars() -> None:
    axes = new_figure(4, 3).add_subplot()
    # 3 of 4 cats, all dogs, no bird among the recordings
    draw_class_accuracy(axes, np.array([[3, 1, 0], [0, 2, 0], [0, 0, 0]]), ["cat", "dog", "bird"])
    low, high = axes.get_xlim()
    assert 0 < low < 75
    assert high == 100
    assert list(axes.patches) == []
    dots = next(line for line in axes.lines if line.get_marker() == "o")
    assert list(dots.get_xdata()) == [75, 100]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cat  (4)", "dog  (2)"]


def test_of_a_thousand_classes_the_worst_are_listed() -> None:
    axes = new_figure(4, 3).add_subplot()
    matrix = np.diag(np.full(1000, 2))
    matrix[999] = np.eye(1000, dtype=int)[0]
    draw_class_accuracy(axes, matrix, [f"class{k}" for k in range(1000)])
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert (len(names), names[0]) == (LISTED_CLASSES, "class999  (1)")
    assert axes.get_ylabel() == f"class (how many of it), the worst {LISTED_CLASSES} of 1000"
