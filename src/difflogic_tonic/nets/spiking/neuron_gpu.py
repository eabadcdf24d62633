"""Spiking neurons over all steps in one pass forward and one backward, on CUDA: the launches of neuron_triton.py."""

import logging
from functools import cache, lru_cache
from itertools import accumulate
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from difflogic_tonic.nets.spiking.rule import KINDS, NeuronRule
from difflogic_tonic.nets.spiking.surrogates import NUMBERS
from difflogic_tonic.nets.triton_check import why_no_triton

log = logging.getLogger(__name__)

STORAGES: tuple[torch.dtype, ...] = (torch.float32, torch.bfloat16, torch.float16)
"""What currents, spikes and their gradients may be stored as; membranes are float32."""

_BLOCK = 512
_OPTIONS = {"BLOCK": _BLOCK, "num_warps": 4, "enable_fp_fusion": False}


def why_not(device: torch.device, tell: bool = True) -> str | None:
    """Why the kernels cannot run on `device`; None where they can. Asks once per process and device.

    `tell`: also log, once, that plain torch takes their place.
    """
    reason = _why_not(device.type, device.index)
    if tell and reason is not None:
        _tell(device.type, reason)
    return reason


_why_not = cache(why_no_triton)


@cache
def _tell(kind: str, reason: str) -> None:
    log.warning("spiking neurons on %s run in plain torch, which is several times slower: %s", kind, reason)


def forward(
    x: Tensor, v: Tensor | None, share: Tensor | None, counts: list[int], rule: NeuronRule, keep: bool, goes_on: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """As `neuron_cpu.forward`."""
    shape = (sum(counts), *x.shape[1:])
    s = _empty(shape, x.dtype, x.device)
    u = _empty(shape if keep else (0,), _kept_as(x.dtype), x.device)
    last = _empty((counts[0], *x.shape[1:]) if goes_on else (0,), torch.float32, x.device)
    width = counts[0] * x[0].numel()
    static = len(counts) > 1 and len(x) == counts[0]
    if width:
        _kernels().forward[_grid(width)](
            x, _or(v, s), _or(share, s), _steps(counts, x), s, u if keep else s, last if goes_on else s,
            len(counts), width, rule.tau, rule.threshold, **_constants(rule, counts), HARD=rule.hard, STATIC=static,
            CHARGED=v is not None, KEEP=keep, GOES_ON=goes_on, **_OPTIONS,
        )  # fmt: skip
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
    """As `neuron_cpu.backward`."""
    width = counts[0] * g[0].numel()
    gx = _empty((counts[0] if static else len(g), *g.shape[1:]), g.dtype, g.device)
    g_v = None if v is None else _empty(v.shape, torch.float32, g.device)
    partial = _empty((_grid(width)[0] if share is not None else 0,), torch.float32, g.device)
    if width:
        _kernels().backward[_grid(width)](
            g, _or(g_last, partial), u, _or(v, partial), _or(share, partial), _steps(counts, g), gx, _or(g_v, partial),
            partial, len(counts), width, rule.tau, rule.threshold, rule.steepness, **_constants(rule, counts),
            HARD=rule.hard, DETACH=rule.detach_reset, SURROGATE=NUMBERS[rule.surrogate], STATIC=static,
            CHARGED=v is not None, ENDED=g_last is not None, **_OPTIONS,
        )  # fmt: skip
    return gx, g_v, None if share is None else partial.sum(dtype=torch.float64).to(share.dtype)


def _empty(shape: tuple[int, ...] | torch.Size, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.empty(shape, dtype=dtype, device=device)


def _kernels() -> ModuleType:
    from difflogic_tonic.nets.spiking import neuron_triton

    return neuron_triton


def _kept_as(dtype: torch.dtype) -> torch.dtype:
    """float16 would round small distances from the threshold to zero, and lose on which side they are."""
    return torch.float32 if dtype == torch.float16 else dtype


def _constants(rule: NeuronRule, counts: list[int]) -> dict[str, Any]:
    return {"KIND": KINDS.index(rule.kind), "DECAY_INPUT": rule.decay_input, "RAGGED": counts[0] != counts[-1]}


def _grid(width: int) -> tuple[int]:
    return (-(-width // _BLOCK),)


def _or(tensor: Tensor | None, other: Tensor) -> Tensor:
    return other if tensor is None else tensor


def _steps(counts: list[int], like: Tensor) -> Tensor:
    """Neurons in each step and where it begins, i64[2, T] on the device; anything where all steps are equal."""
    if counts[0] == counts[-1]:
        return like
    return _steps_of(tuple(counts), like[0].numel(), like.device)


@lru_cache(maxsize=64)
def _steps_of(counts: tuple[int, ...], neurons: int, device: torch.device) -> Tensor:
    table = [counts, [0, *accumulate(counts[:-1])]]
    return (torch.tensor(table, dtype=torch.int64) * neurons).to(device)
