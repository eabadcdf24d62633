"""Random numbers that are a function of their key: the same on every machine and device, in any order.

SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014) as a counter-based generator:
number i of a stream is a hash of key + (i + 1) · GOLDEN, so no state is kept and nothing has to be drawn in between.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from difflogic_tonic.data.augment_kernels import fill_first_words

Words = npt.NDArray[np.uint64]

CODING = 1000
"""Part of the keys of spikes that code an image: a purpose of its own, beside those of `augment`."""

GOLDEN = 0x9E3779B97F4A7C15
FACTORS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)


def keys(samples: npt.NDArray[np.int64], *parts: int) -> Words:
    """One key per sample, u64[B], decided by `parts` (integers >= 0) and the sample's number alone."""
    found = np.empty(len(samples), np.uint64)
    fill_first_words(np.uint64(_key(*parts)), samples.view(np.uint64), found)
    return found


def number(*parts: int) -> int:
    """One number for `parts` (integers >= 0), with a sign: -2**63 to 2**63 - 1."""
    return _signed(_key(*parts))


@lru_cache
def _key(*parts: int) -> int:
    """The hash of one word after the other, in Python's integers."""
    key = 0
    for part in parts:
        key = ((key ^ part) + GOLDEN) % 2**64
        key = (key ^ (key >> 30)) * FACTORS[0] % 2**64
        key = (key ^ (key >> 27)) * FACTORS[1] % 2**64
        key ^= key >> 31
    return key


def uniform(words: Words) -> npt.NDArray[np.float64]:
    """Words as f64 in [0, 1)."""
    return np.multiply(words >> np.uint64(11), 2.0**-53, dtype=np.float64)


def integers(
    words: Words, low: int | npt.NDArray[np.int64], high: int | npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Words as i64 from `low` to `high`, both included; at most 2**31 values."""
    span = np.asarray(high, np.int64) - low + 1
    return ((words >> np.uint64(32)) * span.astype(np.uint64) >> np.uint64(32)).astype(np.int64) + low


def words_on_device(key: Tensor, n: int) -> Tensor:
    """The first `n` numbers of each stream of `key` i64[B] (the bits of a u64), as i64[B, n] on its device."""
    counters = torch.arange(1, n + 1, device=key.device) * _signed(GOLDEN)
    words = key.unsqueeze(1) + counters
    words = (words ^ _shifted(words, 30)) * _signed(FACTORS[0])
    words = (words ^ _shifted(words, 27)) * _signed(FACTORS[1])
    return words ^ _shifted(words, 31)


def sixteen_bits(key: Tensor, steps: int, n: int) -> Tensor:
    """Numbers below 2**16 as i32[B, steps, n]: four of a word of the stream `key` i64[B], a new word for each step."""
    words = (n + 3) // 4
    parts = words_on_device(key, steps * words).view(torch.int16).view(len(key), steps, 4 * words)
    return parts[..., :n].int() & 0xFFFF


def _shifted(words: Tensor, bits: int) -> Tensor:
    """A shift of i64 to the right that brings in zeros: the tensor's own brings in the sign."""
    return (words >> bits) & ((1 << (64 - bits)) - 1)


def _signed(word: int) -> int:
    return word - 2**64 if word >= 2**63 else word
