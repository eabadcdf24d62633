"""Statistics of a split as one picture: what its recordings and frames are like, and where their events lie."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from difflogic_tonic.cache.fingerprint import short_fingerprint
from difflogic_tonic.cache.manifest import Manifest
from difflogic_tonic.cache.summary import is_images
from difflogic_tonic.cache.variants import describe
from difflogic_tonic.sync.pictures import OFF_COLOUR, ON_COLOUR, hexadecimal, save_figure
from difflogic_tonic.sync.sampling import Statistics

BLUE, ORANGE = hexadecimal(ON_COLOUR), hexadecimal(OFF_COLOUR)
NAMED_CLASSES = 20
"""Names of so many classes have room at an axis; of more, numbers stand there."""

BINS = 40
PERCENTILES = (5, 25, 50, 75, 95)

Panel = Callable[[Axes, Statistics, Manifest], None]


def save_statistics(path: Path, statistics: Statistics, manifest: Manifest) -> None:
    """Write the charts of one split as a PNG."""
    panels: list[Panel] = [_recordings_per_class]
    if not is_images(manifest):
        panels += [_events_per_class, _frames_per_recording, _events_per_frame]
    panels += [_saturation]
    maps = _maps(statistics, manifest)
    columns = -(-(len(panels) + len(maps)) // 2)
    figure = Figure(figsize=(4.6 * columns, 8.2), layout="constrained")
    read, total = statistics.n_read, int(statistics.n_frames.sum())
    part = "all frames" if read == total else f"{read:,} of {total:,} frames, evenly spaced"
    figure.suptitle(
        f"{manifest.dataset} {short_fingerprint(manifest.fingerprint)}, {statistics.split}: "
        f"{len(statistics.labels):,} recordings; pixels of {part}\n{describe(manifest)}",
        fontsize=10,
    )
    for number, panel in enumerate(panels):
        panel(figure.add_subplot(2, columns, number + 1), statistics, manifest)
    for number, (title, values) in enumerate(maps):
        _map(figure, figure.add_subplot(2, columns, len(panels) + number + 1), title, values, manifest)
    save_figure(figure, path)


def _unit(manifest: Manifest) -> str:
    """What a value of a frame counts."""
    if is_images(manifest):
        return "brightness"
    if manifest.parameters.get("levels"):
        return "levels"
    return "events" if manifest.storage == "u8" else "pixels with an event"


def _recordings_per_class(axes: Axes, statistics: Statistics, manifest: Manifest) -> None:
    counts = np.bincount(statistics.labels, minlength=len(manifest.classes))
    axes.bar(np.arange(len(counts)), counts, color=BLUE)
    _name_classes(axes, manifest)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel("recordings")
    axes.set_title("recordings per class")


def _events_per_class(axes: Axes, statistics: Statistics, manifest: Manifest) -> None:
    """Median, middle half and middle nine tenths of the recordings of each class."""
    for label in range(len(manifest.classes)):
        events = statistics.n_events[statistics.labels == label]
        if not len(events):
            continue
        low, lower, middle, upper, high = np.percentile(events, PERCENTILES)
        axes.plot([label, label], [low, high], color=BLUE, linewidth=1)
        axes.plot([label, label], [lower, upper], color=BLUE, linewidth=5, solid_capstyle="butt")
        axes.plot([label], [middle], color="white", marker="o", markersize=3, markeredgecolor="black")
    _name_classes(axes, manifest)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("events")
    axes.set_title("events per recording\n(median, middle 50 % and 90 %)", fontsize=10)


def _frames_per_recording(axes: Axes, statistics: Statistics, manifest: Manifest) -> None:
    if statistics.seconds is None:
        _histogram(axes, statistics.n_frames, "frames", "frames per recording", "recordings")
    else:
        _histogram(axes, statistics.seconds, "duration (s)", "duration of recordings", "recordings")


def _events_per_frame(axes: Axes, statistics: Statistics, manifest: Manifest) -> None:
    unit = _unit(manifest)
    _histogram(axes, statistics.per_frame, unit, f"{unit} per frame", "frames")


def _saturation(axes: Axes, statistics: Statistics, manifest: Manifest) -> None:
    """Which part of all values is at least so large; what is cut off at the highest value stands at the right end.

    Bits are all at their limit or not, so for them: how many are set.
    """
    values, limit = statistics.values, _limit(manifest)
    if limit == 1:
        share = 100 * statistics.per_frame / manifest.sensor.values
        _histogram(axes, share, "values that are set (%)", "how full frames are", "frames")
        return
    highest = max(1, int(np.flatnonzero(values).max(initial=1)))
    share = 100 * values[::-1].cumsum()[::-1] / values.sum()
    axes.step(np.arange(1, highest + 1), share[1 : highest + 1], where="mid", color=BLUE)
    if values[limit]:
        axes.axvline(limit, color=ORANGE, linestyle="--")
    axes.set_yscale("log")
    axes.set_xlim(0, highest + 1)
    axes.set_xlabel(f"{_unit(manifest)} of a pixel in a frame")
    axes.set_ylabel("values at least so high (%)")
    axes.set_title(f"saturation\n({values[limit]:,} of {values.sum():,} values are {limit})", fontsize=10)


def _limit(manifest: Manifest) -> int:
    """The highest value that a pixel can have."""
    if manifest.storage == "u8":
        return 255
    return max(1, len(manifest.parameters.get("levels", ())))


def _maps(statistics: Statistics, manifest: Manifest) -> list[tuple[str, np.ndarray]]:
    """Titles and f64[H, W] of the maps to draw."""
    mean = statistics.mean
    if is_images(manifest) or len(mean) != 2:
        return [("mean of all frames", mean.mean(axis=0))]
    return [("OFF, mean of all frames", mean[0]), ("ON, mean of all frames", mean[1])]


def _map(figure: Figure, axes: Axes, title: str, values: np.ndarray, manifest: Manifest) -> None:
    unit = _unit(manifest) if is_images(manifest) else f"{_unit(manifest)} per pixel and frame"
    unit = "part of the frames with an event" if _limit(manifest) == 1 else unit
    # Up to nearly the highest: beside one hot pixel all others would be dark.
    highest = max(float(np.percentile(values, 99.9)), 1e-9)
    image = axes.imshow(values, cmap="cividis", interpolation="antialiased", vmin=0, vmax=highest)
    axes.set_title(title)
    axes.set_xlabel("x (pixels)")
    axes.set_ylabel("y (pixels)")
    figure.colorbar(image, ax=axes, label=unit, shrink=0.8, extend="max")


def _histogram(axes: Axes, values: np.ndarray, unit: str, title: str, what: str) -> None:
    """Whole numbers of a small range get a bar each."""
    low, high = values.min(), values.max()
    if low == high:
        axes.bar([0], [len(values)], color=BLUE)
        axes.set_xticks([0], [f"{low:,g}"])
        axes.set_xlim(-3, 3)
    elif np.issubdtype(values.dtype, np.integer) and high - low < BINS:
        axes.hist(values, bins=(np.arange(low, high + 2) - 0.5).tolist(), color=BLUE)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    else:
        axes.hist(values, bins=BINS, color=BLUE)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel(unit)
    axes.set_ylabel(what)
    axes.set_title(title)


def _name_classes(axes: Axes, manifest: Manifest) -> None:
    if len(manifest.classes) <= NAMED_CLASSES:
        names = manifest.classes
        turned = max(map(len, names)) > 2
        axes.set_xticks(np.arange(len(names)), names, rotation=60 if turned else 0, ha="right" if turned else "center")
    axes.set_xlabel("class" if len(manifest.classes) <= NAMED_CLASSES else f"class (0 to {len(manifest.classes) - 1})")
