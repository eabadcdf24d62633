"""What stands at the axes of a run that is short or silent."""

import numpy as np

from difflogic_tonic.report.curves import draw_curves
from difflogic_tonic.report.spikes import score_range
from difflogic_tonic.report.style import new_figure


def test_one_epoch_alone_has_no_parts_of_epochs_at_its_axis() -> None:
    axes = new_figure(4, 3).add_subplot()
    draw_curves(axes, [("train", [1], [0.5]), ("test", [1], [0.7])], "loss", "epoch")
    low, high = axes.get_xlim()
    assert [tick for tick in axes.get_xticks() if low <= tick <= high] == [1]


def test_classes_without_any_spike_have_an_axis_of_a_whole_spike() -> None:
    assert score_range(np.zeros((2, 3))) == (0, 1)
    assert score_range(np.array([[0.0, 2.0]])) == (0, 2.24)
    assert score_range(np.array([[-2.0, 1.0]])) == (-2.1, 1.12)
