"""Augmentation of batches in main memory: compiled, without the GIL, so that reader threads do it beside training.

All arithmetic is in integers: `augment_device` gives the same bytes. Frames are u8[B, T, P, H, W], contiguous.
"""

from typing import Any

import numpy as np

from difflogic_tonic.events.jit import kernel

ONE = 1 << 16
"""1 as a fixed-point number: of angles, weights and probabilities."""


@kernel
def move(
    frames: Any, out: Any, flip: Any, right: Any, down: Any, cosine: Any, sine: Any, skip: Any, kept: Any
) -> None:  # pragma: no cover
    """Write into `out` what `frames` become: mirrored, then turned, then moved; frames left out, zeros behind the rest.

    Every argument from `flip` on has one value per sample: bool, pixels, pixels, fixed point, fixed point, frames,
    frames. `out` may have another number of frames than `frames`, at least the largest of `kept`.
    """
    planes, height, width = out.shape[2:]
    source = np.empty((height, width), np.int32)
    for b in range(out.shape[0]):
        turned = sine[b] != 0 or cosine[b] != ONE
        if turned:
            _find_sources(source, flip[b], right[b], down[b], cosine[b], sine[b])
        out[b, kept[b] :] = 0
        for t in range(kept[b]):
            for p in range(planes):
                if turned:
                    _gather(frames[b, t + skip[b], p].reshape(-1), out[b, t, p], source)
                else:
                    _copy(frames[b, t + skip[b], p], out[b, t, p], flip[b], right[b], down[b])


@kernel
def _copy(plane: Any, out: Any, flip: Any, right: Any, down: Any) -> None:  # pragma: no cover
    height, width = out.shape
    first, last = min(max(0, right), width), max(0, min(width, width + right))
    for y in range(height):
        row = y - down
        if row < 0 or row >= height or first >= last:
            out[y] = 0
            continue
        out[y, :first] = 0
        out[y, last:] = 0
        if flip:
            start = width - 1 + right
            for x in range(first, last):
                out[y, x] = plane[row, start - x]
        else:
            out[y, first:last] = plane[row, first - right : last - right]


@kernel
def _find_sources(source: Any, flip: Any, right: Any, down: Any, cosine: Any, sine: Any) -> None:  # pragma: no cover
    """Where each pixel comes from, -1 for none: rows and columns in halves of a pixel from the middle."""
    height, width = source.shape
    for y in range(height):
        for x in range(width):
            across, along = 2 * (x - right) - (width - 1), 2 * (y - down) - (height - 1)
            column = (cosine * across + sine * along + width * ONE) >> 17
            row = (cosine * along - sine * across + height * ONE) >> 17
            if flip:
                column = width - 1 - column
            inside = 0 <= row < height and 0 <= column < width
            source[y, x] = row * width + column if inside else -1


@kernel
def _gather(plane: Any, out: Any, source: Any) -> None:  # pragma: no cover
    height, width = out.shape
    for y in range(height):
        for x in range(width):
            out[y, x] = plane[source[y, x]] if source[y, x] >= 0 else 0


@kernel
def _word(key: Any, i: Any) -> Any:  # pragma: no cover
    """Number `i` of a stream: see `draws`."""
    word = key + (np.uint64(i) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))


@kernel
def disturb(frames: Any, kept: Any, keys: Any, pepper: int, salt_from: int, salt: int) -> None:  # pragma: no cover
    """In place, frames u8[B, T, n]: a pixel whose 16-bit draw is below `pepper` becomes 0, from `salt_from` on `salt`.

    A word gives the draws of four pixels; each frame begins a new word.
    """
    n = frames.shape[2]
    words = (n + 3) // 4
    for b in range(frames.shape[0]):
        for t in range(kept[b]):
            frame = frames[b, t]
            for w in range(words):
                word = _word(keys[b], t * words + w)
                for i in range(4 * w, min(4 * w + 4, n)):
                    draw = np.int64(word & np.uint64(0xFFFF))
                    word >>= np.uint64(16)
                    if draw < pepper:
                        frame[i] = 0
                    elif draw >= salt_from:
                        frame[i] = salt


@kernel
def blend(frames: Any, kept: Any, others: Any, into: Any, weights: Any, keys: Any) -> None:  # pragma: no cover
    """In place, frames u8[B, T, n]: others u8[M, T, n] into the samples `into`, own weight `weights` of ONE.

    Rounded up or down by chance, with the blend as the mean: events stay whole, and pixels of one bit mix as well.
    """
    n = frames.shape[2]
    words = (n + 3) // 4
    for m in range(into.shape[0]):
        own = weights[m]
        for t in range(kept[into[m]]):
            frame, other = frames[into[m], t], others[m, t]
            for w in range(words):
                word = _word(keys[m], t * words + w)
                for i in range(4 * w, min(4 * w + 4, n)):
                    draw = np.int64(word & np.uint64(0xFFFF))
                    word >>= np.uint64(16)
                    frame[i] = (own * frame[i] + (ONE - own) * other[i] + draw) >> 16


@kernel
def paste(frames: Any, kept: Any, others: Any, into: Any, boxes: Any) -> None:  # pragma: no cover
    """In place: the rectangle `boxes` i64[M, 4] (top, left, bottom, right) of each of `others` into `into`."""
    for m in range(into.shape[0]):
        top, left, bottom, right = boxes[m]
        for t in range(kept[into[m]]):
            frames[into[m], t, :, top:bottom, left:right] = others[m, t, :, top:bottom, left:right]
