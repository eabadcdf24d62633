"""How the pictures look: colours that people with every kind of colour vision tell apart, a shape besides, and files.

Colours are those of Okabe and Ito (2008), "Color Universal Design".
"""

from pathlib import Path
from typing import TYPE_CHECKING

from difflogic_tonic.storage import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, PINK = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
YELLOW, SKY, BLACK, GREY = "#E69F00", "#56B4E9", "#000000", "#767676"

FAMILIES = {
    "DiffLogic": (BLUE, "o"),
    "SNN": (ORANGE, "^"),
    "CNN": (GREEN, "s"),
    "MLP": (PINK, "D"),
}
"""Model family to colour and matplotlib's marker."""

OTHER_FAMILY = (BLACK, "P")
SERIES = (BLUE, ORANGE, GREEN, PINK, YELLOW, SKY, BLACK)
"""Colours of several curves in one picture, in this order; line styles change when they repeat."""

LINES = ("-", "--", ":", "-.")
DOTS_PER_INCH = 120
FORMATS = ("png", "pdf", "svg")


def family_style(family: str) -> tuple[str, str]:
    """Colour and marker of a model family; of one's own networks the same for all."""
    return FAMILIES.get(family, OTHER_FAMILY)


def series_style(number: int) -> tuple[str, str]:
    """Colour and line style of curve `number`, from 0."""
    return SERIES[number % len(SERIES)], LINES[number // len(SERIES) % len(LINES)]


def new_figure(width_inches: float, height_inches: float) -> "Figure":
    """An empty figure that belongs to no window: works without a display."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width_inches, height_inches), layout="constrained")


def save_figure(figure: "Figure", path: Path) -> Path:
    """Write `figure` in the format of the path's ending, whole or not at all. Returns `path`; raises `StorageError`."""
    form = path.suffix.removeprefix(".")
    with atomic_write(path) as partial:
        figure.savefig(partial, format=form, dpi=DOTS_PER_INCH)
    return path


def clean(axes: "Axes") -> None:
    """Leave out the frame above and to the right, and draw a faint grid behind everything."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)


def end_at(axes: "Axes", highest: float) -> None:
    """Let the axis upwards end a little above `highest`, without a tick beyond it: no accuracy is above 100 %."""
    low, high = axes.get_ylim()
    if not low < highest < high:
        return
    limits = low, min(high, highest + 0.06 * (highest - low))
    axes.set_ylim(limits)
    axes.set_yticks([tick for tick in axes.get_yticks() if tick <= highest])
    axes.set_ylim(limits)


def shown_number(value: float) -> str:
    """A count or an amount as a person reads it: 1,234; 12.3k; 4.56M; 0.0123."""
    size = abs(value)
    for limit, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
        if size >= limit:
            return f"{value / (1e3 if unit == 'k' else limit):.4g}{unit}"
    if value == round(value):
        return f"{value:,.0f}"
    return f"{value:,.0f}" if size >= 1000 else f"{value:.3g}"
