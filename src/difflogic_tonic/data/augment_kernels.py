"""Augmentation of batches in main memory: compiled, without the GIL, so that reader threads do it beside training.

All arithmetic is in integers: `augment_device` gives the same bytes. Frames are u8[B, T, P, H, W], contiguous.
"""

from typing import Any

import numpy as np

from difflogic_tonic.events.jit import kernel

ONE = 1 << 16
"""1 as a fixed-point number: of angles, weights and probabilities."""


@kernel
def _word(key: Any, i: Any) -> Any:  # pragma: no cover
    """Number `i` of a stream: see `draws`."""
    word = key + (np.uint64(i) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))


@kernel
def fill_first_words(key: Any, samples: Any, out: Any) -> None:  # pragma: no cover
    """out u64[B]: the first word of each sample's stream, whose key is u64 `key` with the bits of samples u64[B]."""
    for i in range(samples.shape[0]):
        out[i] = _word(key ^ samples[i], 0)


@kernel
def unpack(packed: Any, out: Any) -> None:  # pragma: no cover
    """Bits u8[F, ceil(n/8)], low bit first, to 0 and 1 in out u8[F, n]."""
    n = out.shape[1]
    whole = n // 8
    for f in range(packed.shape[0]):
        frame, bits = packed[f], out[f]
        for i in range(whole):
            byte = frame[i]
            for j in range(8):
                bits[8 * i + j] = (byte >> j) & 1
        for i in range(8 * whole, n):
            bits[i] = (frame[i // 8] >> (i % 8)) & 1


@kernel
def move(
    frames: Any, out: Any, flip: Any, right: Any, down: Any, cosine: Any, sine: Any, skip: Any, kept: Any
) -> None:  # pragma: no cover
    """Write into `out` what `frames` become: mirrored, then turned, then moved; frames left out, zeros behind the rest.

    Every argument from `flip` on has one value per sample: bool, pixels, pixels, fixed point, fixed point, frames,
    frames. `out` may have another number of frames than `frames`, at least the largest of `kept`.
    """
    planes, height, width = out.shape[2:]
    size = height * width
    values, moved = frames.reshape(-1), out.reshape(-1)
    source, inside = np.empty(size, np.uint32), np.empty(size, np.uint8)
    for b in range(out.shape[0]):
        turned = sine[b] != 0 or cosine[b] != ONE
        if turned:
            _find_sources(source, inside, height, width, flip[b], right[b], down[b], cosine[b], sine[b])
        first, start = b * frames.shape[1] + skip[b], b * out.shape[1]
        for plane in range(kept[b] * planes):
            at, to = (first * planes + plane) * size, (start * planes + plane) * size
            before, after = values[at : at + size], moved[to : to + size]
            if turned:
                for i in range(size):
                    after[i] = before[source[i]] & inside[i]
            elif flip[b]:
                _copy_mirrored(before, after, height, width, right[b], down[b])
            else:
                _copy(before, after, height, width, right[b], down[b])
        moved[(start + kept[b]) * planes * size : (start + out.shape[1]) * planes * size] = 0


@kernel
def _copy(before: Any, after: Any, height: int, width: int, right: int, down: int) -> None:  # pragma: no cover
    """One plane as one piece, since pixels that leave on one side come in on the other, a row off; those are zeroed."""
    if abs(right) >= width or abs(down) >= height:
        after[:] = 0
        return
    # Slices, because an index that may be negative costs numba more than the copy.
    size, offset = height * width, down * width + right
    first, last = max(0, offset), min(size, size + offset)
    there, here = before[first - offset : last - offset], after[first:last]
    for i in range(last - first):
        here[i] = there[i]
    after[:first] = 0
    after[last:] = 0
    left_gap, right_gap = max(0, right), min(0, right)
    for y in range(height):
        for x in range(left_gap):
            after[np.uint64(y * width + x)] = 0
        for x in range(right_gap, 0):
            after[np.uint64((y + 1) * width + x)] = 0


@kernel
def _copy_mirrored(before: Any, after: Any, height: int, width: int, right: int, down: int) -> None:  # pragma: no cover
    first, last = min(max(0, right), width), max(0, min(width, width + right))
    after[:] = 0
    for y in range(max(0, down), min(height, height + down)):
        here = after[y * width + first : y * width + last]
        end = (y - down + 1) * width + right
        there = before[end - last : end - first]
        last_place = here.shape[0] - 1
        for x in range(here.shape[0]):
            here[x] = there[np.uint64(last_place - x)]


@kernel
def _find_sources(
    source: Any, inside: Any, height: int, width: int, flip: Any, right: Any, down: Any, cosine: Any, sine: Any
) -> None:  # pragma: no cover
    """Where each pixel comes from, and 255 if that is in the frame, else 0.

    Rows and columns are counted in halves of a pixel from the middle.
    """
    for y in range(height):
        for x in range(width):
            across, along = 2 * (x - right) - (width - 1), 2 * (y - down) - (height - 1)
            column = (cosine * across + sine * along + width * ONE) >> 17
            row = (cosine * along - sine * across + height * ONE) >> 17
            if flip:
                column = width - 1 - column
            found = 0 <= row < height and 0 <= column < width
            source[y * width + x] = row * width + column if found else 0
            inside[y * width + x] = 255 if found else 0


@kernel
def _fill_draws(draws: Any, key: Any, frame: int) -> None:  # pragma: no cover
    """16-bit draws of the pixels of one frame; a word gives four of them, and each frame begins a new word."""
    words = draws.shape[0] // 4
    for w in range(words):
        word = _word(key, frame * words + w)
        for i in range(4):
            draws[4 * w + i] = np.int32((word >> np.uint64(16 * i)) & np.uint64(0xFFFF))


@kernel
def disturb(frames: Any, kept: Any, keys: Any, pepper: int, salt_from: int, salt: int) -> None:  # pragma: no cover
    """In place, frames u8[B, T, n]: a 16-bit draw below `pepper` makes a pixel 0, one from `salt_from` on `salt`."""
    n = frames.shape[2]
    draws = np.empty((n + 3) // 4 * 4, np.int32)
    for b in range(frames.shape[0]):
        for t in range(kept[b]):
            _fill_draws(draws, keys[b], t)
            frame = frames[b, t]
            for i in range(n):
                value = np.uint8(0) if draws[i] < pepper else frame[i]
                frame[i] = np.uint8(salt) if draws[i] >= salt_from else value


@kernel
def blend(frames: Any, kept: Any, others: Any, into: Any, weights: Any, keys: Any) -> None:  # pragma: no cover
    """In place, frames u8[B, T, n]: others u8[M, T, n] into the samples `into`, own weight `weights` of ONE.

    Rounded up or down by chance, with the blend as the mean: events stay whole, and pixels of one bit mix as well.
    """
    n = frames.shape[2]
    draws = np.empty((n + 3) // 4 * 4, np.int32)
    for m in range(into.shape[0]):
        own = np.int32(weights[m])
        rest = np.int32(ONE - own)
        for t in range(kept[into[m]]):
            _fill_draws(draws, keys[m], t)
            frame, other = frames[into[m], t], others[m, t]
            for i in range(n):
                frame[i] = (own * np.int32(frame[i]) + rest * np.int32(other[i]) + draws[i]) >> 16


@kernel
def paste(frames: Any, kept: Any, others: Any, into: Any, boxes: Any) -> None:  # pragma: no cover
    """In place: the rectangle `boxes` i64[M, 4] (top, left, bottom, right) of each of `others` into `into`."""
    for m in range(into.shape[0]):
        top, left, bottom, right = boxes[m]
        for t in range(kept[into[m]]):
            frames[into[m], t, :, top:bottom, left:right] = others[m, t, :, top:bottom, left:right]
