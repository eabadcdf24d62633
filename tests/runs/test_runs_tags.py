"""Which points a row becomes."""

from typing import Any

import pytest

from difflogic_tonic.nets.spiking.spikes import HISTOGRAM
from difflogic_tonic.runs.tags import MEMBRANE_RANGE, Histogram, points_of


def points(kind: str = "epoch", **metrics: Any) -> list[Any]:
    return list(points_of({"kind": kind, "step": 3, "epoch": 1, "time": 1.0, **metrics}))


@pytest.mark.parametrize(
    ("kind", "name", "tag"),
    [
        ("epoch", "train_loss", "Train/EpochLoss"),
        ("epoch", "train_frame_accuracy", "Train/EpochAcc"),
        ("epoch", "train_recording_accuracy", "Train/EpochAcc"),
        ("epoch", "test_loss", "Test/Loss"),
        ("epoch", "test_recording_accuracy", "Test/Acc"),
        ("epoch", "val_frame_accuracy", "Val/FrameAcc"),
        ("epoch", "test_top5_accuracy", "Test/Top5Acc"),
        ("epoch", "test_loss_hard", "Test/HardLoss"),
        ("epoch", "test_recording_accuracy_hard", "Test/HardAcc"),
        ("epoch", "test_gap_recording", "Test/Gap"),
        ("epoch", "test_spikes_global_rate", "Spikes/Test/GlobalRate"),
        ("epoch", "train_spikes_rate_layer1.0.sn1", "Spikes/Train/layer1.0.sn1_mean"),
        ("epoch", "test_spikes_near_threshold_layers.1", "PotentialNearThresh/Test/layers.1"),
        ("epoch", "train_spikes_per_sample", "Efficiency/Train/SpikesPerSample"),
        ("epoch", "test_synops_per_sample", "Efficiency/Test/SynOpsPerSample"),
        ("epoch", "logic_unused", "Logic/UnusedGates"),
        ("epoch", "seconds", "Epoch/Seconds"),
        ("step", "loss", "Step/Loss"),
        ("step", "learning_rate", "Step/LearningRate"),
        ("step", "something_new", "Step/something_new"),
        ("epoch", "test_something_new", "Test/something_new"),
    ],
)
def test_tags(kind: str, name: str, tag: str) -> None:
    assert points(kind, **{name: 0.5}) == [(tag, 0.5)]


def test_exact_counts_are_no_curves() -> None:
    assert points(test_recordings=8, test_recordings_correct=3, val_frames_correct_hard=2, train_spikes_samples=7) == []


def test_membranes_are_a_histogram_of_each_layer() -> None:
    assert points(test_spikes_histogram={"a": [1, 0, 0, 2], "b": [0, 0, 3, 0]}) == [
        ("PotentialHist/Test/a", Histogram((-2.0, -1.0, 0.0, 1.0, 2.0), (1, 0, 0, 2))),
        ("PotentialHist/Test/b", Histogram((-2.0, -1.0, 0.0, 1.0, 2.0), (0, 0, 3, 0))),
    ]
    assert HISTOGRAM[:2] == MEMBRANE_RANGE


def test_gates_are_histograms_of_all_layers_and_of_each() -> None:
    found = dict(
        points(
            logic_histogram_FALSE=1,
            logic_histogram_AND=5,
            logic_layers_unused=[1, 0],
            logic_layers_histogram=[[1, 2], [0, 3]],
        )
    )
    assert found == {
        "Logic/Gates/FALSE": 1,
        "Logic/Gates/AND": 5,
        "Logic/UnusedGates/layer1": 1,
        "Logic/UnusedGates/layer2": 0,
        "Logic/GateHist/layer1": Histogram((-0.5, 0.5, 1.5), (1, 2)),
        "Logic/GateHist/layer2": Histogram((-0.5, 0.5, 1.5), (0, 3)),
        "Logic/GateHist": Histogram((-0.5, 0.5, 1.5), (1, 5)),
    }
