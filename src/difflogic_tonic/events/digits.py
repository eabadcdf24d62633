"""DIGITS_DVS: scikit-learn's handwritten digits seen by a simulated event camera, as N-MNIST `.bin` recordings.

Each 8x8 image is enlarged threefold, smoothly, and shown on a 34x34 sensor. Its picture moves along the three sides of
a triangle, 100 ms each, as the saccades of N-MNIST do. A pixel sends an event whenever the logarithm of its brightness
has changed by its threshold since its last event; thresholds differ between pixels, events arrive a little late, and
some events are noise. Everything is integer arithmetic, so that the bytes are the same on every machine.

The images are the test part of the UCI "Optical Recognition of Handwritten Digits" set (Alpaydin and Kaynak, 1998): a
fifth of each digit, chosen by a fixed rule, is our Test. Both parts hold digits of the same 13 writers.
"""

from collections.abc import Iterator
from decimal import Decimal
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from difflogic_tonic.events.atis import encode_atis
from difflogic_tonic.events.jit import kernel
from difflogic_tonic.events.stream import Events

SEED = np.uint64(1797)
SENSOR = 34
IMAGE = 8
PEAK = 16  # brightest value of an image

FINE = 8  # positions per sensor pixel
PIXEL = 3 * FINE  # width of an image pixel, in fine positions
REACH = 3 * FINE  # the picture never moves further than this
CORNERS = ((-16, -13), (16, -13), (0, 16), (-16, -13))  # (x, y) of the triangle, in fine positions
STEPS = 40  # per side
STEP_US = 2500

LEVELS = 4096
CONTRAST = 4  # the brightest stroke is 1 + CONTRAST times as bright as the paper
BRIGHTEST = PEAK * (2 * PIXEL) ** 2  # of the enlarged image, in units of its weights
LOG_UNIT = 1 << 16  # integer steps of brightness per unit of natural logarithm
THRESHOLD = 11469  # 0.175
THRESHOLD_SPREAD = 1638  # ± 0.025 from pixel to pixel
LATENESS_US = 400
NOISE_EVENTS = 200


def numbers() -> range:
    """Numbers of the recordings: 1 for scikit-learn's first image, and so on."""
    return range(1, len(_images()[1]) + 1)


def recordings() -> Iterator[tuple[str, bytes]]:
    """Relative path and content of every recording, by number: `Test/0/00001.bin` and so on, 1,438 of them Train."""
    for number, path in zip(numbers(), paths(), strict=True):
        yield path, recording(number)


def recording(number: int) -> bytes:
    """The content of recording `number`, about 20 kB."""
    return encode_atis(watch(_images()[0][number - 1], number))


@lru_cache(maxsize=1)
def paths() -> tuple[str, ...]:
    """Relative path of every recording, by number. A fifth of each digit is Test: those with the lowest hashes."""
    labels = _images()[1]
    rank = _random_bits(SEED, np.arange(1, len(labels) + 1, dtype=np.uint64))
    is_test = np.zeros(len(labels), bool)
    for digit in range(10):
        members = np.flatnonzero(labels == digit)
        chosen = members[np.argsort(rank[members])]
        is_test[chosen[: (2 * len(members) + 5) // 10]] = True  # a fifth, rounded to the nearest
    return tuple(
        f"{'Test' if test else 'Train'}/{digit}/{number:05d}.bin"
        for number, (digit, test) in enumerate(zip(labels.tolist(), is_test.tolist(), strict=True), start=1)
    )


def watch(image: npt.NDArray[np.int64], number: int) -> Events:
    """The events of one image; `number` seeds lateness and noise. In order of time; equal times by row, column."""
    return _as_events(_watch(log_scene(image), camera_path(), thresholds(), _stream(number)))


def watch_plain(image: npt.NDArray[np.int64], number: int) -> Events:
    """What `watch` computes, in plain numpy over all pixels at once: the reference of its tests."""
    return _as_events(_watch_plain(log_scene_plain(image), camera_path(), thresholds(), _stream(number)))


def log_scene(image: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    """Logarithm of the brightness of the enlarged image at every fine position, in `LOG_UNIT`s: i32[320, 320]."""
    scene: npt.NDArray[np.int32] = _log_scene(image, interpolation_weights(), log_table())
    return scene


def log_scene_plain(image: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    """What `log_scene` computes, as one line of numpy: the reference of its tests."""
    brightness = interpolation_weights() @ image @ interpolation_weights().T
    scene: npt.NDArray[np.int32] = log_table()[brightness * (LEVELS - 1) // BRIGHTEST]
    return scene


@lru_cache(maxsize=1)
def camera_path() -> npt.NDArray[np.int64]:
    """Where the picture is at every step, in fine positions: i64[121, 2] as x, y, all ≥ 0."""
    points = [CORNERS[0]]
    for (x0, y0), (x1, y1) in pairwise(CORNERS):
        points += [(x0 + (x1 - x0) * i // STEPS, y0 + (y1 - y0) * i // STEPS) for i in range(1, STEPS + 1)]
    return np.array(points, np.int64) + REACH


@lru_cache(maxsize=1)
def thresholds() -> npt.NDArray[np.int64]:
    """Change of log brightness that makes a pixel send an OFF or ON event: i64[2, 34, 34], for all recordings."""
    bits = _random_bits(SEED + np.uint64(1), np.arange(2 * SENSOR * SENSOR, dtype=np.uint64))
    spread = (bits >> np.uint64(33)).astype(np.int64) % (2 * THRESHOLD_SPREAD + 1) - THRESHOLD_SPREAD
    return (THRESHOLD + spread).reshape(2, SENSOR, SENSOR)


@lru_cache(maxsize=1)
def _images() -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Images i64[1797, 8, 8] from 0 to 16 and their labels i64[1797]."""
    from sklearn.datasets import load_digits  # takes a second to import: only where digits are made

    digits = load_digits()
    return np.ascontiguousarray(digits.images.astype(np.int64)), digits.target.astype(np.int64)


@lru_cache(maxsize=1)
def interpolation_weights() -> npt.NDArray[np.int64]:
    """Weight of each image row (or column) at each fine position, linearly interpolated: i64[320, 8], sums 2·PIXEL."""
    size = SENSOR * FINE + 2 * REACH
    doubled = 2 * np.arange(size)[:, None] - (size - 1)  # twice the distance from the middle, so that it is whole
    rows = 2 * np.arange(IMAGE)[None, :] - (IMAGE - 1)
    return np.maximum(2 * PIXEL - np.abs(doubled - PIXEL * rows), 0).astype(np.int64)


@lru_cache(maxsize=1)
def log_table() -> npt.NDArray[np.int32]:
    """LOG_UNIT · ln(brightness) of every level. Decimal logarithms are the same everywhere, those of libm are not."""
    values = [(1 + Decimal(CONTRAST * level) / (LEVELS - 1)).ln() * LOG_UNIT for level in range(LEVELS)]
    return np.array([int(value.to_integral_value()) for value in values], np.int32)


def _stream(number: int) -> np.uint64:
    return _random_bits(SEED + np.uint64(2), np.array([number], np.uint64))[0]


def _random_bits(stream: Any, counter: Any) -> Any:
    """64 random bits for each (stream, counter): the output function of SplitMix64 (Steele, Lea and Flood 2014)."""
    z = stream + counter * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


_compiled_random_bits = kernel(_random_bits)


@kernel
def _log_scene(image: Any, weights: Any, table: Any) -> Any:
    size = len(weights)
    scene = np.empty((size, size), np.int32)
    row = np.empty(IMAGE, np.int64)
    for y in range(size):
        row[:] = 0
        for i in range(IMAGE):
            if weights[y, i]:
                row += weights[y, i] * image[i]
        first = 0  # of the two columns whose weights are not 0
        for x in range(size):
            while first < IMAGE - 2 and weights[x, first + 2] > 0:
                first += 1
            brightness = weights[x, first] * row[first] + weights[x, first + 1] * row[first + 1]
            scene[y, x] = table[np.uint64(brightness) * np.uint64(LEVELS - 1) // np.uint64(BRIGHTEST)]
    return scene


@kernel
def _watch(scene: Any, path: Any, threshold: Any, stream: Any) -> Any:
    """Sorted keys i64[n] of the events: t · 2²⁴ + y · 2¹⁶ + x · 2⁸ + p.

    An event's random lateness is drawn by its pixel and by how many events that pixel sent before, so that the order in
    which pixels are visited does not matter.
    """
    keys = np.empty(1 << 16, np.int64)
    n = 0
    flat, offsets = scene.ravel(), (path[:, 1] * scene.shape[1] + path[:, 0]).astype(np.uint64)
    for y in range(SENSOR):
        for x in range(SENSOR):
            corner = np.uint64((y * scene.shape[1] + x) * FINE)
            before = np.int64(flat[offsets[0] + corner])
            level = before
            sent = np.uint64(0)
            for step in range(1, len(path)):
                now = np.int64(flat[offsets[step] + corner])
                if now == before:
                    continue
                while True:
                    if now - level >= threshold[1, y, x]:
                        p = 1
                        level += threshold[1, y, x]
                    elif level - now >= threshold[0, y, x]:
                        p = 0
                        level -= threshold[0, y, x]
                    else:
                        break
                    counter = np.uint64((y * SENSOR + x) << 16) + sent
                    late = np.int64(_compiled_random_bits(stream, counter) >> np.uint64(33)) % LATENESS_US
                    t = (step - 1) * STEP_US + abs(level - before) * STEP_US // abs(now - before) + late
                    keys[n] = t << 24 | y << 16 | x << 8 | p
                    n += 1
                    sent += np.uint64(1)
                before = now
    for i in range(NOISE_EVENTS):
        keys[n] = _noise_key(_compiled_random_bits(stream, np.uint64(1 << 40) + np.uint64(i)))
        n += 1
    return np.sort(keys[:n])


@kernel
def _noise_key(bits: Any) -> Any:
    """The key of a noise event from 64 random bits, different ones for time, pixel and polarity."""
    t = np.int64(bits >> np.uint64(40)) % (3 * STEPS * STEP_US)
    pixel = np.int64(bits >> np.uint64(8) & np.uint64(0xFFFFFFFF)) % (SENSOR * SENSOR)
    return t << 24 | pixel // SENSOR << 16 | pixel % SENSOR << 8 | np.int64(bits & np.uint64(1))


def _watch_plain(
    scene: npt.NDArray[np.int32], path: npt.NDArray[np.int64], threshold: npt.NDArray[np.int64], stream: np.uint64
) -> npt.NDArray[np.int64]:
    pixels = np.arange(SENSOR * SENSOR).reshape(SENSOR, SENSOR)
    views = np.stack([scene[y : y + SENSOR * FINE : FINE, x : x + SENSOR * FINE : FINE] for x, y in path.tolist()])
    views = views.astype(np.int64)
    level, sent = views[0].copy(), np.zeros_like(pixels)
    keys = [
        [
            _noise_key.py_func(bits)
            for bits in _random_bits(stream, np.arange(NOISE_EVENTS, dtype=np.uint64) + np.uint64(1 << 40))
        ]
    ]
    for step, (before, now) in enumerate(pairwise(views)):
        while True:
            on, off = now - level >= threshold[1], level - now >= threshold[0]
            if not (on | off).any():
                break
            level += on * threshold[1] - off * threshold[0]
            fired = on | off
            late = (_random_bits(stream, (pixels << 16 | sent).astype(np.uint64)) >> np.uint64(33)).astype(np.int64)
            t = step * STEP_US + np.abs(level - before)[fired] * STEP_US // np.abs(now - before)[fired]
            key = t + late[fired] % LATENESS_US << 24 | pixels[fired] // SENSOR << 16 | pixels[fired] % SENSOR << 8
            keys.append(key | on[fired])
            sent += fired
    return np.sort(np.concatenate(keys))


def _as_events(keys: npt.NDArray[np.int64]) -> Events:
    x, y, p = keys >> 8 & 0xFF, keys >> 16 & 0xFF, keys & 0xFF
    return Events(x.astype(np.uint16), y.astype(np.uint16), keys >> 24, p.astype(np.uint8))
