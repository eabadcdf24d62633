"""Spiking neurons step by step, differentiated by autograd: the equations of `rule.NeuronRule` as they stand.

What every kernel is tested against, and what runs where there is none.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from difflogic_tonic.nets.spiking.rule import NeuronRule
from difflogic_tonic.nets.spiking.surrogates import SURROGATES


class Trace(NamedTuple):
    """Spikes and `membranes` (after the charge, before the reset) f32[sum(counts), ...], and `last`, the membranes
    f32[counts[0], ...] that each sample ends with."""

    spikes: Tensor
    membranes: Tensor
    last: Tensor


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: Tensor, rule: NeuronRule) -> Tensor:
        ctx.save_for_backward(u)
        ctx.rule = rule
        return (u >= 0).to(u.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (u,) = ctx.saved_tensors
        return grads[0] * SURROGATES[ctx.rule.surrogate](u, ctx.rule.steepness), None


def charge(v: Tensor, x: Tensor, rule: NeuronRule, share: Tensor | None) -> Tensor:
    """Membranes after the input x; `share` is 1 / tau where it is learned."""
    if rule.kind == "if":
        return v + x
    change = x - v if rule.decay_input else v
    change = change / rule.tau if share is None else change * share
    return v + change if rule.decay_input else v - change + x


def trace_neurons(x: Tensor, counts: list[int], rule: NeuronRule, share: Tensor | None, v: Tensor | None) -> Trace:
    """f32 currents of packed steps [sum(counts), ...], or static ones [counts[0], ...], through neurons.

    `share` f32[], 1 / tau, of plif only. `v` f32[counts[0], ...]: where the membranes start, None for 0.
    """
    currents = [x[:n] for n in counts] if len(x) == counts[0] else list(x.split(counts))
    v = torch.zeros_like(currents[0]) if v is None else v
    spikes, membranes, ended = [], [], []
    for current in currents:
        if len(current) < len(v):
            ended.append(v[len(current) :])
            v = v[: len(current)]
        h = charge(v, current, rule, share)
        s: Tensor = _Spike.apply(h - rule.threshold, rule)
        fired = s.detach() if rule.detach_reset else s
        v = h * (1 - fired) if rule.hard else h - rule.threshold * fired
        spikes.append(s)
        membranes.append(h)
    return Trace(torch.cat(spikes), torch.cat(membranes), torch.cat([v, *reversed(ended)]))
