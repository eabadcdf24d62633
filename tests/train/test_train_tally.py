"""Counts of an evaluation, by hand."""

import math

import pytest
import torch

from difflogic_tonic.train.losses import Loss
from difflogic_tonic.train.scores import gaps, larger, score_of
from difflogic_tonic.train.tally import Tally


def tally_of_two_recordings() -> Tally:
    """Recording 0 (label 0): frames with probability 0.9 and 0.4 of class 0. Recording 1 (label 1): 0.6 of class 0."""
    tally = Tally.empty(3, 2)
    odds = torch.tensor([[0.9, 0.1], [0.4, 0.6], [0.6, 0.4]])
    tally.add(odds[:1].log(), torch.tensor([0]), torch.tensor([0]), Loss())
    tally.add(odds[1:].log(), torch.tensor([0, 1]), torch.tensor([0, 1]), Loss())
    return tally


def test_a_recording_is_right_by_the_mean_of_its_frames_probabilities() -> None:
    found = tally_of_two_recordings().metrics("test", "frames", hard=False)
    assert (found["test_frames"], found["test_frames_correct"]) == (3, 1)
    assert (found["test_recordings"], found["test_recordings_correct"]) == (2, 1)  # the third was never seen
    assert found["test_recording_accuracy"] == 0.5
    assert found["test_loss"] == pytest.approx(-(math.log(0.9) + math.log(0.4) + math.log(0.4)) / 3)
    assert "test_top5_accuracy" not in found  # two classes


def test_probabilities_are_averaged_not_their_logarithms() -> None:
    """Two frames sure of the right class outvote one that excludes it: means 0.6 and 0.4, products 8e-5 and 1e-2."""
    tally = Tally.empty(1, 2)
    tally.add(
        torch.tensor([[0.9, 0.1], [0.9, 0.1], [1e-4, 1 - 1e-4]]).log(),
        torch.tensor([0] * 3),
        torch.tensor([0] * 3),
        Loss(),
    )
    assert tally.metrics("test", "frames", hard=False)["test_recordings_correct"] == 1


def test_where_recordings_are_samples_there_are_no_frame_metrics() -> None:
    found = tally_of_two_recordings().metrics("val", "sequence", hard=True)
    assert set(found) == {
        "val_loss_hard",
        "val_recording_accuracy_hard",
        "val_recordings_correct_hard",
        "val_recordings_hard",
    }


def test_top_five_of_six_classes() -> None:
    tally = Tally.empty(2, 6)
    logits = torch.tensor([[6.0, 5, 4, 3, 2, 1], [6.0, 5, 4, 3, 2, 1]])
    tally.add(logits, torch.tensor([4, 5]), torch.tensor([0, 1]), Loss())
    assert tally.metrics("test", "frames", hard=False)["test_top5_accuracy"] == 0.5


def test_the_gap_is_soft_minus_hard() -> None:
    measured = {"test_frame_accuracy": 0.9, "test_frame_accuracy_hard": 0.7, "val_recording_accuracy": 0.5}
    assert gaps(measured) == {"test_gap_frame": pytest.approx(0.2)}


def test_epochs_are_compared_by_recordings_then_frames_then_loss_and_hard_if_there_is_one() -> None:
    def measured(recordings: float, frames: float, loss: float, suffix: str = "") -> dict[str, float]:
        names = ("val_recording_accuracy", "val_frame_accuracy", "val_loss")
        return {name + suffix: value for name, value in zip(names, (recordings, frames, loss), strict=True)}

    ordered = [measured(0.5, 0.9, 0.1), measured(0.6, 0.4, 2.0), measured(0.6, 0.5, 2.0), measured(0.6, 0.5, 1.0)]
    assert [score_of(one) for one in ordered] == sorted(score_of(one) for one in ordered)
    both = measured(0.9, 0.9, 0.1) | measured(0.2, 0.3, 4.0, "_hard")
    assert score_of(both) == [0.2, 0.3, -4.0]


def test_the_largest_test_accuracy_of_any_epoch_is_kept_with_its_first_epoch() -> None:
    maxima: dict[str, list[float]] = {}
    for epoch, (test, hard) in enumerate([(0.5, 0.1), (0.75, 0.0), (0.75, 0.2)], start=1):
        measured = {"test_recording_accuracy": test, "test_recording_accuracy_hard": hard, "test_loss": 9.0}
        maxima = larger(maxima, measured | {"val_recording_accuracy": 1.0, "test_top5_accuracy": 1.0}, epoch)
    assert maxima == {"test_recording_accuracy": [0.75, 2], "test_recording_accuracy_hard": [0.2, 3]}
