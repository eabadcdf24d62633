"""Spiking neurons over all steps in one pass forward and one backward, on the CPU, in numba.

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

from typing import Any, NamedTuple

import numpy as np

from difflogic_tonic.events.jit import kernel
from difflogic_tonic.nets.spiking.surrogates import NUMBERS

_ATAN, _SIGMOID, _FAST_SIGMOID = NUMBERS["atan"], NUMBERS["sigmoid"], NUMBERS["fast_sigmoid"]

BLOCK = 2048
"""Neurons whose membranes are kept at hand: 8 KiB, which leaves room for the streams in a first-level cache."""


class Constants(NamedTuple):
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
def number(word: Any, shift: Any) -> Any:
    """The float32 of a stored number."""
    return np.uint32(np.uint32(word) << shift).view(np.float32)


@kernel
def word(value: Any, shift: Any) -> Any:
    """A float32 as a stored number, rounded to even."""
    bits = np.float32(value).view(np.uint32)
    half = np.uint32(0x7FFF) if shift > 0 else np.uint32(0)
    odd = np.uint32(bits >> shift) & np.uint32(1) if shift > 0 else np.uint32(0)
    return np.uint32(np.uint32(bits + half + odd) if value == value else np.uint32(0x7FC00000)) >> shift


@kernel
def _read(words: Any, shift: Any, out: Any) -> None:
    for i in range(len(words)):
        out[i] = number(words[i], shift)


@kernel
def _write(values: Any, factor: Any, shift: Any, out: Any) -> None:
    for i in range(len(values)):
        out[i] = word(values[i] * factor, shift)


@kernel
def run_forward(x: Any, v0: Any, counts: Any, c: Any, first: int, stride: int, s: Any, u: Any, last: Any) -> None:
    zero, no_spike, spike = np.float32(0), np.uint32(0), word(np.float32(1), c.shift)
    v, away = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    for start in range(first * BLOCK, counts[0], stride * BLOCK):
        block = slice(start, min(start + BLOCK, counts[0]))
        v[:] = zero
        if len(v0) > 0:
            v[: len(v0[block])] = v0[block]
        begin = 0
        for count in counts:
            n = max(0, min(BLOCK, count - start))
            part = slice(begin + start, begin + start + n)
            xs = x[start : start + n] if c.static else x[part]
            ss = s[part]
            for i in range(n):
                current = number(xs[i], c.shift)
                if c.decay_input:
                    h = v[i] + np.divide((current - v[i]) * c.share, c.tau)
                else:
                    h = v[i] - np.divide(v[i] * c.share, c.tau) + current
                away[i] = h - c.threshold
                fires = away[i] >= zero
                ss[i] = spike if fires else no_spike
                v[i] = (zero if c.hard else away[i]) if fires else h
            if len(u) > 0:
                _write(away[:n], np.float32(1), c.shift, u[part])
            begin += count
        if len(last) > 0:
            last[block] = v[: len(last[block])]


@kernel
def _exp(x: Any) -> Any:
    """e^x to 2e-7 of it, for x cut to ±87: unlike the one of the mathematical library, it is vectorised.

    2^(n + f) with n whole and |f| <= 1/2: n goes into the exponent, and 2^f is its Taylor polynomial.
    """
    z = np.float32(1.4426950408889634) * min(max(x, np.float32(-87)), np.float32(87))
    whole = np.float32(z + np.float32(12582912)) - np.float32(12582912)  # 1.5 · 2^23: no digits behind the point left
    f = z - whole
    p = np.float32(1.5403530e-4)
    p = p * f + np.float32(1.3333558e-3)
    p = p * f + np.float32(9.6181291e-3)
    p = p * f + np.float32(5.5504109e-2)
    p = p * f + np.float32(2.4022651e-1)
    p = p * f + np.float32(6.9314718e-1)
    p = p * f + np.float32(1)
    return p * np.int32(np.int32(np.int32(whole) + np.int32(127)) << np.int32(23)).view(np.float32)


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
            y = np.divide(one, one + _exp(-alpha * u[i]))
            out[i] = alpha * y * (one - y)
    elif surrogate == _FAST_SIGMOID:
        for i in range(len(u)):
            z = one + alpha * abs(u[i])
            out[i] = np.divide(one, z * z)
    else:
        for i in range(len(u)):
            out[i] = max(zero, alpha - alpha * alpha * abs(u[i]))


@kernel
def _add(values: Any, factor: Any, total: Any) -> None:
    for i in range(len(values)):
        total[i] += values[i] * factor


@kernel
def _through_spike(g: Any, away: Any, slope: Any, c: Any, decay: Any, gv: Any, gh: Any) -> None:
    """One step back: from the gradients of a spike and of the membrane after it to that of the membrane before."""
    zero, one = np.float32(0), np.float32(1)
    for i in range(len(g)):
        g_spike = number(g[i], c.shift)
        if not c.detach:
            g_spike -= gv[i] * (away[i] + c.threshold if c.hard else c.threshold)
        total = g_spike * slope[i] + (zero if c.hard and away[i] >= zero else gv[i])
        gh[i] = total
        gv[i] = total * (one - decay)


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
        away = number(u[i], c.shift)
        out[i] = (zero if c.hard else away) if away >= zero else away + c.threshold


@kernel
def run_backward(
    g: Any, g_last: Any, u: Any, v0: Any, counts: Any, c: Any, first: int, stride: int, gx: Any, g_v0: Any, g_share: Any
) -> None:
    """`g_last`, `v0`, `g_v0` and `g_share` may be empty: then nothing comes, or goes, that way."""
    zero, one = np.float32(0), np.float32(1)
    decay = np.float32(np.divide(c.share, c.tau))
    into = decay if c.decay_input else one
    gv, gh = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    away, slope = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    before = np.empty(BLOCK, np.float32)
    by_share, by_input = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    for start in range(first * BLOCK, counts[0], stride * BLOCK):
        block = slice(start, min(start + BLOCK, counts[0]))
        gv[:] = zero
        by_share[:] = zero
        by_input[:] = zero
        if len(g_last) > 0:
            gv[: len(g_last[block])] = g_last[block]
        begin = counts.sum()
        for t in range(len(counts) - 1, -1, -1):
            begin -= counts[t]
            n = max(0, min(BLOCK, counts[t] - start))
            part = slice(begin + start, begin + start + n)
            gs, us, gxs = g[part], u[part], gx[:0] if c.static else gx[part]
            _read(us, c.shift, away)
            _slopes(c.surrogate, c.alpha, away[:n], slope)
            _through_spike(gs, away, slope, c, decay, gv, gh)
            if c.static:
                _add(gh[:n], into, by_input)
            else:
                _write(gh[:n], into, c.shift, gxs)
            if len(g_share) > 0:
                before[:n] = zero
                if t > 0:
                    _after_reset(u[part.start - counts[t - 1] : part.stop - counts[t - 1]], c, before)
                elif len(v0) > 0:
                    before[:n] = v0[block]
                _add_share(gh, away[:n], before, c, by_share)
        if c.static:
            _write(by_input[: len(gx[block])], one, c.shift, gx[block])
        if len(g_v0) > 0:
            g_v0[block] = gv[: len(g_v0[block])]
        if len(g_share) > 0:
            g_share[start // BLOCK] = by_share.astype(np.float64).sum()
