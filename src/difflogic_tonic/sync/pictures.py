"""One recording as pictures: a contact sheet of its frames, and an animation.

ON events are blue and OFF events orange on white, which people with every kind of colour vision tell apart; a pixel
with both is dark.
"""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from PIL import Image, ImageDraw

from difflogic_tonic.cache.manifest import Manifest
from difflogic_tonic.cache.summary import is_images
from difflogic_tonic.storage import atomic_write
from difflogic_tonic.sync.inventory import short
from difflogic_tonic.sync.sampling import Sample, evenly_spaced

OFF_COLOUR = (213, 94, 0)  # vermillion and blue of Okabe and Ito (2008)
ON_COLOUR = (0, 114, 178)
SHEET_FRAMES = 40
SHEET_COLUMNS = 8
ANIMATION_MS = 150
ANIMATION_PIXELS = 320
"""The shorter side of an animation is enlarged to about so many pixels, by a whole number."""

LARGEST_PIXELS = 640
"""Frames with a longer side are made smaller."""

CAPTION_PIXELS = 20
DOTS_PER_INCH = 120


def full_colour(counts: np.ndarray) -> int:
    """The count that is drawn with the full colour: the 99th percentile of those in u8[T, P, H, W] that are not zero.

    The maximum would let one hot pixel fade all others.
    """
    numbers = sum((np.bincount(frame.reshape(-1), minlength=256) for frame in counts), np.zeros(256, np.int64))
    fired = numbers[1:].cumsum()
    return int(np.searchsorted(fired, 0.99 * fired[-1])) + 1


def colours_of(counts: np.ndarray, full: int, manifest: Manifest) -> np.ndarray:
    """One frame of counts u8[P, H, W] as colours u8[H, W, 3]; `full` is the count with the full colour."""
    if is_images(manifest):
        return np.ascontiguousarray(_three_channels(counts).transpose(1, 2, 0))
    strength = np.minimum(counts.astype(np.float32) / full, 1.0)
    missing = np.zeros((*counts.shape[1:], 3), np.float32)
    for part, colour in zip(strength, (OFF_COLOUR, ON_COLOUR), strict=False):
        missing += part[..., None] * (255.0 - np.array(colour, np.float32))
    return np.clip(255.0 - missing, 0, 255).astype(np.uint8)


def save_contact_sheet(path: Path, sample: Sample, manifest: Manifest) -> None:
    """Write the frames of a recording side by side as a PNG; of more than SHEET_FRAMES, evenly spaced ones."""
    shown = evenly_spaced(len(sample.counts), SHEET_FRAMES)
    full = full_colour(sample.counts)
    columns = min(SHEET_COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    _, height, width = manifest.frame_shape
    tile_height = 1.5 * height / width
    figure_height = rows * (tile_height + 0.25) + 1.5
    figure = Figure(figsize=(max(6.5, 1.5 * columns), figure_height))
    top, bottom = 1 - 0.75 / figure_height, 0.6 / figure_height
    grid = figure.add_gridspec(rows, columns, left=0.02, right=0.98, top=top, bottom=bottom, wspace=0.06, hspace=0.2)
    for number, frame in enumerate(shown):
        axes = figure.add_subplot(grid[divmod(number, columns)])
        axes.imshow(colours_of(sample.counts[frame], full, manifest), interpolation="nearest")
        axes.set_title(f"frame {sample.frames[frame]}", fontsize=7, pad=2)
        axes.set_xticks([])
        axes.set_yticks([])
    figure.text(0.02, 1 - 0.12 / figure_height, _headline(sample, manifest), va="top", fontsize=8)
    if not is_images(manifest):
        _add_legend(figure, full, manifest)
    save_figure(figure, path)


def save_animation(path: Path, sample: Sample, manifest: Manifest) -> None:
    """Write the frames of a recording one after the other as a GIF that repeats, ANIMATION_MS each."""
    full = full_colour(sample.counts)
    _, height, width = manifest.frame_shape
    factor = max(1, round(ANIMATION_PIXELS / min(height, width))) * min(1.0, LARGEST_PIXELS / max(height, width))
    size = (round(width * factor), round(height * factor))
    smooth = Image.Resampling.NEAREST if factor >= 1 else Image.Resampling.BOX
    pages: list[Image.Image] = []
    for counts, frame in zip(sample.counts, sample.frames, strict=True):
        page = Image.new("RGB", (size[0], size[1] + CAPTION_PIXELS), "white")
        page.paste(Image.fromarray(colours_of(counts, full, manifest)).resize(size, smooth), (0, 0))
        caption = f"class {sample.class_name}, frame {frame}/{sample.n_frames - 1}"
        ImageDraw.Draw(page).text((4, size[1] + 4), caption, fill="black")
        pages.append(page)
    with atomic_write(path) as partial:
        pages[0].save(
            partial, format="GIF", save_all=True, append_images=pages[1:], duration=ANIMATION_MS, loop=0, disposal=1
        )


def save_figure(figure: Figure, path: Path) -> None:
    """Write a matplotlib figure as a PNG that appears whole or not at all."""
    with atomic_write(path) as partial:
        figure.savefig(partial, format="png", dpi=DOTS_PER_INCH)


def hexadecimal(colour: tuple[int, int, int]) -> str:
    """A colour as matplotlib takes it."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _three_channels(counts: np.ndarray) -> np.ndarray:
    """A grey image as a colour image; u8[3, H, W]."""
    return counts if len(counts) == 3 else np.repeat(counts[:1], 3, axis=0)


def _headline(sample: Sample, manifest: Manifest) -> str:
    _, height, width = manifest.frame_shape
    events = "" if is_images(manifest) else f", {sample.n_events:,} events"
    frames = f"{sample.n_frames:,} frame{'s' if sample.n_frames > 1 else ''}"
    return (
        f"{manifest.dataset} {short(manifest.fingerprint)}: {sample.split} recording {sample.row}, {sample.source}\n"
        f"class {sample.class_name}, {frames} of {width} × {height} pixels{events}"
    )


def _add_legend(figure: Figure, full: int, manifest: Manifest) -> None:
    what = f"{full} event{'s' if full > 1 else ''}" if manifest.storage == "u8" else "set"
    if manifest.parameters.get("levels"):
        what = f"level {full}"
    named = ((ON_COLOUR, f"ON, full colour: {what}"), (OFF_COLOUR, f"OFF, full colour: {what}"))
    patches = [Patch(color=hexadecimal(colour), label=label) for colour, label in named]
    figure.legend(handles=patches, loc="lower left", ncols=2, fontsize=8, frameon=False)
