"""Spiking neurons over the steps of a sequence, as a module with a choice of kernels.

The state lives inside one call and cannot leak into the next, unless the steps carry a memory. It is float32 whatever
the input, because the small changes of a charge are lost in half precision.
"""

import math
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from difflogic_tonic.errors import ConfigError
from difflogic_tonic.nets.spiking import neuron_cpu, neuron_gpu
from difflogic_tonic.nets.spiking.neuron_reference import trace_neurons
from difflogic_tonic.nets.spiking.rule import NeuronRule
from difflogic_tonic.nets.spiking.steps import PackedSteps
from difflogic_tonic.nets.spiking.stepwise import StepModule

BACKENDS = ("auto", "reference", "fused", "compiled")


class _Fused(torch.autograd.Function):
    """Neurons by the forward and backward pass of `kernels`, a module that has both."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        v: Tensor | None,
        share: Tensor | None,
        counts: list[int],
        rule: NeuronRule,
        kernels: ModuleType,
        keep: bool,
        goes_on: bool,
    ) -> tuple[Tensor, Tensor]:
        s, u, last = kernels.forward(x, v, share, counts, rule, keep, goes_on)
        ctx.save_for_backward(u, v, share)
        ctx.rest = counts, rule, len(x) < sum(counts)
        ctx.kernels = kernels
        ctx.set_materialize_grads(False)
        return s, last

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        u, v, share = ctx.saved_tensors
        g, g_last = grads
        g = torch.zeros_like(u) if g is None else g.contiguous()
        g_last = None if g_last is None else g_last.contiguous()
        return *ctx.kernels.backward(g, g_last, u, v, share, *ctx.rest), None, None, None, None, None


def fused_neurons(
    x: Tensor,
    counts: list[int],
    rule: NeuronRule,
    share: Tensor | None,
    v: Tensor | None,
    kernels: ModuleType,
    goes_on: bool = True,
) -> tuple[Tensor, Tensor]:
    """Spikes and last membranes of `trace_neurons` in one pass: the same spikes, the gradient equal to 2e-6.

    x of any floating dtype, and any layout, which spikes keep; a dtype that is none of `kernels.STORAGES` goes through
    float32. The last membranes are empty unless it `goes_on`.
    """
    if x.dim() == 4 and not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last):
        v = None if v is None else v.permute(0, 2, 3, 1)
        spikes, last = fused_neurons(x.permute(0, 2, 3, 1), counts, rule, share, v, kernels, goes_on)
        return spikes.permute(0, 3, 1, 2), last.permute(0, 3, 1, 2) if goes_on else last
    stored = x if x.dtype in kernels.STORAGES else x.to(torch.float32)
    inputs = stored.contiguous(), None if v is None else v.contiguous(), share
    keep = torch.is_grad_enabled() and any(given is not None and given.requires_grad for given in inputs)
    spikes, last = _Fused.apply(*inputs, counts, rule, kernels, keep, goes_on)
    return spikes.to(x.dtype), last


class Neuron(StepModule):
    """A layer of spiking neurons over packed steps, one neuron per element of a sample.

    Parametric neurons learn one number for the layer, `w`, with 1 / tau = sigmoid(w) (Fang et al. 2021).

    `backend`: `reference`, plain autograd; `fused`, kernels for the CPU; `compiled`, kernels for CUDA; or `auto`, which
    is the one that fits the device of the input. `ConfigError` at the call for one that does not fit.
    """

    takes_static = True
    resumable = True

    def __init__(self, rule: NeuronRule, backend: str = "auto") -> None:
        super().__init__()
        if backend not in BACKENDS:
            raise ValueError(f"backend {backend!r}: expected one of {', '.join(BACKENDS)}")
        self.rule = rule
        self.backend = backend
        self.w = nn.Parameter(torch.tensor(-math.log(rule.tau - 1))) if rule.kind == "plif" else None

    def forward(self, x: Tensor, steps: PackedSteps) -> Tensor:
        """Currents [sum(counts), ...], or static ones [counts[0], ...], to spikes (0 or 1) [sum(counts), ...] of the
        same dtype."""
        kernels = find_kernels(self.backend, x.device)
        v, share = steps.recall(self), self.share()
        if kernels is None:
            trace = trace_neurons(x.to(torch.float32), steps.counts, self.rule, share, v)
            spikes, last = trace.spikes.to(x.dtype), trace.last
        else:
            goes_on = steps.memory is not None
            spikes, last = fused_neurons(x, steps.counts, self.rule, share, v, kernels, goes_on)
        steps.keep(self, last)
        return spikes

    def share(self) -> Tensor | None:
        """1 / tau f32[], where it is learned."""
        return None if self.w is None else torch.sigmoid(self.w.to(torch.float32))

    def membranes(self, x: Tensor, steps: PackedSteps) -> Tensor:
        """Membranes f32[sum(counts), ...] after the charge and before the reset, for statistics; remembers nothing."""
        return torch.cat(list(self.membranes_by_step(x, steps)))

    @torch.no_grad()
    def membranes_by_step(self, x: Tensor, steps: PackedSteps, every: int = 1) -> Iterator[Tensor]:
        """`membranes` of one step after the other, of every `every`-th sample: all would take the layer's memory."""
        v, share = steps.recall(self), self.share()
        v = None if v is None else v[::every]
        for step in [x] * len(steps.counts) if steps.is_static(x) else x.split(steps.counts):
            chosen = step[::every].to(torch.float32)
            trace = trace_neurons(chosen, [len(chosen)], self.rule, share, v)
            v = trace.last
            yield trace.membranes

    def extra_repr(self) -> str:
        return f"{self.rule}, backend={self.backend!r}"


def find_kernels(backend: str, device: torch.device) -> ModuleType | None:
    """The kernels of `backend` on `device`; None for the reference. `ConfigError` for one that has none there."""
    if backend == "reference":
        return None
    if backend in ("auto", "fused") and device.type == "cpu":
        return neuron_cpu
    if backend == "fused":
        raise ConfigError(f"neuron backend fused: input on {device}; use compiled or auto")
    if backend == "auto" and device.type != "cuda":
        return None
    reason = neuron_gpu.why_not(device, tell=backend == "auto")
    if reason is None:
        return neuron_gpu
    if backend == "compiled":
        raise ConfigError(f"neuron backend compiled: {reason}; auto takes what there is")
    return None


class LeakyMembrane(StepModule):
    """Neurons that integrate and never fire: v += (x - v) * decay, from 0."""

    resumable = True

    def __init__(self, decay: float) -> None:
        super().__init__()
        self.decay = decay

    def forward(self, x: Tensor, steps: PackedSteps) -> Tensor:
        """Currents [sum(counts), N] to membranes f32 of the same shape."""
        x = x.to(torch.float32)
        v = steps.recall(self)

        def advance(current: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
            v = v + (current - v) * self.decay
            return v, v

        membranes, last = steps.scan(x, torch.zeros_like(x[: steps.counts[0]]) if v is None else v, advance)
        steps.keep(self, last)
        return membranes

    def extra_repr(self) -> str:
        return f"decay={self.decay}"
