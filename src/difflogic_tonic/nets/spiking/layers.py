"""What the networks of this room share besides neurons."""

from collections.abc import Callable, Iterable

from torch import Tensor, nn

from difflogic_tonic.nets.spiking.steps import PackedSteps
from difflogic_tonic.nets.spiking.stepwise import StepModule

NewNeuron = Callable[[], StepModule]
"""Makes the neurons of one layer; those with parameters have their own in every layer."""


class Vote(nn.Module):
    """[..., classes * size] to [..., classes]: the mean of each `size` neighbours; no parameters."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """The share of its neurons that fired, where `x` are spikes."""
        return x.unflatten(-1, (-1, self.size)).mean(-1)

    def extra_repr(self) -> str:
        return f"size={self.size}"


def in_order(modules: Iterable[nn.Module], x: Tensor, steps: PackedSteps) -> Tensor:
    """`x` through `modules`, of which some know of time."""
    for module in modules:
        x = module(x, steps) if isinstance(module, StepModule) else module(x)
    return x
