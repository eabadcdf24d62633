"""What a trained logic network is made of, after discretisation."""

from typing import Any

import torch
from torch import Tensor, nn

from difflogic_tonic.nets.logic.conv import LogicConv
from difflogic_tonic.nets.logic.conv_network import ConvLogicNetwork
from difflogic_tonic.nets.logic.gates import GATE_NAMES, USES_A, USES_B
from difflogic_tonic.nets.logic.layer import LogicLayer, LogicNeurons
from difflogic_tonic.nets.logic.network import LogicNetwork


def logic_report(model: nn.Module) -> dict[str, Any]:
    """Gate statistics of all logic layers in `model`, as plain JSON data.

    `gates`: number of trained neurons; one of a convolutional tree counts once, not per position. `unused`: those whose
    output cannot reach the head, because every reader is itself unused, a constant, or a gate of its other input only.
    `histogram`: gate name to count. `layers`: the same, each.
    """
    layers = [module for module in model.modules() if isinstance(module, LogicNeurons)]
    live: dict[int, Tensor] = {}
    for network in model.modules():
        if isinstance(network, LogicNetwork):
            live.update(_live_neurons(network)[0])
        elif isinstance(network, ConvLogicNetwork):
            live.update(_live_trees(network))
    rows = [_layer_row(layer, live.get(id(layer))) for layer in layers]
    return {
        "gates": sum(row["gates"] for row in rows),
        "unused": sum(row["unused"] for row in rows),
        "histogram": {name: sum(row["histogram"][name] for row in rows) for name in GATE_NAMES},
        "layers": rows,
    }


def _layer_row(layer: LogicNeurons, live: Tensor | None) -> dict[str, Any]:
    counts = torch.bincount(layer.gates(), minlength=16).tolist()
    return {
        "gates": layer.neurons,
        "unused": 0 if live is None else int((~live).sum()),
        "histogram": dict(zip(GATE_NAMES, counts, strict=True)),
    }


def _live_neurons(network: LogicNetwork) -> tuple[dict[int, Tensor], Tensor]:
    """id(layer) -> bool[n], whether the output of each neuron can change the head; and bool[in_features] likewise."""
    result: dict[int, Tensor] = {}
    layers = [layer for layer in network.layers if isinstance(layer, LogicLayer)]
    live = torch.ones(layers[-1].out_features, dtype=torch.bool)
    for layer in reversed(layers):
        result[id(layer)] = live
        gates, wiring = layer.gates().cpu(), layer.wiring.cpu().long()
        reads_a = torch.tensor(USES_A)[gates] & live
        reads_b = torch.tensor(USES_B)[gates] & live
        live = torch.zeros(layer.in_features, dtype=torch.bool)
        live[wiring[0][reads_a]] = True
        live[wiring[1][reads_b]] = True
    return result, live


def _live_trees(network: ConvLogicNetwork) -> dict[int, Tensor]:
    """id(layer) -> bool[n]: whether the output of each neuron can change the head, at any position."""
    result: dict[int, Tensor] = {}
    layers = [layer for layer in network.trees if isinstance(layer, LogicConv)]
    channels = _live_neurons(network.dense)[1].reshape(*layers[-1].output_shape).any(2).any(1)
    for layer in reversed(layers):
        leaves = 2**layer.tree_depth
        gates = layer.gates().cpu().reshape(layer.out_channels, leaves - 1)
        slots = torch.zeros(layer.out_channels, 2 * leaves - 1, dtype=torch.bool)
        slots[:, -1] = channels
        for neuron in range(leaves - 2, -1, -1):
            live = slots[:, leaves + neuron]
            slots[:, 2 * neuron] = torch.tensor(USES_A)[gates[:, neuron]] & live
            slots[:, 2 * neuron + 1] = torch.tensor(USES_B)[gates[:, neuron]] & live
        result[id(layer)] = slots[:, leaves:].flatten()
        channels = torch.zeros(layer.input_shape[0], dtype=torch.bool)
        channels[layer.taps[..., 0].cpu().long()[slots[:, :leaves]]] = True
    return result
