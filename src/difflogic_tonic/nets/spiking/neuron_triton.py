"""The kernels of `neuron_kernels` for CUDA, in Triton. Imported by neuron_gpu.py, and only where triton is installed.

A program has a block of neurons and walks over the steps with their membranes in registers. Numbers are stored as
float32, bfloat16 or float16; all arithmetic is float32, its order that of `neuron_reference`. Launched without fusion
of multiplications and additions, so that the spikes are equal to the bit. Nothing is added atomically.

`steps` i64[2, T]: neurons in each step, and where the step begins; read if RAGGED, else every step has `width`.
KIND: 0 `if`, 1 `lif`, 2 `plif` with 1 / tau at `share`. What is not used may be any pointer.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs
# (triton takes an annotation other than constexpr for the type of a machine word)

import triton
import triton.language as tl


@triton.jit
def _place(steps, t, n_steps, width, RAGGED: tl.constexpr):
    """Neurons of step t, and where it begins."""
    if RAGGED:
        return tl.load(steps + t), tl.load(steps + n_steps + t)
    else:
        return tl.cast(width, tl.int64), tl.cast(t, tl.int64) * width


@triton.jit(do_not_specialize=["n_steps"])
def forward(
    x, v0, share, steps, s, u, last, n_steps, width, tau, threshold,
    KIND: tl.constexpr, DECAY_INPUT: tl.constexpr, HARD: tl.constexpr, STATIC: tl.constexpr, CHARGED: tl.constexpr,
    KEEP: tl.constexpr, GOES_ON: tl.constexpr, RAGGED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Currents x to spikes s, distances from the threshold u (where KEEP), and the membranes at the end (where
    GOES_ON)."""
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    if CHARGED:
        v = tl.load(v0 + i, mask=i < width, other=0.0)
    else:
        v = tl.zeros([BLOCK], tl.float32)
    for t in range(n_steps):
        n, begin = _place(steps, t, n_steps, width, RAGGED)
        inside = i < n
        current = tl.load(x + (i if STATIC else begin + i), mask=inside, other=0.0).to(tl.float32)
        change = (current - v) if DECAY_INPUT else v
        if KIND == 1:
            change = tl.div_rn(change, tau)
        if KIND == 2:
            change = change * tl.load(share)
        if KIND == 0:
            h = v + current
        elif DECAY_INPUT:
            h = v + change
        else:
            h = v - change + current
        away = h - threshold
        fires = away >= 0
        tl.store(s + begin + i, tl.where(fires, 1.0, 0.0).to(s.dtype.element_ty), mask=inside)
        if KEEP:
            tl.store(u + begin + i, away.to(u.dtype.element_ty), mask=inside)
        after_spike = tl.zeros([BLOCK], tl.float32) if HARD else away
        v = tl.where(inside, tl.where(fires, after_spike, h), v)
    if GOES_ON:
        tl.store(last + i, v, mask=i < width)


@triton.jit
def _slope(u, alpha, SURROGATE: tl.constexpr):
    """The surrogate derivative, by `surrogates.NUMBERS`."""
    if SURROGATE == 0:
        z = 1.5707963267948966 * alpha * u
        return alpha / 2 / (1 + z * z)
    elif SURROGATE == 1:
        y = 1 / (1 + tl.exp(-alpha * u))
        return alpha * y * (1 - y)
    elif SURROGATE == 2:
        z = 1 + alpha * tl.abs(u)
        return 1 / (z * z)
    else:
        return tl.maximum(alpha - alpha * alpha * tl.abs(u), 0.0)


@triton.jit(do_not_specialize=["n_steps"])
def backward(
    g, g_last, u, v0, share, steps, gx, g_v0, g_share, n_steps, width, tau, threshold, alpha,
    KIND: tl.constexpr, DECAY_INPUT: tl.constexpr, HARD: tl.constexpr, DETACH: tl.constexpr, SURROGATE: tl.constexpr,
    STATIC: tl.constexpr, CHARGED: tl.constexpr, ENDED: tl.constexpr, RAGGED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Gradients of the input, of v0 (where CHARGED), and of the share, f32[programs], from those of s and last (where
    ENDED)."""
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    whole = i < width
    zero = tl.zeros([BLOCK], tl.float32)
    gv = tl.load(g_last + i, mask=whole, other=0.0) if ENDED else zero
    by_input, by_share = zero, zero
    if KIND == 2:
        decay = tl.load(share)
    elif KIND == 1:
        decay = 1 / tau
    else:
        decay = 0.0
    for back in range(n_steps):
        t = n_steps - 1 - back
        n, begin = _place(steps, t, n_steps, width, RAGGED)
        inside = i < n
        away = tl.load(u + begin + i, mask=inside, other=0.0).to(tl.float32)
        g_spike = tl.load(g + begin + i, mask=inside, other=0.0).to(tl.float32)
        if not DETACH:
            g_spike -= gv * ((away + threshold) if HARD else threshold)
        kept = tl.where(away >= 0, 0.0, gv) if HARD else gv
        gh = tl.where(inside, g_spike * _slope(away, alpha, SURROGATE) + kept, 0.0)
        gv = tl.where(inside, gh * (1 - decay), gv)
        into = gh * decay if DECAY_INPUT and KIND != 0 else gh
        if STATIC:
            by_input += into
        else:
            tl.store(gx + begin + i, into.to(gx.dtype.element_ty), mask=inside)
        if KIND == 2:
            before = tl.load(v0 + i, mask=inside & (t == 0), other=0.0) if CHARGED else zero
            _, earlier = _place(steps, tl.maximum(t - 1, 0), n_steps, width, RAGGED)
            away_before = tl.load(u + earlier + i, mask=inside & (t > 0), other=0.0).to(tl.float32)
            reset = zero if HARD else away_before
            after = tl.where(away_before >= 0, reset, away_before + threshold)
            before = tl.where(t > 0, after, before)
            by_share += gh * ((away + threshold - before) / decay) if DECAY_INPUT else -gh * before
    if STATIC:
        tl.store(gx + i, by_input.to(gx.dtype.element_ty), mask=whole)
    if CHARGED:
        tl.store(g_v0 + i, gv, mask=whole)
    if KIND == 2:
        tl.store(g_share + tl.program_id(0), tl.sum(by_share, 0))
