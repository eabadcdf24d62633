"""The dashboard as a picture: accuracy against every cost that the runs have, a block for each dataset."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from difflogic_tonic.report.style import (
    BLACK,
    FAMILIES,
    GREY,
    clean,
    end_at,
    family_style,
    new_figure,
    save_figure,
    shown_number,
)
from difflogic_tonic.report.table import Axis, Point, pareto_front

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

COLUMNS = 3
PANEL_INCHES = (4.4, 3.5)
WIDEST_LOG_RANGE = 3.0
"""Costs that differ by less than this factor are drawn on a linear axis, whose ticks are easier to read."""


@dataclass(frozen=True)
class Dashboard:
    """What is drawn: points, the accuracy that is up, the costs that lie to the right, and lines for the foot."""

    points: Sequence[Point]
    quality: Axis
    costs: Sequence[Axis]
    notes: Sequence[str] = ()

    def datasets(self) -> list[str]:
        """Datasets with at least one point that can be drawn, in their order."""
        drawn = [point.dataset for point in self.points if any(has_both(point, self.quality, a) for a in self.costs)]
        return list(dict.fromkeys(drawn))

    def costs_of(self, dataset: str) -> list[Axis]:
        """The costs that at least one run on `dataset` has."""
        here = [point for point in self.points if point.dataset == dataset]
        return [axis for axis in self.costs if any(has_both(point, self.quality, axis) for point in here)]


def has_both(point: Point, quality: Axis, cost: Axis) -> bool:
    """Whether a point has a place in a panel; a cost of nothing has none on a logarithmic axis."""
    return quality.column in point.means and point.means.get(cost.column, 0.0) > 0


def save_dashboard(dashboard: Dashboard, path: Path) -> Path:
    """Draw all panels into one picture, in the format of the path's ending."""
    blocks = [(dataset, dashboard.costs_of(dataset)) for dataset in dashboard.datasets()]
    rows = [-(-len(costs) // COLUMNS) for _, costs in blocks]
    columns = max(2, min(COLUMNS, max(len(costs) for _, costs in blocks)))
    width, height = columns * PANEL_INCHES[0], sum(rows) * PANEL_INCHES[1]
    head, foot = 0.55, 0.25 + 0.17 * len(dashboard.notes)
    figure = new_figure(width, height + 0.35 * len(blocks) + head + foot)
    parts = figure.subfigures(
        *(len(blocks) + 2, 1), squeeze=False, height_ratios=[head, *(n * PANEL_INCHES[1] + 0.35 for n in rows), foot]
    )[:, 0]
    _draw_legend(parts[0], dashboard)
    for part, (dataset, costs), n_rows in zip(parts[1:-1], blocks, rows, strict=True):
        part.suptitle(f"{dataset}", fontsize=13, fontweight="bold", x=0.01, ha="left")
        grid = part.subplots(n_rows, columns, squeeze=False)
        here = [point for point in dashboard.points if point.dataset == dataset]
        for number, axes in enumerate(grid.flat):
            if number < len(costs):
                draw_panel(axes, here, dashboard.quality, costs[number])
            else:
                axes.set_axis_off()
    parts[-1].text(0.01, 0.9, "\n".join(dashboard.notes), va="top", fontsize=8, color="#444444")
    return save_figure(figure, path)


def draw_panel(axes: "Axes", points: Sequence[Point], quality: Axis, cost: Axis) -> None:
    """One scatter plot, with the spread over seeds as bars and the Pareto front of the means as a line."""
    shown = [point for point in points if has_both(point, quality, cost)]
    values = [_value(point, cost) for point in shown]
    logarithmic = cost.log and max(values) > WIDEST_LOG_RANGE * min(values)
    if logarithmic:
        axes.set_xscale("log")
    clean(axes)
    front = pareto_front((_value(point, cost), _value(point, quality)) for point in shown)
    if len(front) > 1:
        axes.step(*zip(*front, strict=True), where="post", color=GREY, linewidth=1.4, linestyle="--", zorder=2)
    for point in shown:
        colour, marker = family_style(point.family)
        edge = BLACK if (_value(point, cost), _value(point, quality)) in front else "white"
        axes.errorbar(
            *(_value(point, cost), _value(point, quality)),
            xerr=_spread(point, cost) or None,
            yerr=_spread(point, quality) or None,
            fmt=marker, color=colour, markeredgecolor=edge, markersize=8, capsize=3, elinewidth=1.2,
            zorder=3,
        )  # fmt: skip
    axes.set_xlabel(cost.label)
    axes.set_ylabel(quality.label)
    axes.margins(0.12)
    end_at(axes, quality.factor)
    _thin_ticks(axes, logarithmic)


def _thin_ticks(axes: "Axes", logarithmic: bool) -> None:
    """Ticks as people write numbers, and no more than have room."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    formatter = FuncFormatter(lambda value, _: shown_number(value))
    axes.xaxis.set_major_formatter(formatter)
    if not logarithmic:
        axes.xaxis.set_major_locator(MaxNLocator(5))
        return
    low, high = axes.get_xlim()
    subs = (1.0, 2.0, 5.0) if high < 30 * low else (1.0, 3.0) if high < 300 * low else (1.0,)
    axes.xaxis.set_major_locator(LogLocator(base=10, subs=subs, numticks=7))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _draw_legend(part: "SubFigure | Figure", dashboard: Dashboard) -> None:
    from matplotlib.lines import Line2D

    present = {point.family for point in dashboard.points}
    ordered = [name for name in FAMILIES if name in present] + sorted(present - set(FAMILIES))
    handles = []
    for name in ordered:
        colour, marker = family_style(name)
        handles.append(Line2D([], [], color=colour, marker=marker, markersize=9, linestyle="", label=name))
    handles.append(Line2D([], [], color=GREY, linestyle="--", linewidth=1.4, label="Pareto front (black edge)"))
    if any(point.spreads for point in dashboard.points):
        handles.append(
            Line2D([], [], color=BLACK, marker="|", linewidth=1.2, label="± 1 standard deviation over seeds")
        )
    part.legend(handles=handles, loc="center left", ncols=len(handles), frameon=False, fontsize=11)


def _value(point: Point, axis: Axis) -> float:
    return axis.factor * point.means[axis.column]


def _spread(point: Point, axis: Axis) -> float:
    return axis.factor * point.spreads.get(axis.column, 0.0)
