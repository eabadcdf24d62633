"""One recording as pictures: a contact sheet of its frames, and an animation.

ON events are blue and OFF events orange on white, which people with every kind of colour vision tell apart; a pixel
with both is dark.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from PIL import Image, ImageDraw

from difflogic_tonic.cache.fingerprint import short_fingerprint
from difflogic_tonic.cache.manifest import Manifest
from difflogic_tonic.cache.summary import is_images
from difflogic_tonic.storage import atomic_write
from difflogic_tonic.sync.sampling import Sample, evenly_spaced

OFF_COLOUR = (213, 94, 0)  # vermillion and blue of Okabe and Ito (2008)
ON_COLOUR = (0, 114, 178)
SHEET_FRAMES = 40
SHEET_COLUMNS = 8
TILE_PIXELS = 180
"""What a frame on a contact sheet has room for."""

ANIMATION_MS = 150
ANIMATION_PIXELS = 320
"""The shorter side of an animation is enlarged to about so many pixels, by a whole number."""

LARGEST_PIXELS = 640
"""Of frames with a longer side, squares of pixels are joined."""

CAPTION_PIXELS = 20
DOTS_PER_INCH = 120


def joined(counts: np.ndarray, side: int, is_image: bool) -> np.ndarray:
    """Counts u8[P, H, W] of squares of `side` × `side` pixels, i32[P, ⌈H/side⌉, ⌈W/side⌉]; of images their mean.

    A picture with fewer pixels than the sensor would otherwise leave out most of the events.
    """
    channels, height, width = counts.shape
    padded = np.zeros((channels, -(-height // side) * side, -(-width // side) * side), np.int32)
    padded[:, :height, :width] = counts
    summed: np.ndarray = padded.reshape(channels, padded.shape[1] // side, side, -1, side).sum(
        axis=(2, 4), dtype=np.int32
    )
    return summed // side**2 if is_image else summed


def full_colour(frames: Sequence[np.ndarray]) -> int:
    """The count that is drawn with the full colour: the 99th percentile of those in [P, H, W] that are not zero.

    The maximum would let one hot pixel fade all others.
    """
    fired = np.concatenate([counts[counts > 0] for counts in frames])
    return max(1, int(np.percentile(fired, 99, method="higher"))) if fired.size else 1


def colours_of(counts: np.ndarray, full: int, manifest: Manifest) -> np.ndarray:
    """One frame of counts [P, H, W] as colours u8[H, W, 3]; `full` is the count with the full colour."""
    if is_images(manifest):
        return np.ascontiguousarray(_three_channels(counts).transpose(1, 2, 0)).astype(np.uint8)
    strength = np.minimum(counts.astype(np.float32) / full, 1.0)
    missing = np.zeros((*counts.shape[1:], 3), np.float32)
    for part, colour in zip(strength, (OFF_COLOUR, ON_COLOUR), strict=False):
        missing += part[..., None] * (255.0 - np.array(colour, np.float32))
    return np.clip(255.0 - missing, 0, 255).astype(np.uint8)


def save_contact_sheet(path: Path, sample: Sample, manifest: Manifest) -> None:
    """Write the frames of a recording side by side as a PNG; of more than SHEET_FRAMES, evenly spaced ones."""
    shown = evenly_spaced(len(sample.counts), SHEET_FRAMES)
    side = -(-max(sample.counts.shape[2:]) // TILE_PIXELS)
    counts = [joined(sample.counts[frame], side, is_images(manifest)) for frame in shown]
    full = full_colour(counts)
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
        axes.imshow(colours_of(counts[number], full, manifest), interpolation="antialiased")
        axes.set_title(f"frame {sample.frames[frame]}", fontsize=7, pad=2)
        axes.set_xticks([])
        axes.set_yticks([])
    figure.text(0.02, 1 - 0.12 / figure_height, _headline(sample, manifest), va="top", fontsize=8)
    if not is_images(manifest):
        _add_legend(figure, full, side, manifest)
    save_figure(figure, path)


def save_animation(path: Path, sample: Sample, manifest: Manifest) -> None:
    """Write the frames of a recording one after the other as a GIF that repeats, ANIMATION_MS each."""
    side = -(-max(sample.counts.shape[2:]) // LARGEST_PIXELS)
    frames = [joined(counts, side, is_images(manifest)) for counts in sample.counts]
    full = full_colour(frames)
    _, height, width = frames[0].shape
    factor = max(1, min(ANIMATION_PIXELS // min(height, width), LARGEST_PIXELS // max(height, width)))
    size = (width * factor, height * factor)
    pages: list[Image.Image] = []
    for counts, frame in zip(frames, sample.frames, strict=True):
        page = Image.new("RGB", (size[0], size[1] + CAPTION_PIXELS), "white")
        page.paste(Image.fromarray(colours_of(counts, full, manifest)).resize(size, Image.Resampling.NEAREST), (0, 0))
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
    name = f"{manifest.dataset} {short_fingerprint(manifest.fingerprint)}"
    return (
        f"{name}: {sample.split} recording {sample.row}, {sample.source}\n"
        f"class {sample.class_name}, {frames} of {width} × {height} pixels{events}"
    )


def _add_legend(figure: Figure, full: int, side: int, manifest: Manifest) -> None:
    what = "levels" if manifest.parameters.get("levels") else "events" if manifest.storage == "u8" else "set pixels"
    what = f"{full} {what}" + (f" in {side} × {side} pixels" if side > 1 else "")
    named = ((ON_COLOUR, f"ON, full colour: {what}"), (OFF_COLOUR, f"OFF, full colour: {what}"))
    patches = [Patch(color=hexadecimal(colour), label=label) for colour, label in named]
    figure.legend(handles=patches, loc="lower left", ncols=2, fontsize=8, frameon=False)
