"""Spiking neurons over all steps in one pass forward and one backward, on the CPU: the calls of neuron_kernels.py."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from difflogic_tonic.nets.spiking.neuron_kernels import BLOCK, Constants, run_backward, run_forward
from difflogic_tonic.nets.spiking.rule import NeuronRule
from difflogic_tonic.nets.spiking.surrogates import NUMBERS

STORAGES: tuple[torch.dtype, ...] = (torch.float32, torch.bfloat16)
"""What currents, spikes, their gradients and what is kept may be stored as; membranes are float32."""

_SINGLE_THREADED = 1 << 16
"""Below so many elements a second thread costs more than it saves."""


def forward(
    x: Tensor, v: Tensor | None, share: Tensor | None, counts: list[int], rule: NeuronRule, keep: bool, goes_on: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Spikes like x [sum(counts), ...], distances from the threshold like them (empty unless `keep`), and the
    membranes f32[counts[0], ...] at the end (empty unless it `goes_on`).

    x: contiguous, of one of `STORAGES`; static where it is [counts[0], ...] for several steps. `v` f32, `share` f32[]:
    see `neuron_reference.trace_neurons`.
    """
    shape = (sum(counts), *x.shape[1:])
    neurons = x[0].numel()
    s = torch.empty(shape, dtype=x.dtype)
    u = torch.empty(shape if keep else 0, dtype=x.dtype)
    last = torch.empty((counts[0], *x.shape[1:]) if goes_on else 0)
    arrays = words(x), _floats(v), np.asarray(counts, np.int64) * neurons, _constants(rule, share, x, counts)
    results = words(s), words(u), _floats(last)
    over_threads(s.numel(), lambda first, stride: run_forward(*arrays, first, stride, *results))
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
    n_blocks = -(-counts[0] * g[0].numel() // BLOCK)
    g_share = np.zeros(0 if share is None else n_blocks)
    neurons = np.asarray(counts, np.int64) * g[0].numel()
    arrays = words(g), _floats(g_last), words(u), _floats(v), neurons, _constants(rule, share, gx, counts)
    results = words(gx), _floats(g_v), g_share
    over_threads(g.numel(), lambda first, stride: run_backward(*arrays, first, stride, *results))
    return gx, g_v, None if share is None else torch.tensor(g_share.sum(), dtype=share.dtype)


def _constants(rule: NeuronRule, share: Tensor | None, x: Tensor, counts: list[int]) -> Constants:
    leak = {"if": 0.0, "lif": 1.0, "plif": 0.0 if share is None else float(share)}[rule.kind]
    return Constants(
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


def words(tensor: Tensor) -> npt.NDArray[Any]:
    """The stored bits of a contiguous tensor, flat."""
    flat = tensor.detach().view(-1)
    if tensor.dtype == torch.float32:
        return flat.numpy().view(np.uint32)
    assert tensor.dtype == torch.bfloat16, tensor.dtype
    return flat.view(torch.uint16).numpy()


def _floats(tensor: Tensor | None) -> npt.NDArray[np.float32]:
    return np.empty(0, np.float32) if tensor is None else tensor.detach().view(-1).numpy()


def over_threads(elements: int, part: Callable[[int, int], None]) -> None:
    """`part(first, stride)` for blocks first, first + stride, …; neurons are independent, so threads change nothing."""
    threads = torch.get_num_threads() if elements >= _SINGLE_THREADED else 1
    if threads == 1:
        part(0, 1)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda first: part(first, threads), range(threads)))
