"""Spiking neurons over all steps in one pass forward and one backward, on the CPU.

Step-by-step autograd writes and reads every intermediate of every step; here the membrane of a block of neurons stays
in the first-level cache, and its distance from the threshold, u = h - threshold, is all that is kept for the backward
pass. The operations and their order are those of `neuron_reference`, without contraction, so that the spikes are equal
to the bit.

Steps lie one after the other, `counts[t]` neurons in step t, never more than in the step before (`steps.PackedSteps`):
neuron i of a step is neuron i of the next one, as long as that one is long enough. A static input is read, and its
gradient added up, at every step.

bfloat16, which numba does not have, comes as the upper half of a float32: numbers are read as words shifted up, and
written rounded to even and shifted down. Rounding keeps the sign of u, which says whether the neuron fired.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from difflogic_tonic.events.jit import kernel
from difflogic_tonic.nets.spiking.rule import NeuronRule
from difflogic_tonic.nets.spiking.surrogates import NUMBERS

STORAGES: tuple[torch.dtype, ...] = (torch.float32, torch.bfloat16)
"""What currents, spikes, their gradients and what is kept may be stored as; membranes are float32."""

_ATAN, _SIGMOID, _FAST_SIGMOID = NUMBERS["atan"], NUMBERS["sigmoid"], NUMBERS["fast_sigmoid"]

_BLOCK = 2048
"""Neurons whose membranes are kept at hand: 8 KiB, which leaves room for the streams in a first-level cache."""

_SINGLE_THREADED = 1 << 16
"""Below so many elements a second thread costs more than it saves."""


class _Constants(NamedTuple):
    """A rule as the kernels take it: share / tau is the decay, exactly 1 / tau or a learned share, 0 without a leak."""

    decay_input: bool
    share: Any
    tau: Any
    threshold: Any
    hard: bool
    detach: bool
    surrogate: int
    alpha: Any
    shift: Any
    """Bits that a stored number lacks of a float32: 0 or 16."""

    static: bool


@kernel
def _number(word: Any, shift: Any) -> Any:
    """The float32 of a stored number."""
    return np.uint32(np.uint32(word) << shift).view(np.float32)


@kernel
def _word(value: Any, shift: Any) -> Any:
    """A float32 as a stored number, rounded to even."""
    bits = np.float32(value).view(np.uint32)
    half = np.uint32(0x7FFF) if shift > 0 else np.uint32(0)
    odd = np.uint32(bits >> shift) & np.uint32(1) if shift > 0 else np.uint32(0)
    return np.uint32(np.uint32(bits + half + odd) if value == value else np.uint32(0x7FC00000)) >> shift


@kernel
def _forward(x: Any, v0: Any, counts: Any, c: Any, first: int, stride: int, s: Any, u: Any, last: Any) -> None:
    zero, no_spike, spike = np.float32(0), np.uint32(0), _word(np.float32(1), c.shift)
    v, away = np.empty(_BLOCK, np.float32), np.empty(_BLOCK, np.float32)
    for start in range(first * _BLOCK, counts[0], stride * _BLOCK):
        block = slice(start, min(start + _BLOCK, counts[0]))
        v[:] = zero
        if len(v0) > 0:
            v[: len(v0[block])] = v0[block]
        begin = 0
        for count in counts:
            n = max(0, min(_BLOCK, count - start))
            part = slice(begin + start, begin + start + n)
            xs = x[start : start + n] if c.static else x[part]
            ss = s[part]
            for i in range(n):
                current = _number(xs[i], c.shift)
                if c.decay_input:
                    h = v[i] + np.divide((current - v[i]) * c.share, c.tau)
                else:
                    h = v[i] - np.divide(v[i] * c.share, c.tau) + current
                away[i] = h - c.threshold
                fires = away[i] >= zero
                ss[i] = spike if fires else no_spike
                v[i] = (zero if c.hard else away[i]) if fires else h
            if len(u) > 0:
                us = u[part]
                for i in range(n):
                    us[i] = _word(away[i], c.shift)
            begin += count
        last[block] = v[: len(last[block])]


@kernel
def _slopes(surrogate: int, alpha: Any, u: Any, out: Any) -> None:
    """The surrogate derivative at u; `np.divide`, as the check for zero in `/` is not vectorised."""
    zero, one, half = np.float32(0), np.float32(1), np.float32(alpha / 2)
    quarter_turn = np.float32(np.pi / 2 * alpha)
    if surrogate == _ATAN:
        for i in range(len(u)):
            z = quarter_turn * u[i]
            out[i] = np.divide(half, one + z * z)
    elif surrogate == _SIGMOID:
        for i in range(len(u)):
            y = np.divide(one, one + np.exp(-alpha * u[i]))
            out[i] = alpha * y * (one - y)
    elif surrogate == _FAST_SIGMOID:
        for i in range(len(u)):
            z = one + alpha * abs(u[i])
            out[i] = np.divide(one, z * z)
    else:
        for i in range(len(u)):
            out[i] = max(zero, alpha - alpha * alpha * abs(u[i]))


@kernel
def _add_share(gh: Any, away: Any, before: Any, c: Any, total: Any) -> None:
    """Add the gradient of the share: dh / dshare is x - v = (h - v) / share, or -v without decay of the input.

    `before` holds v after the step before, `away` the distance of h from the threshold.
    """
    for i in range(len(away)):
        if c.decay_input:
            total[i] += gh[i] * np.divide(away[i] + c.threshold - before[i], c.share)
        else:
            total[i] -= gh[i] * before[i]


@kernel
def _after_reset(u: Any, c: Any, out: Any) -> None:
    """v after a step whose distances from the threshold are kept in u."""
    zero = np.float32(0)
    for i in range(len(u)):
        away = _number(u[i], c.shift)
        out[i] = (zero if c.hard else away) if away >= zero else away + c.threshold


@kernel
def _backward(
    g: Any, g_last: Any, u: Any, v0: Any, counts: Any, c: Any, first: int, stride: int, gx: Any, g_v0: Any, g_share: Any
) -> None:
    """`g_last`, `v0`, `g_v0` and `g_share` may be empty: then nothing comes, or goes, that way."""
    zero, one = np.float32(0), np.float32(1)
    decay = np.float32(np.divide(c.share, c.tau))
    into = decay if c.decay_input else one
    gv, gh, away, slope = np.empty((4, _BLOCK), np.float32)
    before, by_share, by_input = np.empty((3, _BLOCK), np.float32)
    for start in range(first * _BLOCK, counts[0], stride * _BLOCK):
        block = slice(start, min(start + _BLOCK, counts[0]))
        gv[:], by_share[:], by_input[:] = zero, zero, zero
        if len(g_last) > 0:
            gv[: len(g_last[block])] = g_last[block]
        begin = counts.sum()
        for t in range(len(counts) - 1, -1, -1):
            begin -= counts[t]
            n = max(0, min(_BLOCK, counts[t] - start))
            part = slice(begin + start, begin + start + n)
            gs, us, gxs = g[part], u[part], gx[:0] if c.static else gx[part]
            for i in range(n):
                away[i] = _number(us[i], c.shift)
            _slopes(c.surrogate, c.alpha, away[:n], slope)
            for i in range(n):
                g_spike = _number(gs[i], c.shift)
                if not c.detach:
                    g_spike -= gv[i] * (away[i] + c.threshold if c.hard else c.threshold)
                gh[i] = g_spike * slope[i] + (zero if c.hard and away[i] >= zero else gv[i])
                gv[i] = gh[i] * (one - decay)
            if c.static:
                by_input[:n] += gh[:n] * into
            for i in range(len(gxs)):
                gxs[i] = _word(gh[i] * into, c.shift)
            if len(g_share) > 0:
                before[:n] = zero
                if t > 0:
                    _after_reset(u[part.start - counts[t - 1] : part.stop - counts[t - 1]], c, before)
                elif len(v0) > 0:
                    before[:n] = v0[block]
                _add_share(gh, away[:n], before, c, by_share)
        if c.static:
            for i in range(len(gx[block])):
                gx[start + i] = _word(by_input[i], c.shift)
        if len(g_v0) > 0:
            g_v0[block] = gv[: len(g_v0[block])]
        if len(g_share) > 0:
            g_share[start // _BLOCK] = by_share.astype(np.float64).sum()


def forward(
    x: Tensor, v: Tensor | None, share: Tensor | None, counts: list[int], rule: NeuronRule, keep: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Spikes like x [sum(counts), ...], distances from the threshold like them (empty unless `keep`), and the
    membranes f32[counts[0], ...] at the end.

    x: contiguous, of one of `STORAGES`; static where it is [counts[0], ...] for several steps. `v` f32, `share` f32[]:
    see `neuron_reference.trace_neurons`.
    """
    shape = (sum(counts), *x.shape[1:])
    neurons = x[0].numel()
    s = torch.empty(shape, dtype=x.dtype)
    u = torch.empty(shape if keep else 0, dtype=x.dtype)
    last = torch.empty((counts[0], *x.shape[1:]))
    arrays = _words(x), _floats(v), np.asarray(counts, np.int64) * neurons, _constants(rule, share, x, counts)
    results = _words(s), _words(u), _floats(last)
    _over_threads(s.numel(), lambda first, stride: _forward(*arrays, first, stride, *results))
    return s, u, last


def backward(
    g: Tensor,
    g_last: Tensor | None,
    u: Tensor,
    v: Tensor | None,
    share: Tensor | None,
    counts: list[int],
    rule: NeuronRule,
    static: bool,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Gradients of the input (like `g`), of `v` and of `share`, from those of the spikes and of the last membranes."""
    gx = torch.empty((counts[0], *g.shape[1:]), dtype=g.dtype) if static else torch.empty_like(g)
    g_v = None if v is None else torch.empty_like(v)
    n_blocks = -(-counts[0] * g[0].numel() // _BLOCK)
    g_share = np.zeros(0 if share is None else n_blocks)
    neurons = np.asarray(counts, np.int64) * g[0].numel()
    arrays = _words(g), _floats(g_last), _words(u), _floats(v), neurons, _constants(rule, share, gx, counts)
    results = _words(gx), _floats(g_v), g_share
    _over_threads(g.numel(), lambda first, stride: _backward(*arrays, first, stride, *results))
    return gx, g_v, None if share is None else torch.tensor(g_share.sum(), dtype=share.dtype)


def _constants(rule: NeuronRule, share: Tensor | None, x: Tensor, counts: list[int]) -> _Constants:
    leak = {"if": 0.0, "lif": 1.0, "plif": 0.0 if share is None else float(share)}[rule.kind]
    return _Constants(
        decay_input=rule.decay_input and rule.kind != "if",
        share=np.float32(leak),
        tau=np.float32(rule.tau if rule.kind == "lif" else 1),
        threshold=np.float32(rule.threshold),
        hard=rule.hard,
        detach=rule.detach_reset,
        surrogate=NUMBERS[rule.surrogate],
        alpha=np.float32(rule.steepness),
        shift=np.uint32(0 if x.dtype == torch.float32 else 16),
        static=len(counts) > 1 and len(x) == counts[0],
    )


def _words(tensor: Tensor) -> npt.NDArray[Any]:
    """The stored bits of a contiguous tensor, flat."""
    flat = tensor.detach().view(-1)
    if tensor.dtype == torch.float32:
        return flat.numpy().view(np.uint32)
    assert tensor.dtype == torch.bfloat16, tensor.dtype
    return flat.view(torch.uint16).numpy()


def _floats(tensor: Tensor | None) -> npt.NDArray[np.float32]:
    return np.empty(0, np.float32) if tensor is None else tensor.detach().view(-1).numpy()


def _over_threads(elements: int, part: Callable[[int, int], None]) -> None:
    """`part(first, stride)` for blocks first, first + stride, …; neurons are independent, so threads change nothing."""
    threads = torch.get_num_threads() if elements >= _SINGLE_THREADED else 1
    if threads == 1:
        part(0, 1)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda first: part(first, threads), range(threads)))
