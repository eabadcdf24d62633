"""Spiking networks built from a string such as `12C5-MP2-64C5-MP2-FC10`.

A layer with weights feeds spiking neurons. The neurons come after the normalisation and pooling that follow the weights
(pooling currents first leaves a quarter of the neurons to compute), and before dropout. The last dense layer is read
out without spikes (`membrane`) or by its firing rate (`rate`).
"""

from math import prod

from torch import nn

from difflogic_tonic.config.architectures import Layer, read_architecture
from difflogic_tonic.nets.spiking.conv import SpikeConv2d
from difflogic_tonic.nets.spiking.dropout import SequenceDropout
from difflogic_tonic.nets.spiking.layers import NewNeuron, Vote
from difflogic_tonic.nets.spiking.pooling import MaxPool2d
from difflogic_tonic.nets.spiking.recurrence import LinearRecurrence, SelfConnection, SynapseFilter
from difflogic_tonic.nets.spiking.stepwise import StepSequential


def string_network(
    architecture: str,
    frame_shape: tuple[int, int, int],
    classes: int,
    neuron: NewNeuron,
    *,
    dropout: float = 0.0,
    spiking: bool = False,
) -> StepSequential:
    """The network for frames of [channels, height, width]: packed steps of frames to outputs [sum(counts), classes].

    `neuron` makes a new layer of neurons. `dropout` acts before the last dense layer, in addition to what the
    architecture says. `spiking`: that layer has neurons too. Raises `ValueError` for an architecture that does not
    fit, naming the token.
    """
    layers = read_architecture(architecture, frame_shape, classes)
    last = max(index for index, layer in enumerate(layers) if layer.kind == "dense")
    modules: list[nn.Module] = []
    waiting = False  # weights whose neurons have not been placed yet
    for index, layer in enumerate(layers):
        if waiting and layer.reads_spikes and (spiking or layer.kind != "vote"):
            modules.append(neuron())
            waiting = False
        if layer.kind == "dense" and len(layer.input_shape) > 1:
            modules.append(nn.Flatten())
        if index == last and dropout > 0:
            modules.append(SequenceDropout(dropout))
        modules.append(_module(layer, neuron))
        waiting = layer.has_weights or (waiting and not layer.holds_neurons)
    if waiting and spiking:
        modules.append(neuron())
    return StepSequential(*modules)


def _module(layer: Layer, neuron: NewNeuron) -> nn.Module:
    match layer.kind:
        case "conv":
            inputs, outputs = layer.input_shape[0], layer.output_shape[0]
            return _loud(SpikeConv2d(inputs, outputs, layer.size, layer.stride, layer.padding))
        case "dense":
            return _loud(nn.Linear(prod(layer.input_shape), layer.output_shape[0]))
        case "max_pool":
            return MaxPool2d(layer.size)
        case "average_pool":
            return nn.AvgPool2d(layer.size)
        case "adaptive_pool":
            return nn.AdaptiveAvgPool2d(layer.size)
        case "norm":
            image = len(layer.input_shape) == 3
            return nn.BatchNorm2d(layer.input_shape[0]) if image else nn.BatchNorm1d(layer.input_shape[0])
        case "dropout":
            return SequenceDropout(layer.probability)
        case "vote":
            return Vote(layer.size)
        case "self_connection":
            return SelfConnection(neuron())
        case "linear_recurrence":
            neurons = layer.input_shape[0]
            return LinearRecurrence(neuron(), neurons, neurons)
        case "synapse":
            return SynapseFilter(layer.tau, layer.learnable)


def _loud(layer: nn.Conv2d | nn.Linear) -> nn.Module:
    """Weights of variance 2 / inputs (He et al. 2015), biases zero.

    torch's own start is 2.4 times smaller: fewer neurons reach their threshold, and the layers behind them learn late.
    """
    nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer
