"""Layers that hear their own output of the step before, and synapses that remember.

Keys of a state are those of SpikingJelly's ElementWiseRecurrentContainer, LinearRecurrentContainer and SynapseFilter.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from difflogic_tonic.nets.spiking.steps import PackedSteps
from difflogic_tonic.nets.spiking.stepwise import StepModule, call_layer


class _Recurrence(StepModule):
    """A block step by step, fed with its input and with what it said at the step before, which is 0 at the first."""

    resumable = True
    sub_module: nn.Module

    def forward(self, x: Tensor, steps: PackedSteps) -> Tensor:
        """[sum(counts), ...] to what the block makes of it."""
        y = steps.recall(self)
        outputs = []
        for rows, step in steps.in_chunks(1):
            y = self.at_rest(x[rows]) if y is None else y[: step.counts[0]]
            y = call_layer(self.sub_module, self.join(x[rows], y.to(x.dtype)), step)
            step.keep(self, y)
            outputs.append(y)
        return torch.cat(outputs)

    def at_rest(self, x: Tensor) -> Tensor:
        """The output before the first step."""
        raise NotImplementedError

    def join(self, x: Tensor, y: Tensor) -> Tensor:
        """What the block is fed at a step, from its input and its output of the step before."""
        raise NotImplementedError


class SelfConnection(_Recurrence):
    """`block(combine(y, x))`, y being its own output of the step before; input and output have one shape.

    `combine` takes two tensors; the default is their sum.
    """

    def __init__(self, block: nn.Module, combine: Callable[[Tensor, Tensor], Tensor] = torch.add) -> None:
        super().__init__()
        self.sub_module = block
        self.combine = combine

    def at_rest(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)

    def join(self, x: Tensor, y: Tensor) -> Tensor:
        return self.combine(y, x)


class LinearRecurrence(_Recurrence):
    """`block(rc([x, y]))`: a dense layer in front of the block also reads its output of the step before.

    The block turns [.., in_features] into [.., out_features].
    """

    def __init__(self, block: nn.Module, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__()
        self.out_features = out_features
        self.rc = nn.Linear(in_features + out_features, in_features, bias)
        self.sub_module = block

    def at_rest(self, x: Tensor) -> Tensor:
        return x.new_zeros(*x.shape[:-1], self.out_features)

    def join(self, x: Tensor, y: Tensor) -> Tensor:
        joined: Tensor = self.rc(torch.cat((x, y), dim=-1))
        return joined


class SynapseFilter(StepModule):
    """Currents that decay between spikes: i = i - (1 - x) i / tau + x, with i = 0 before the first step.

    `tau` > 1 in steps; where it is learned, as one number for the layer, 1 / tau = sigmoid(w), and this is its start.
    Currents are float32 inside and of the dtype of the input outside. (Diehl and Cook 2015.)
    """

    resumable = True

    def __init__(self, tau: float = 100.0, learnable: bool = False) -> None:
        super().__init__()
        if not tau > 1:
            raise ValueError(f"tau {tau}: expected more than 1 step")
        self.tau = tau
        self.w = nn.Parameter(torch.tensor(-math.log(tau - 1))) if learnable else None

    def forward(self, x: Tensor, steps: PackedSteps) -> Tensor:
        """Spikes [sum(counts), ...] to currents of the same shape."""
        spikes = x.to(torch.float32)
        share = 1 / self.tau if self.w is None else torch.sigmoid(self.w.to(torch.float32))
        current = steps.recall(self)
        if current is None:
            current = torch.zeros_like(spikes[: steps.counts[0]])

        def advance(spike: Tensor, current: Tensor) -> tuple[Tensor, Tensor]:
            current = current - (1.0 - spike) * current * share + spike
            return current, current

        currents, last = steps.scan(spikes, current, advance)
        steps.keep(self, last)
        return currents.to(x.dtype)

    def extra_repr(self) -> str:
        return f"tau={self.tau}, learnable={self.w is not None}"
