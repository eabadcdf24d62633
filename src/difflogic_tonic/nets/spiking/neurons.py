"""Leaky integrate-and-fire neurons over the steps of a sequence.

    h = v + (x - v) / tau           charge
    s = 1 if h >= threshold else 0  spike
    v = 0 where s, else h           hard reset; soft: v = h - threshold * s

with v = 0 before the first step (Gerstner and Kistler 2002, discretised as by Fang et al. 2021). tau is in steps; with
tau = 1 a neuron keeps nothing of the step before. The state lives inside one call and cannot leak into the next; it is
float32 whatever the input, because the small changes of a charge are lost in half precision.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from difflogic_tonic.nets.spiking import neuron_cpu
from difflogic_tonic.nets.spiking.rule import NeuronRule
from difflogic_tonic.nets.spiking.steps import PackedSteps
from difflogic_tonic.nets.spiking.stepwise import StepModule
from difflogic_tonic.nets.spiking.surrogates import SURROGATES


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: Tensor, surrogate: str) -> Tensor:
        ctx.save_for_backward(u)
        ctx.surrogate = surrogate
        return (u >= 0).to(u.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (u,) = ctx.saved_tensors
        return grads[0] * SURROGATES[ctx.surrogate](u), None


def neuron_reference(x: Tensor, counts: list[int], rule: NeuronRule) -> Tensor:
    """Spikes f32 like `x` [sum(counts), ...] of packed steps: the equations above, differentiated by autograd."""
    v = x.new_zeros(x[: counts[0]].shape)
    spikes = []
    for current in x.split(counts):
        v = v[: len(current)]
        h = v + (current - v) * rule.decay
        s = _Spike.apply(h - rule.threshold, rule.surrogate)
        fired = s.detach() if rule.detach_reset else s
        v = h * (1 - fired) if rule.reset == "hard" else h - rule.threshold * fired
        spikes.append(s)
    return torch.cat(spikes)


class _FusedNeuron(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, counts: list[int], rule: NeuronRule) -> Tensor:
        neurons = x[0].numel()
        ctx.counts = np.asarray(counts, np.int64) * neurons
        ctx.rule = rule
        flat = x.detach().contiguous().view(-1).numpy()
        s, h = neuron_cpu.neuron_forward(flat, ctx.counts, rule.decay, rule.threshold, rule.reset == "hard")
        ctx.save_for_backward(torch.from_numpy(h))
        return torch.from_numpy(s).view(x.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (h,) = ctx.saved_tensors
        rule = ctx.rule
        g = grads[0].contiguous().view(-1).numpy()
        gx = neuron_cpu.neuron_backward(
            g,
            h.numpy(),
            ctx.counts,
            rule.decay,
            rule.threshold,
            rule.reset == "hard",
            rule.detach_reset,
            rule.surrogate,
        )
        return torch.from_numpy(gx).view(grads[0].shape), None, None


def neuron_fused(x: Tensor, counts: list[int], rule: NeuronRule) -> Tensor:
    """`neuron_reference` in one pass, for float32 on the CPU: the same spikes, the gradient equal to 5e-7."""
    spikes: Tensor = _FusedNeuron.apply(x, counts, rule)
    return spikes


class Neuron(StepModule):
    """A layer of LIF neurons over packed steps, one neuron per element of a sample; no parameters.

    `backend`: `reference`, `fused` (CPU), or `auto`, which is fused on the CPU and the reference elsewhere.
    """

    def __init__(self, rule: NeuronRule, backend: str = "auto") -> None:
        super().__init__()
        self.rule = rule
        self.backend = backend

    def forward(self, x: Tensor, steps: PackedSteps) -> Tensor:
        """Currents [sum(counts), ...] to spikes (0 or 1) of the same shape and dtype."""
        fused = self.backend == "fused" or (self.backend == "auto" and x.device.type == "cpu")
        spikes = (neuron_fused if fused else neuron_reference)(x.to(torch.float32), steps.counts, self.rule)
        return spikes.to(x.dtype)

    def extra_repr(self) -> str:
        return f"{self.rule}, backend={self.backend!r}"


def leaky_membrane(x: Tensor, steps: PackedSteps, decay: float) -> Tensor:
    """Membranes f32 [sum(counts), N] of neurons that integrate and never fire: v += (x - v) * decay."""
    x = x.to(torch.float32)
    v = x.new_zeros(steps.counts[0], x.shape[1])
    membranes = []
    for current in x.split(steps.counts):
        v = v[: len(current)]
        v = v + (current - v) * decay
        membranes.append(v)
    return torch.cat(membranes)
