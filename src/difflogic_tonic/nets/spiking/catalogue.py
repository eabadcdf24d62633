"""From the name of a spiking network, or a network string, to the network."""

from difflogic_tonic.config.catalogue import NETWORKS, ConvFC, Dense, ResNet, stem_for
from difflogic_tonic.nets.initial import seeded
from difflogic_tonic.nets.spiking.conv_fc import ConvFCNet
from difflogic_tonic.nets.spiking.dense import DenseNet
from difflogic_tonic.nets.spiking.layers import NewNeuron
from difflogic_tonic.nets.spiking.resnet import SpikingResNet
from difflogic_tonic.nets.spiking.stepwise import StepModule
from difflogic_tonic.nets.spiking.string_network import string_network


def build_network(
    architecture: str,
    frame_shape: tuple[int, int, int],
    classes: int,
    neuron: NewNeuron,
    *,
    spiking: bool,
    dropout: float | None = None,
    channels: int | None = None,
    stem: str | None = None,
    connect: str = "ADD",
    seed: int,
) -> StepModule:
    """A network that turns packed steps of frames [channels, height, width] into outputs [sum(counts), classes].

    `architecture`: a name of the catalogue or a network string. `neuron` makes a new layer of neurons. `spiking`:
    whether the outputs are spikes (of votes: shares of spikes), or the currents of the last dense layer. The others are
    for some networks only: None is what the network has by itself. Raises `ValueError` for sizes that do not fit.
    """
    facts = NETWORKS.get(architecture)
    with seeded(seed):
        match facts:
            case ConvFC():
                return ConvFCNet(
                    facts, frame_shape, classes, neuron, channels=channels, dropout=dropout, spiking=spiking
                )
            case ResNet():
                return SpikingResNet(
                    facts,
                    frame_shape[0],
                    classes,
                    neuron,
                    channels=channels,
                    stem=stem or stem_for(frame_shape),
                    connect=connect,
                    spiking=spiking,
                )
            case Dense():
                return DenseNet(facts, frame_shape, classes, neuron, spiking=spiking)
            case None:
                return string_network(
                    architecture, frame_shape, classes, neuron, dropout=dropout or 0.0, spiking=spiking
                )
