"""Curves of one run over its epochs: loss, accuracy, speed, spikes, and the gap of logic networks."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from difflogic_tonic.report.style import GREY, SERIES, clean, end_at, new_figure, save_figure, series_style
from difflogic_tonic.runs.metrics import Row

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SPARSE = (0.05, 0.10)
"""Spikes per neuron and step that are sparse; above `BUSY` a layer is warned about (docs/interpretation.md)."""

BUSY = 0.3
SPLITS = ("train", "val", "test")
PANEL_INCHES = (4.6, 3.4)
LEGEND_LINES = 24
"""Names that have room below each other beside a panel."""

Curve = tuple[str, list[float], list[float]]
"""Name, epochs (or steps), values."""


def curve(rows: Sequence[Row], metric: str, name: str, factor: float = 1.0, over: str = "epoch") -> Curve:
    """The values of one metric, of those rows that have it."""
    having = [row for row in rows if isinstance(row.get(metric), int | float)]
    return name, [row[over] for row in having], [factor * row[metric] for row in having]


def loss_curves(rows: Sequence[Row]) -> list[Curve]:
    names = [(f"{split}_loss", split) for split in SPLITS] + [(f"{s}_loss_hard", f"{s}, hard") for s in SPLITS]
    return _present(curve(rows, metric, name) for metric, name in names)


def accuracy_curves(rows: Sequence[Row], sample: str) -> list[Curve]:
    """Accuracies in per cent, of `sample` frame or recording."""
    names = [
        (f"{split}_{sample}_accuracy{suffix}", f"{split}{', hard' if suffix else ''}")
        for split in SPLITS
        for suffix in ("", "_hard")
    ]
    return _present(curve(rows, metric, name, 100) for metric, name in names)


def gap_curves(rows: Sequence[Row]) -> list[Curve]:
    """What discretisation costs, in percentage points: soft minus hard accuracy."""
    names = [
        (f"{split}_gap_{sample}", f"{split} {sample}s")
        for split in ("val", "test")
        for sample in ("recording", "frame")
    ]
    return _present(curve(rows, metric, name, 100) for metric, name in names)


def spike_rate_curves(rows: Sequence[Row], split: str) -> list[Curve]:
    """Spikes per neuron and step: the whole network first, then each layer."""
    head = f"{split}_spikes_rate_"
    layers = dict.fromkeys(name for row in rows for name in row if name.startswith(head))
    curves = [curve(rows, f"{split}_spikes_global_rate", "all neurons")]
    return _present([*curves, *(curve(rows, name, name.removeprefix(head)) for name in layers)])


Panel = tuple[str, str, list[Curve], str]
"""Title, unit upwards, curves, unit to the right."""


def panels_of(epochs: Sequence[Row], steps: Sequence[Row]) -> list[Panel]:
    """What there is of loss, accuracies, learning rate and speed."""
    panels: list[Panel] = [("loss", "loss", loss_curves(epochs), "epoch")]
    panels += [
        (f"{sample}s right", f"{sample}s right (%)", found, "epoch")
        for sample in ("recording", "frame")
        if (found := accuracy_curves(epochs, sample))
    ]
    rates = _present([curve(steps, "learning_rate", "learning rate", over="step")])
    panels += [("learning rate", "learning rate", rates, "optimizer step")] if rates else []
    speeds = [curve(epochs, f"{split}_samples_per_second", split) for split in ("train", "test")]
    panels.append(("speed", "samples per second", _present(speeds), "epoch"))
    return [panel for panel in panels if panel[2]]


def save_curves(path: Path, title: str, epochs: Sequence[Row], steps: Sequence[Row]) -> Path:
    """Loss, accuracies, learning rate and speed of a run in one picture; there must be `panels_of` it."""
    panels = panels_of(epochs, steps)
    columns = 2 if len(panels) in (2, 4) else min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure = new_figure(columns * PANEL_INCHES[0], rows * PANEL_INCHES[1] + 0.4)
    figure.suptitle(title)
    for number, (name, unit, curves, below) in enumerate(panels):
        axes = figure.add_subplot(rows, columns, number + 1)
        draw_curves(axes, curves, unit, below)
        axes.set_title(name)
        if name in ("speed", "learning rate"):
            axes.set_ylim(bottom=0)
    return save_figure(figure, path)


def save_gap(path: Path, title: str, epochs: Sequence[Row]) -> Path:
    """The gap between a logic network in training and the circuit that it becomes."""
    figure = new_figure(2 * PANEL_INCHES[0], PANEL_INCHES[1] + 0.4)
    figure.suptitle(title)
    left, right = figure.subplots(1, 2)
    found = accuracy_curves(epochs, "recording")
    draw_curves(left, [one for one in found if one[0].split(",")[0] != "train"], "recordings right (%)", "epoch")
    left.set_title("soft and hard accuracy")
    draw_curves(right, gap_curves(epochs), "soft minus hard (percentage points)", "epoch")
    right.axhline(0, color=GREY, linewidth=1)
    right.set_title("gap")
    return save_figure(figure, path)


def save_spike_rates(path: Path, title: str, epochs: Sequence[Row]) -> Path:
    """Spike rates of every layer and of all neurons, over the epochs, with what is sparse and what is busy."""
    return save_figure(spike_rate_figure(title, epochs), path)


def spike_rate_figure(title: str, epochs: Sequence[Row]) -> "Figure":
    """A panel for each split that has rates; at least one must."""
    splits = [split for split in SPLITS if spike_rate_curves(epochs, split)]
    named: dict[str, Artist] = {}
    figure = new_figure(len(splits) * PANEL_INCHES[0], PANEL_INCHES[1] + 0.8)
    figure.suptitle(title)
    for number, split in enumerate(splits):
        axes = figure.add_subplot(1, len(splits), number + 1)
        curves = spike_rate_curves(epochs, split)
        draw_curves(axes, curves, "spikes per neuron and step", "epoch", with_legend=False)
        axes.axhspan(*SPARSE, color="#009E73", alpha=0.15, zorder=0, label=f"sparse: {SPARSE[0]} to {SPARSE[1]}")
        if max(max(values) for _, _, values in curves) > 0.6 * BUSY:
            axes.axhline(BUSY, color=GREY, linestyle="--", linewidth=1, label=f"busy above {BUSY}")
        axes.set_ylim(bottom=0)
        axes.set_title(f"spike rates, {split}")
        named |= {name: handle for handle, name in zip(*axes.get_legend_handles_labels(), strict=True)}
    # one for all panels and beside them, since a deep network has more layers than a panel has room for
    columns = -(-len(named) // LEGEND_LINES)
    longest = max(map(len, named))
    figure.set_figwidth(figure.get_figwidth() + columns * (0.6 + 0.075 * longest))
    figure.legend(named.values(), named.keys(), loc="outside right center", fontsize=8, ncols=columns, frameon=False)
    return figure


def draw_curves(axes: "Axes", curves: Sequence[Curve], unit: str, below: str, with_legend: bool = True) -> None:
    """Curves in one panel, each with its own colour and, beyond seven, line style; one value alone as a dot."""
    from matplotlib.ticker import MaxNLocator

    for number, (name, places, values) in enumerate(curves):
        colour, line = _style(name, number)
        marker = "o" if len(values) <= 30 else ""
        axes.plot(
            places, values, color=colour, linestyle=line, marker=marker, markersize=3.5, linewidth=1.6, label=name
        )
    clean(axes)
    axes.set_xlabel(below)
    axes.set_ylabel(unit)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    if len(alone := {place for _, places, _ in curves for place in places}) == 1:
        axes.set_xticks(list(alone))  # no parts of an epoch
    if unit.endswith("right (%)"):
        end_at(axes, 100)
    if len(curves) > 1 and with_legend:
        axes.legend(fontsize=8)


def _style(name: str, number: int) -> tuple[str, str]:
    """Splits keep their colour in every panel, and what is hard is dashed; other curves have the colours in turn."""
    split, _, rest = name.partition(",")
    if split not in SPLITS:
        return series_style(number)
    return SERIES[SPLITS.index(split)], "--" if rest else "-"


def _present(curves: Iterable[Curve]) -> list[Curve]:
    """Those with at least one value."""
    return [one for one in curves if one[2]]
