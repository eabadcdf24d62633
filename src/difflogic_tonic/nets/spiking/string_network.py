"""Spiking networks over sequences of frames, built from a string such as `12C5-MP2-64C5-MP2-FC10`.

A layer with weights feeds spiking neurons. The neurons come after the normalisation and pooling that follow the weights
(pooling currents first leaves a quarter of the neurons to compute), and before dropout. The last dense layer is read
out without spikes (`membrane`) or by its firing rate (`rate`).
"""

from math import prod

import torch
from torch import Tensor, nn

from difflogic_tonic.nets.initial import compress_counts, seeded
from difflogic_tonic.nets.spiking.architecture import Layer, read_architecture
from difflogic_tonic.nets.spiking.dropout import SequenceDropout
from difflogic_tonic.nets.spiking.neurons import Neuron, leaky_membrane
from difflogic_tonic.nets.spiking.rule import NeuronRule
from difflogic_tonic.nets.spiking.steps import pack_steps
from difflogic_tonic.nets.spiking.stepwise import StepSequential

_RATE_GAIN = 10.0
"""Rates lie in [0, 1]; as logits they could not express a probability above 0.23 among ten classes."""


class SpikingNet(nn.Module):
    """A spiking network; padded steps have no influence on anything.

    `dropout` acts before the last dense layer, in addition to what the architecture says. Readout `membrane`: mean over
    a sample's steps of a leaky membrane without threshold; `rate`: ten times the firing rate. Raises `ValueError` for
    an architecture that does not fit, naming the token, and for constants outside their ranges.
    """

    def __init__(
        self,
        frame_shape: tuple[int, int, int],
        classes: int,
        architecture: str,
        rule: NeuronRule,
        readout: str = "membrane",
        dropout: float = 0.0,
        backend: str = "auto",
        *,
        seed: int,
    ) -> None:
        super().__init__()
        if readout not in ("membrane", "rate"):
            raise ValueError(f"readout {readout!r}: expected membrane or rate")
        layers = read_architecture(architecture, frame_shape, classes)
        self.readout = readout
        self.rule = rule
        with seeded(seed):
            self.layers = StepSequential(*_modules(layers, rule, dropout, backend))
        self.output = Neuron(rule, backend) if readout == "rate" else None

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Counts [T, B, P, H, W] and the number of true steps of each sample i64[B] to logits f32[B, classes]."""
        steps = pack_steps(x.shape[0], x.shape[1], lengths, x.device)
        x = self.layers(compress_counts(steps.pack(x)), steps)
        n_steps = x.new_ones(len(x), 1, dtype=torch.float32)
        if self.output is None:
            return steps.sum(leaky_membrane(x, steps, self.rule.decay)) / steps.sum(n_steps)
        return _RATE_GAIN * steps.sum(self.output(x, steps).to(torch.float32)) / steps.sum(n_steps)


def _modules(layers: list[Layer], rule: NeuronRule, dropout: float, backend: str) -> list[nn.Module]:
    modules: list[nn.Module] = []
    waiting = False  # weights whose neurons have not been placed yet
    for index, layer in enumerate(layers):
        if waiting and (layer.has_weights or layer.kind == "dropout"):
            modules.append(Neuron(rule, backend))
            waiting = False
        if layer.kind == "dense" and len(layer.input_shape) > 1:
            modules.append(nn.Flatten())
        if index == len(layers) - 1 and dropout > 0:
            modules.append(SequenceDropout(dropout))
        modules.append(_module(layer))
        waiting = waiting or layer.has_weights
    return modules


def _module(layer: Layer) -> nn.Module:
    match layer.kind:
        case "conv":
            return _loud(nn.Conv2d(layer.input_shape[0], layer.output_shape[0], layer.size))
        case "dense":
            return _loud(nn.Linear(prod(layer.input_shape), layer.output_shape[0]))
        case "max_pool":
            return nn.MaxPool2d(layer.size)
        case "average_pool":
            return nn.AvgPool2d(layer.size)
        case "norm":
            image = len(layer.input_shape) == 3
            return nn.BatchNorm2d(layer.input_shape[0]) if image else nn.BatchNorm1d(layer.input_shape[0])
        case "dropout":
            return SequenceDropout(layer.probability)


def _loud(layer: nn.Conv2d | nn.Linear) -> nn.Module:
    """Weights of variance 2 / inputs (He et al. 2015), biases zero.

    torch's own start is 2.4 times smaller: fewer neurons reach their threshold, and the layers behind them learn late.
    """
    nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer
