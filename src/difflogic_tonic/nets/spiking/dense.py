"""Two dense layers of neurons, with a memory between them or without.

Keys of a state are those of SpikingJelly's example of sequential Fashion-MNIST, `fc.N.…`.
"""

from math import prod

from torch import Tensor, nn

from difflogic_tonic.config.catalogue import Dense
from difflogic_tonic.nets.spiking.layers import NewNeuron
from difflogic_tonic.nets.spiking.recurrence import LinearRecurrence, SynapseFilter
from difflogic_tonic.nets.spiking.steps import PackedSteps
from difflogic_tonic.nets.spiking.stepwise import StepModule, StepSequential, in_order


class DenseNet(StepModule):
    """The network that `facts` describe. `spiking`: the last layer has neurons too, as in the example."""

    takes_static = True
    resumable = True

    def __init__(
        self,
        facts: Dense,
        frame_shape: tuple[int, int, int],
        classes: int,
        neuron: NewNeuron,
        *,
        spiking: bool = True,
    ) -> None:
        super().__init__()
        hidden = facts.hidden
        match facts.memory:
            case "none":
                between: list[nn.Module] = [neuron()]
            case "synapse":
                between = [neuron(), SynapseFilter(2.0, learnable=True)]
            case "feedback":
                between = [LinearRecurrence(neuron(), hidden, hidden)]
        self.flatten = nn.Flatten()
        self.fc = StepSequential(
            nn.Linear(prod(frame_shape), hidden), *between, nn.Linear(hidden, classes), *([neuron()] if spiking else [])
        )

    def forward(self, x: Tensor, steps: PackedSteps) -> Tensor:
        """Frames [sum(counts), P, H, W] to spikes, or currents, [sum(counts), classes]."""
        return in_order((self.flatten, self.fc), x, steps)
