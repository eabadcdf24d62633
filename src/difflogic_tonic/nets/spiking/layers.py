"""What the networks of this room share besides neurons."""

from collections.abc import Callable

from torch import Tensor, nn

from difflogic_tonic.nets.spiking.stepwise import StepModule

NewNeuron = Callable[[], StepModule]
"""Makes the neurons of one layer; those with parameters have their own in every layer."""


class Vote(nn.Module):
    """[..., classes * size] to [..., classes]: the mean of each `size` neighbours; no parameters."""

    timeless = True

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """The share of its neurons that fired, where `x` are spikes."""
        return x.unflatten(-1, (-1, self.size)).mean(-1)

    def extra_repr(self) -> str:
        return f"size={self.size}"
