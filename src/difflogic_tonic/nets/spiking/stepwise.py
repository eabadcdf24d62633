"""Layers over packed steps: those that know of time, those that do not, and both in a row.

Hoist: what is the same in every step, a still image, may come once, [counts[0], ...] (`PackedSteps.is_static`). Layers
that know neither of time nor of chance are then applied once, until neurons make sequences of it. The result is that of
equal frames, statistics of batch normalisation included; hooks on those layers see one frame per sample.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from difflogic_tonic.nets.spiking import chunks, recompute
from difflogic_tonic.nets.spiking.hoist import can_hoist, may_hoist, repeated
from difflogic_tonic.nets.spiking.pooled_conv import joined
from difflogic_tonic.nets.spiking.steps import PackedSteps


class StepModule(nn.Module):
    """A module called as `module(x, steps)`, x packed steps [sum(counts), ...]; all others are called with x alone."""

    takes_static = False
    """Whether x may be static, [counts[0], ...]; `call_layer` spreads it otherwise."""

    resumable = False
    """Whether all that it carries from step to step is in the memory of the steps, or is that of modules within."""


class StepSequential(StepModule, nn.Sequential):
    """`nn.Sequential` over packed steps, of modules with and without knowledge of time."""

    takes_static = True
    resumable = True

    def forward(self, x: Tensor, steps: PackedSteps) -> Tensor:  # type: ignore[override]
        """[sum(counts), ...] to the same; static if x is, and no module knows of time or chance."""
        return in_order(self, x, steps)


def in_order(modules: Iterable[nn.Module], x: Tensor, steps: PackedSteps) -> Tensor:
    """x through `modules`, of which some know of time; recomputed in the backward pass if `steps` say so.

    On the CPU, convolutions and their pooling may see the frames in several calls: `chunks`.
    """
    if steps.recompute is not None and steps.memory is None and torch.is_grad_enabled():
        return recompute.run(modules, x, steps, in_order)
    for row in chunks.rows(joined(modules)):
        size = chunks.size_of(row, x)
        if size < len(x) and not steps.is_static(x):
            x = chunks.through(row, x, size)
        else:
            for module in row:
                x = call_layer(module, x, steps)
    return x


def call_layer(module: nn.Module, x: Tensor, steps: PackedSteps) -> Tensor:
    """x, which may be static, through one module."""
    result: Tensor
    if isinstance(module, StepModule):
        takes = module.takes_static and may_hoist()
        result = module(x if takes else steps.spread(x), steps)
    elif not steps.is_static(x):
        result = module(x)
    elif can_hoist(module, steps):
        with repeated(module, len(steps.counts)):
            result = module(x)
    else:
        result = module(steps.spread(x))
    return result
