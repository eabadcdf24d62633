"""Convolution blocks and two dense layers that all end in neurons: the Fashion-MNIST network, the parametric-LIF ones.

Keys of a state are those of SpikingJelly's networks, `conv_fc.N.…`.
"""

from torch import Tensor, nn

from difflogic_tonic.config.catalogue import ConvFC
from difflogic_tonic.nets.spiking.conv import SpikeConv2d
from difflogic_tonic.nets.spiking.dropout import SequenceDropout
from difflogic_tonic.nets.spiking.layers import NewNeuron, Vote
from difflogic_tonic.nets.spiking.pooling import MaxPool2d
from difflogic_tonic.nets.spiking.steps import PackedSteps
from difflogic_tonic.nets.spiking.stepwise import StepModule, StepSequential


class ConvFCNet(StepModule):
    """The network that `facts` describe, for frames of [channels, height, width].

    `channels` of the convolutions, `dropout` in front of the dense layers: None is what the facts say. `spiking`: the
    last layer ends in neurons, as in the published networks; otherwise its currents are the output. Raises
    `ValueError` for frames that the poolings leave nothing of.
    """

    takes_static = True
    resumable = True

    def __init__(
        self,
        facts: ConvFC,
        frame_shape: tuple[int, int, int],
        classes: int,
        neuron: NewNeuron,
        *,
        channels: int | None = None,
        dropout: float | None = None,
        spiking: bool = True,
    ) -> None:
        super().__init__()
        facts.check_frames(frame_shape)
        channels = channels or facts.channels
        probability = facts.dropout if dropout is None else dropout
        hidden = facts.hidden_per_channel * channels or facts.hidden
        arriving, height, width = frame_shape
        modules: list[nn.Module] = []
        for convolutions in facts.blocks:
            for _ in range(convolutions):
                convolution = SpikeConv2d(arriving, channels, 3, padding=1, bias=False)
                modules += [convolution, nn.BatchNorm2d(channels), neuron()]
                arriving = channels
            modules.append(MaxPool2d(2))
            height, width = height // 2, width // 2
        modules.append(nn.Flatten())
        for inputs, outputs in ((channels * height * width, hidden), (hidden, classes * facts.votes)):
            if facts.dropout:  # a module without weights: that it is there decides the keys of those behind it
                modules.append(SequenceDropout(probability))
            modules += [nn.Linear(inputs, outputs, facts.bias), neuron()]
        if not spiking:
            modules.pop()
        if facts.votes > 1:
            modules.append(Vote(facts.votes))
        self.conv_fc = StepSequential(*modules)

    def forward(self, x: Tensor, steps: PackedSteps) -> Tensor:
        """Frames [sum(counts), P, H, W] to spikes, or currents, [sum(counts), classes]."""
        out: Tensor = self.conv_fc(x, steps)
        return out
