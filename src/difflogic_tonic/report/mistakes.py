"""The worst mistakes of a run as frames: what the model saw when it was sure and wrong."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from difflogic_tonic.cache.manifest import Manifest
from difflogic_tonic.cache.summary import is_images
from difflogic_tonic.report.style import new_figure, save_figure
from difflogic_tonic.sync.pictures import colours_of, full_colour, joined
from difflogic_tonic.sync.sampling import Sample, evenly_spaced

MOST = 12
FRAMES = 8
COLUMNS = 6
TILE_PIXELS = 180


@dataclass(frozen=True)
class Mistake:
    """One wrong answer: the recording, the class that the model took it for, and how probable it found that."""

    sample: Sample
    predicted: str
    confidence: float

    @property
    def caption(self) -> str:
        return f"true {self.sample.class_name}, said {self.predicted} ({100 * self.confidence:.0f} %)"


def save_mistakes(path: Path, title: str, mistakes: Sequence[Mistake], manifest: Manifest) -> Path:
    """Draw each mistake as a row of up to `FRAMES` of its frames; images, of one frame each, side by side."""
    if max(len(mistake.sample.counts) for mistake in mistakes) == 1:
        return _save_images(path, title, mistakes, manifest)
    columns = max(4, min(FRAMES, max(len(mistake.sample.counts) for mistake in mistakes)))
    figure = new_figure(1.35 * columns, 1.62 * len(mistakes) + 0.6)
    figure.suptitle(f"{title}\nON events are blue, OFF events orange", fontsize=10)
    rows = figure.subfigures(len(mistakes), 1, squeeze=False)[:, 0]
    for row, mistake in zip(rows, mistakes, strict=True):
        sample = mistake.sample
        chosen = evenly_spaced(len(sample.counts), columns)
        counts, full = _tiles([sample.counts[k] for k in chosen], manifest)
        row.suptitle(f"{mistake.caption}    {sample.split} recording {sample.row}", fontsize=9, x=0.01, ha="left")
        for place, axes in enumerate(row.subplots(1, columns)):
            axes.set_axis_off()
            if place < len(chosen):
                axes.imshow(colours_of(counts[place], full, manifest), interpolation="antialiased")
                axes.set_title(f"frame {sample.frames[chosen[place]]}", fontsize=7, pad=2)
    return save_figure(figure, path)


def _save_images(path: Path, title: str, mistakes: Sequence[Mistake], manifest: Manifest) -> Path:
    rows = -(-len(mistakes) // COLUMNS)
    figure = new_figure(2.0 * COLUMNS, 2.3 * rows + 0.5)
    figure.suptitle(title)
    for place, axes in enumerate(figure.subplots(rows, COLUMNS, squeeze=False).flat):
        axes.set_axis_off()
        if place < len(mistakes):
            sample = mistakes[place].sample
            counts, full = _tiles([sample.counts[0]], manifest)
            axes.imshow(colours_of(counts[0], full, manifest), interpolation="antialiased")
            caption = mistakes[place].caption.replace(", said", "\nsaid")
            axes.set_title(f"{caption}\n{sample.split} {sample.row}", fontsize=8)
    return save_figure(figure, path)


def _tiles(frames: list[np.ndarray], manifest: Manifest) -> tuple[list[np.ndarray], int]:
    side = -(-max(frames[0].shape[1:]) // TILE_PIXELS)
    counts = [joined(frame, side, is_images(manifest)) for frame in frames]
    return counts, full_colour(counts)
