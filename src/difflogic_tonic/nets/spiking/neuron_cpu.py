"""Spiking neurons over all steps in one pass forward and one backward, on the CPU.

Step-by-step autograd writes and reads every intermediate of every step; here the membrane of a block of neurons stays
in the first-level cache, and the membrane before its reset is all that is kept for the backward pass. The operations
and their order are those of `neurons.neuron_reference`, without contraction, so that the spikes are equal to the bit.

Steps lie one after the other, `counts[t]` samples in step t, never more than in the step before (`steps.PackedSteps`):
neuron i of a step is neuron i of the next one, as long as that one is long enough.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from difflogic_tonic.events.jit import kernel

_ATAN, _SIGMOID, _FAST_SIGMOID, _TRIANGLE = range(4)

KERNEL_SURROGATES = {"atan": _ATAN, "sigmoid": _SIGMOID, "fast_sigmoid": _FAST_SIGMOID, "triangle": _TRIANGLE}
"""The surrogates of `surrogates.SURROGATES` that the kernel knows, by number."""

Floats = npt.NDArray[np.float32]

_BLOCK = 2048
"""Neurons whose membranes are kept at hand: 8 KiB, which leaves room for the streams in a first-level cache."""

_SINGLE_THREADED = 1 << 16
"""Below so many elements a second thread costs more than it saves."""


@kernel
def _forward(
    x: Any, counts: Any, first: int, stride: int, decay: Any, threshold: Any, hard: bool, s: Any, h: Any
) -> None:
    zero, one = np.float32(0), np.float32(1)
    v = np.empty(_BLOCK, np.float32)
    for start in range(first * _BLOCK, counts[0], stride * _BLOCK):
        v[:] = zero
        begin = 0
        for count in counts:
            n = max(0, min(_BLOCK, count - start))
            part = slice(begin + start, begin + start + n)
            xs, hs, ss = x[part], h[part], s[part]
            for i in range(n):
                charged = v[i] + (xs[i] - v[i]) * decay
                fires = charged - threshold >= zero
                hs[i] = charged
                ss[i] = one if fires else zero
                after_spike = zero if hard else charged - threshold
                v[i] = after_spike if fires else charged
            begin += count


@kernel
def _slopes(surrogate: int, h: Any, threshold: Any, out: Any) -> None:
    """The surrogate derivative at `h` - `threshold`; `np.divide`, as the check for zero in `/` is not vectorised."""
    zero, one, pi, four, steep = np.float32(0), np.float32(1), np.float32(np.pi), np.float32(4), np.float32(25)
    if surrogate == _ATAN:
        for i in range(len(h)):
            z = pi * (h[i] - threshold)
            out[i] = np.divide(one, one + z * z)
    elif surrogate == _SIGMOID:
        for i in range(len(h)):
            y = np.divide(one, one + np.exp(-four * (h[i] - threshold)))
            out[i] = four * y * (one - y)
    elif surrogate == _FAST_SIGMOID:
        for i in range(len(h)):
            z = one + steep * abs(h[i] - threshold)
            out[i] = np.divide(one, z * z)
    else:
        for i in range(len(h)):
            out[i] = max(zero, one - abs(h[i] - threshold))


@kernel
def _backward(
    g: Any,
    h: Any,
    counts: Any,
    first: int,
    stride: int,
    decay: Any,
    threshold: Any,
    hard: bool,
    detach: bool,
    surrogate: int,
    gx: Any,
) -> None:
    zero, one = np.float32(0), np.float32(1)
    gv, slope = np.empty(_BLOCK, np.float32), np.empty(_BLOCK, np.float32)
    for start in range(first * _BLOCK, counts[0], stride * _BLOCK):
        gv[:] = zero
        begin = counts.sum()
        for t in range(len(counts) - 1, -1, -1):
            begin -= counts[t]
            n = max(0, min(_BLOCK, counts[t] - start))
            part = slice(begin + start, begin + start + n)
            gs, hs, gxs = g[part], h[part], gx[part]
            _slopes(surrogate, hs, threshold, slope)
            for i in range(n):
                g_spike = gs[i]
                if not detach:
                    g_spike -= gv[i] * (hs[i] if hard else threshold)
                kept = zero if hard and hs[i] - threshold >= zero else gv[i]
                g_charged = g_spike * slope[i] + kept
                gxs[i] = g_charged * decay
                gv[i] = g_charged * (one - decay)


def neuron_forward(
    x: Floats, counts: npt.NDArray[np.int64], decay: float, threshold: float, hard: bool
) -> tuple[Floats, Floats]:
    """Spikes and membranes before reset, both f32 like `x` [sum(counts)]; `counts` is in neurons, not samples."""
    s, h = np.empty_like(x), np.empty_like(x)
    args = np.float32(decay), np.float32(threshold), hard
    _over_threads(len(x), lambda first, stride: _forward(x, counts, first, stride, *args, s, h))
    return s, h


def neuron_backward(
    g: Floats,
    h: Floats,
    counts: npt.NDArray[np.int64],
    decay: float,
    threshold: float,
    hard: bool,
    detach_reset: bool,
    surrogate: str,
) -> Floats:
    """Gradient of the input, f32 like `g`, from the gradient `g` of the spikes and the membranes `h` of the forward."""
    gx = np.empty_like(g)
    args = np.float32(decay), np.float32(threshold), hard, detach_reset, KERNEL_SURROGATES[surrogate]
    _over_threads(len(g), lambda first, stride: _backward(g, h, counts, first, stride, *args, gx))
    return gx


def _over_threads(elements: int, part: Callable[[int, int], None]) -> None:
    """`part(first, stride)` for blocks first, first + stride, …; neurons are independent, so threads change nothing."""
    threads = torch.get_num_threads() if elements >= _SINGLE_THREADED else 1
    if threads == 1:
        part(0, 1)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda first: part(first, threads), range(threads)))
