"""What stands at the axes of a run that is short or silent."""

import numpy as np
import pytest

from difflogic_tonic.report.curves import SPLITS, draw_curves, spike_rate_figure
from difflogic_tonic.report.dashboard import draw_panel
from difflogic_tonic.report.gates import draw_deeper
from difflogic_tonic.report.spikes import score_range
from difflogic_tonic.report.style import new_figure, shown_number
from difflogic_tonic.report.table import ACCURACIES, COSTS, Point


def test_one_epoch_alone_has_no_parts_of_epochs_at_its_axis() -> None:
    axes = new_figure(4, 3).add_subplot()
    draw_curves(axes, [("train", [1], [0.5]), ("test", [1], [0.7])], "loss", "epoch")
    low, high = axes.get_xlim()
    assert [tick for tick in axes.get_xticks() if low <= tick <= high] == [1]


def test_classes_without_any_spike_have_an_axis_of_a_whole_spike() -> None:
    assert score_range(np.zeros((2, 3))) == (0, 1)
    assert score_range(np.array([[0.0, 2.0]])) == (0, 2.24)
    assert score_range(np.array([[-2.0, 1.0]])) == (-2.1, 1.12)


def test_no_tick_is_above_all_recordings_right() -> None:
    curves, panel = new_figure(8, 3).subplots(1, 2)
    draw_curves(curves, [("test", [1, 2], [100.0, 100.0])], "recordings right (%)", "epoch")
    one = Point("SNN", "POKERDVS", ("job",), {"accuracy": 1.0, "spikes_per_sample": 10.0}, {})
    draw_panel(panel, [one], ACCURACIES[0], COSTS[0])
    for axes in (curves, panel):
        low, high = axes.get_ylim()
        assert max(axes.get_yticks()) == 100
        assert low < 100 < high < 101


def test_a_loss_of_a_hundred_is_no_limit() -> None:
    axes = new_figure(4, 3).add_subplot()
    draw_curves(axes, [("train", [1, 2], [90.0, 300.0])], "loss", "epoch")
    assert axes.get_ylim()[1] > 300


def test_ticks_that_are_evenly_spaced_are_labelled_so() -> None:
    assert [shown_number(value) for value in (12_250, 12_500, 12_750)] == ["12.25k", "12.5k", "12.75k"]


@pytest.mark.parametrize("n_layers", [1, 17, 60])
def test_the_names_of_layers_stand_beside_their_curves_and_inside_the_picture(n_layers: int) -> None:
    rates = {f"{split}_spikes_rate_network.layer.{k}.neuron": 0.01 * k for split in SPLITS for k in range(n_layers)}
    figure = spike_rate_figure("deep", [{"kind": "epoch", "step": 1, "epoch": 1, "time": 1.0} | rates])
    figure.draw_without_rendering()
    (legend,) = figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names[:n_layers] == [f"network.layer.{k}.neuron" for k in range(n_layers)]
    box, whole = legend.get_window_extent(), figure.bbox
    assert whole.x0 <= box.x0 < box.x1 <= whole.x1
    assert whole.y0 <= box.y0 < box.y1 <= whole.y1
    assert len(figure.axes) == len(SPLITS)
    for axes in figure.axes:
        assert axes.get_legend() is None
        assert not axes.get_tightbbox().overlaps(box)


def test_the_names_of_many_logic_layers_do_not_cover_their_curves() -> None:
    figure = new_figure(6, 4.3)
    axes = figure.add_subplot()
    draw_deeper(axes, [np.linspace(0, 1, 50)] * 19)
    figure.draw_without_rendering()
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()][-2:] == ["layer 20", "random"]
    assert legend.get_window_extent().x0 >= axes.bbox.x1
    assert legend.get_window_extent().x1 <= figure.bbox.x1
