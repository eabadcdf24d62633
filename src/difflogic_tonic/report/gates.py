"""What a logic network has become, as pictures: its gates by layer and over time, and how far its wires reach."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from difflogic_tonic.report.style import BLUE, GREY, ORANGE, clean, new_figure, save_figure, series_style
from difflogic_tonic.runs.metrics import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def layers_of(summary: dict[str, Any]) -> list[dict[str, Any]]:
    """The layers of `logic_report` in a summary; empty where there are none, or something else."""
    logic = summary.get("logic")
    layers = logic.get("layers") if isinstance(logic, dict) else None
    if not isinstance(layers, list):
        return []
    return [layer for layer in layers if isinstance(layer, dict) and isinstance(layer.get("histogram"), dict)]


def counted_rows(epochs: Sequence[Row]) -> list[Row]:
    """The epochs at whose end gates were counted."""
    return [row for row in epochs if isinstance(row.get("logic_gates"), int) and row["logic_gates"] > 0]


def save_gate_histograms(path: Path, title: str, layers: Sequence[dict[str, Any]]) -> Path:
    """Draw which share of each layer is which gate, a column a layer; `layers` as in `logic_report`."""
    names = list(layers[0]["histogram"])
    counts = np.array([[layer["histogram"][name] for name in names] for layer in layers])
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = new_figure(max(6.5, 1.0 * len(layers) + 3.2), 6.4)
    figure.suptitle(title)
    axes = figure.add_subplot()
    highest = max(float(shares.max()), 1e-9)
    image = axes.imshow(shares.T, cmap="cividis", aspect="auto", vmin=0, vmax=highest)
    for layer, gate in np.ndindex(shares.shape):
        colour = "black" if shares[layer, gate] > 0.5 * highest else "white"
        axes.text(layer, gate, f"{shares[layer, gate]:.1f}", ha="center", va="center", fontsize=8, color=colour)
    axes.set_yticks(np.arange(len(names)), names)
    unused = [
        f"{number}\n{layer['gates']:,} gates\n{layer['unused']:,} unused" for number, layer in enumerate(layers, 1)
    ]
    axes.set_xticks(np.arange(len(layers)), unused, fontsize=8)
    axes.set_xlabel("layer")
    axes.set_ylabel("gate")
    figure.colorbar(image, ax=axes, label="share of the layer (%)")
    return save_figure(figure, path)


def save_gates_over_time(path: Path, title: str, epochs: Sequence[Row]) -> Path:
    """Draw how many neurons are which gate, and how many are unused, at the end of each epoch."""
    head = "logic_histogram_"
    rows = counted_rows(epochs)
    names = [name for name in rows[-1] if name.startswith(head)]
    places = [row["epoch"] for row in rows]
    shares = {name: [100 * row.get(name, 0) / row["logic_gates"] for row in rows] for name in names}
    figure = new_figure(10.5, 4.4)
    figure.suptitle(title)
    left, right = figure.subplots(1, 2, width_ratios=[1.6, 1])
    for number, name in enumerate(sorted(names, key=lambda name: -shares[name][-1])):
        colour, line = series_style(number)
        left.plot(places, shares[name], line, color=colour, linewidth=1.5, label=name.removeprefix(head))
    left.legend(fontsize=7, ncols=2, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    _label(left, "share of the neurons (%)", "gates")
    right.plot(
        places,
        [100 * row.get("logic_unused", 0) / row["logic_gates"] for row in rows],
        color=BLUE,
        marker="o",
        markersize=3,
    )
    right.set_ylim(bottom=0)
    _label(right, "share of the neurons (%)", "unused: reach no output")
    return save_figure(figure, path)


def save_wiring(
    path: Path, title: str, reads: np.ndarray, first: np.ndarray, first_random: np.ndarray, deeper: Sequence[np.ndarray]
) -> Path:
    """Draw where the wires of a logic network go.

    `reads` i64[H, W]: how many inputs of the first layer read each pixel, all planes together. `first`,
    `first_random` f64[n]: distance in pixels between the two inputs of its neurons, and the same with the partners
    shuffled. `deeper`: for each other layer the distance between the two inputs of its neurons, as a part of the layer
    before, f64[n] in [0, 1].
    """
    figure = new_figure(14.0, 4.3)
    figure.suptitle(title)
    left, middle, right = figure.subplots(1, 3)
    image = left.imshow(reads, cmap="cividis", interpolation="nearest", vmin=0)
    figure.colorbar(image, ax=left, label="inputs of the first layer that read the pixel", shrink=0.9)
    left.set_title("where the first layer looks")
    left.set_xlabel("x (pixels)")
    left.set_ylabel("y (pixels)")
    edges = np.linspace(0, max(first.max(), first_random.max()) + 1e-9, 25)
    middle.hist(first, bins=edges.tolist(), color=BLUE, label="as wired")
    middle.hist(
        first_random, bins=edges.tolist(), histtype="step", color=ORANGE, linewidth=1.6, label="partners shuffled"
    )
    middle.legend(fontsize=8)
    _label(middle, "neurons", "first layer", "distance of the two inputs (pixels)")
    draw_deeper(right, deeper)
    return save_figure(figure, path)


def draw_deeper(axes: "Axes", deeper: Sequence[np.ndarray]) -> None:
    """The distances of `save_wiring` as a curve for each layer, beside those of random wires."""
    if not deeper:
        axes.text(0.5, 0.5, "one layer only", ha="center", va="center")
        axes.set_axis_off()
        return
    edges = np.linspace(0, 1, 26)
    for number, distances in enumerate(deeper):
        colour, line = series_style(number)
        density, _ = np.histogram(distances, edges, density=True)
        axes.plot((edges[1:] + edges[:-1]) / 2, density, line, color=colour, label=f"layer {number + 2}")
    axes.plot([0, 1], [2, 0], color=GREY, linestyle="--", linewidth=1, label="random")
    axes.set_ylim(bottom=0)
    # beside the curves, which the names of many layers would cover
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    _label(axes, "density", "deeper layers", "distance of the two inputs (layer before = 1)")


def _label(axes: "Axes", unit: str, title: str, below: str = "epoch") -> None:
    from matplotlib.ticker import MaxNLocator

    clean(axes)
    axes.set_xlabel(below)
    axes.set_ylabel(unit)
    axes.set_title(title)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=below == "epoch"))
