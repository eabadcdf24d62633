"""Layers over packed steps: those that know of time, those that do not, and both in a row."""

from torch import Tensor, nn

from difflogic_tonic.nets.spiking.steps import PackedSteps


class StepModule(nn.Module):
    """A module called as `module(x, steps)`, x packed steps [sum(counts), ...]; all others are called with x alone."""


class StepSequential(StepModule, nn.Sequential):
    """`nn.Sequential` over packed steps, of modules with and without knowledge of time."""

    def forward(self, x: Tensor, steps: PackedSteps) -> Tensor:  # type: ignore[override]
        """[sum(counts), ...] to [sum(counts), ...]."""
        for module in self:
            x = module(x, steps) if isinstance(module, StepModule) else module(x)
        return x
