"""The inside of a spiking network as pictures: which neurons spike when, membranes, and class scores as they grow.

Axes: T steps, N neurons of a layer, C classes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from difflogic_tonic.report.style import (
    BLACK,
    BLUE,
    FORMATS,
    GREY,
    ORANGE,
    clean,
    new_figure,
    save_figure,
    series_style,
)
from difflogic_tonic.runs.metrics import Row
from difflogic_tonic.storage import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from PIL.Image import Image

RASTER_NEURONS = 300
TRACES = 6
SNAPSHOTS = 4
FRAME_MS = 400
LAST_MS = 1600
"""The last frame of an animation stands for longer, to be read."""

MOST_FRAMES = 60
NAMED_CLASSES = 30
ENCODER_STEPS = 12
"""Steps whose maps have room beside the input; of more, evenly spaced ones."""


@dataclass(frozen=True)
class LayerTrace:
    """One layer of neurons over one sample: spikes bool[T, N], membranes f32[T, N] in thresholds, before the reset.

    `shape`: of the layer's neurons, (channels, rows, columns) or (N,).
    """

    name: str
    shape: tuple[int, ...]
    spikes: np.ndarray
    membranes: np.ndarray


@dataclass(frozen=True)
class SampleTrace:
    """One sample through a spiking network.

    `scores` f32[T, C]: what the readout says of each class at every step, `growing` f32[T, C]: what it has said up to
    then, whose last row decides. `unit` says what that is.
    """

    label: int
    layers: Sequence[LayerTrace]
    scores: np.ndarray
    growing: np.ndarray
    unit: str


def save_encoder(path: Path, title: str, pixels: np.ndarray, layer: LayerTrace) -> Path:
    """Draw the spikes of the first layer step by step, a square for each channel, beside the input u8[H, W(, 3)].

    Beside `path` come the same picture in the other `FORMATS`.
    """
    steps = np.unique(np.linspace(0, len(layer.spikes) - 1, min(len(layer.spikes), ENCODER_STEPS)).astype(int))
    maps = [_encoder_map(layer.spikes[step].reshape(layer.shape)) for step in steps]
    height, width = maps[0].shape
    columns = min(4, len(maps) + 1)
    rows = -(-(len(maps) + 1) // columns)
    figure = new_figure(3.4 * columns, rows * (3.2 * float(np.clip(height / width, 0.15, 1.3)) + 0.4) + 0.5)
    figure.suptitle(title)
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for axes in panels:
        axes.set_axis_off()
    panels[0].imshow(pixels, cmap="gray", interpolation="nearest")
    panels[0].set_title("input, all steps together", fontsize=9)
    for place, (step, picture) in enumerate(zip(steps, maps, strict=True), 1):
        panels[place].imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        panels[place].set_title(f"S[{step}]", fontsize=9)
    for form in FORMATS:
        save_figure(figure, path.with_suffix(f".{form}"))
    return path


def _encoder_map(spikes: np.ndarray) -> np.ndarray:
    """Spikes bool[C, H, W] as C squares side by side; those of [N] neurons without places row by row in a square."""
    import torch

    from difflogic_tonic.train.encoder_pictures import channel_maps

    if spikes.ndim == 3:
        return channel_maps(torch.from_numpy(spikes))
    side = int(np.ceil(np.sqrt(spikes.size)))
    square = np.full(side * side, 0.5, np.float32)
    square[: spikes.size] = spikes.ravel()
    return square.reshape(side, side)


def save_raster(path: Path, title: str, layers: Sequence[LayerTrace]) -> Path:
    """Draw a dot for every spike; of a large layer, those of `RASTER_NEURONS` neurons evenly spaced."""
    figure = new_figure(8.5, 1.0 + 2.3 * len(layers))
    figure.suptitle(title)
    panels = figure.subplots(len(layers), 1, squeeze=False, sharex=True)[:, 0]
    for axes, layer in zip(panels, layers, strict=True):
        steps, n = layer.spikes.shape
        chosen = np.unique(np.linspace(0, n - 1, min(n, RASTER_NEURONS)).astype(np.int64))
        at, which = np.nonzero(layer.spikes[:, chosen])
        axes.scatter(at, chosen[which], s=5, marker="|" if steps > 60 else "s", linewidths=0.8, color=BLUE)
        rate = layer.spikes.mean()
        shown = "" if len(chosen) == n else f", {len(chosen)} shown"
        axes.set_title(f"{layer.name}: {n:,} neurons{shown}; {rate:.3f} spikes per neuron and step", fontsize=10)
        axes.set_ylabel("neuron")
        axes.set_xlim(-0.5, steps - 0.5)
        axes.set_ylim(-0.02 * n, 1.02 * n)
        clean(axes)
    _whole_steps(panels[-1])
    return save_figure(figure, path)


def save_membranes(path: Path, title: str, layers: Sequence[LayerTrace]) -> Path:
    """Draw membranes of `TRACES` neurons of each layer, from the liveliest to the quietest that spikes at all.

    Spikes are triangles. Where fewer neurons spike, those that move most stand for the rest.
    """
    figure = new_figure(8.5, 1.2 + 2.5 * len(layers))
    figure.suptitle(title)
    panels = figure.subplots(len(layers), 1, squeeze=False, sharex=True)[:, 0]
    for axes, layer in zip(panels, layers, strict=True):
        steps = np.arange(len(layer.spikes))
        counts = layer.spikes.sum(axis=0)
        n_spiking = int((counts > 0).sum())
        order = np.lexsort((-np.abs(layer.membranes).max(axis=0), -counts))[: max(n_spiking, TRACES)]
        chosen = order[np.unique(np.linspace(0, len(order) - 1, min(TRACES, len(order))).astype(int))]
        for number, neuron in enumerate(chosen):
            colour, line = series_style(number)
            membrane, fired = layer.membranes[:, neuron], layer.spikes[:, neuron]
            axes.plot(steps, membrane, line, color=colour, linewidth=1.3, marker=".", label=f"{neuron}")
            axes.plot(steps[fired], membrane[fired], "^", color=colour, markersize=6)
        axes.axhline(1, color=GREY, linestyle="--", linewidth=1)
        axes.set_title(f"{layer.name}: {len(chosen)} of {len(counts):,} neurons; {n_spiking:,} spike", fontsize=10)
        axes.set_ylabel("membrane (thresholds)")
        axes.legend(
            fontsize=7, title="neuron", title_fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False
        )
        clean(axes)
    _whole_steps(panels[-1])
    return save_figure(figure, path)


def save_potentials(path: Path, title: str, epochs: Sequence[Row], split: str, edges: tuple[float, float, int]) -> Path:
    """Draw how the membranes of each layer were distributed at the end of a few epochs.

    `edges`: first and last edge in thresholds and number of bins; the outer bins also hold what lies beyond.
    """
    key = f"{split}_spikes_histogram"
    rows = [row for row in epochs if isinstance(row.get(key), dict)]
    chosen = [rows[k] for k in np.unique(np.linspace(0, len(rows) - 1, min(SNAPSHOTS, len(rows))).astype(int))]
    layers = list(chosen[-1][key])
    low, high, bins = edges
    centres = low + (np.arange(bins) + 0.5) * (high - low) / bins
    columns = min(3, len(layers))
    figure = new_figure(max(6.0, 4.4 * columns), 0.5 + 3.3 * -(-len(layers) // columns))
    figure.suptitle(title)
    for place, layer in enumerate(layers):
        axes = figure.add_subplot(-(-len(layers) // columns), columns, place + 1)
        for number, row in enumerate(chosen):
            counts = np.array(row[key].get(layer, [0] * bins), dtype=np.float64)
            colour, line = series_style(number)
            share = 100 * counts / max(counts.sum(), 1)
            axes.step(centres, np.maximum(share, 1e-4), line, where="mid", color=colour, label=f"epoch {row['epoch']}")
        axes.axvline(1, color=GREY, linestyle="--", linewidth=1)
        axes.set_yscale("log")
        axes.set_ylim(bottom=1e-2)
        axes.set_title(layer)
        axes.set_xlabel("membrane before the reset (thresholds)")
        axes.set_ylabel("share of neurons and steps (%)")
        axes.legend(fontsize=8)
        clean(axes)
    return save_figure(figure, path)


def save_score_animation(path: Path, title: str, trace: SampleTrace, classes: Sequence[str]) -> Path:
    """Write a GIF of one bar a class that grows step by step; the true class is orange, the rest blue.

    Of more than `MOST_FRAMES` steps, evenly spaced ones and the last.
    """
    n_steps = len(trace.growing)
    steps = np.unique(np.linspace(0, n_steps - 1, min(n_steps, MOST_FRAMES)).astype(int)).tolist()
    pages = list(_pages(title, trace, steps, classes))
    times = [FRAME_MS] * (len(pages) - 1) + [LAST_MS]
    with atomic_write(path) as partial:
        pages[0].save(partial, format="GIF", save_all=True, append_images=pages[1:], duration=times, loop=0, disposal=1)
    return path


def score_range(growing: np.ndarray) -> tuple[float, float]:
    """The ends of an axis with room for every bar; a whole spike where there is none to show."""
    if not growing.any():
        return 0.0, 1.0
    return min(0.0, 1.05 * float(growing.min())), 1.12 * max(float(growing.max()), 1e-6)


def _pages(title: str, trace: SampleTrace, steps: Sequence[int], classes: Sequence[str]) -> Iterator["Image"]:
    """One figure, drawn again with other bars at every step: a new one each time would take ten times as long."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.ticker import MaxNLocator
    from PIL import Image

    figure = new_figure(6.4, 4.2)
    figure.set_dpi(80)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    places = np.arange(trace.growing.shape[1])
    bars = axes.bar(places, trace.growing[0], color=[ORANGE if k == trace.label else BLUE for k in places])
    axes.set_ylim(*score_range(trace.growing))
    axes.set_xlim(-0.7, len(places) - 0.3)
    if len(classes) <= NAMED_CLASSES:
        long = max(map(len, classes)) > 3
        axes.set_xticks(places, classes, rotation=60 if long else 0, ha="right" if long else "center")
    axes.set_xlabel("class")
    axes.set_ylabel(trace.unit)
    if (trace.growing == np.round(trace.growing)).all():
        axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    clean(axes)
    for step in steps:
        values = trace.growing[step]
        leaders = np.flatnonzero(values == values.max()).tolist()
        for k, bar in enumerate(bars):
            bar.set_height(values[k])
            bar.set_edgecolor(BLACK if k in leaders else "none")
            bar.set_linewidth(2 if k in leaders else 0)
        figure.suptitle(
            f"{title}\ntarget {classes[trace.label]} (orange)    step {step + 1} of {len(trace.growing)}: "
            f"{_standing(leaders, trace.label, classes)}",
            fontsize=10,
        )
        canvas.draw()
        figure.set_layout_engine("none")
        yield Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy()).quantize(64)


def _standing(leaders: Sequence[int], label: int, classes: Sequence[str]) -> str:
    """Who is ahead, and whether that is the right class."""
    if len(leaders) > 1:
        return f"{len(leaders)} classes tie (black edge)"
    return f"{classes[leaders[0]]} leads (black edge), {'right' if leaders[0] == label else 'wrong'}"


def _whole_steps(axes: "Axes") -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(12, integer=True))
