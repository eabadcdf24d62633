"""From a trained logic network to the circuit that it becomes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import nn

from difflogic_tonic.errors import ConfigError
from difflogic_tonic.models.encoding import BinaryFrames, FrameShape
from difflogic_tonic.netlist import (
    Circuit,
    InputCode,
    Netlist,
    TreeLayer,
    count,
    netlist_from_layers,
    netlist_from_trees,
    simplify,
)
from difflogic_tonic.nets.logic import ConvLogicNetwork, LogicConv, LogicLayer, LogicNetwork, RecurrentLogicNetwork


def to_netlist(model: nn.Module) -> Netlist:
    """The most likely gate of each neuron of the one `LogicNetwork` in `model`, neuron for neuron, not simplified.

    Input i of the netlist is feature i of the network: whatever makes a frame binary stays outside. On such inputs
    class scores divided by tau are the logits of `hard_mode`. Of a recurrent network it is the circuit of one frame,
    whose last inputs are the state; of a convolutional one a tree has gates of its own at every position. ConfigError
    where `model` holds no logic network.
    """
    networks = [module for module in model.modules() if isinstance(module, LogicNetwork)]
    if len(networks) != 1:
        raise ConfigError(
            f"{type(model).__name__} holds {len(networks)} logic networks, expected one;"
            " only model.model_type DiffLogic becomes a netlist"
        )
    network = networks[0]
    for module in model.modules():
        if isinstance(module, ConvLogicNetwork):
            return _trees_to_netlist(module)
    recurrent = [module for module in model.modules() if isinstance(module, RecurrentLogicNetwork)]
    head, n_state = (recurrent[0].head, recurrent[0].state) if recurrent else (network.head, 0)
    return netlist_from_layers(network.in_features, _dense_columns(network), head.classes, head.tau, n_state)


def to_circuit(model: nn.Module, frame_shape: FrameShape, class_names: Sequence[str]) -> Circuit:
    """`to_netlist` of a `BinaryFrames` with its thresholds, for frames of [channels, rows, columns].

    ConfigError where `model` is no logic network.
    """
    netlist = to_netlist(model)
    assert isinstance(model, BinaryFrames), type(model)
    thresholds = np.ones((1, 1)) if model.encoder is None else model.encoder.thresholds.cpu().numpy()
    readout = model.network.readout if isinstance(model.network, RecurrentLogicNetwork) else "frame"
    return Circuit(netlist, InputCode(frame_shape, thresholds), tuple(class_names), readout)


def _dense_columns(network: LogicNetwork) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    layers = [layer for layer in network.layers if isinstance(layer, LogicLayer)]
    return [(layer.gates().cpu().numpy(), *layer.wiring.cpu().numpy()) for layer in layers]


def _trees_to_netlist(network: ConvLogicNetwork) -> Netlist:
    layers = [layer for layer in network.trees if isinstance(layer, LogicConv)]
    trees = (
        TreeLayer(
            gates=layer.gates().cpu().numpy().reshape(layer.out_channels, -1),
            taps=layer.taps.cpu().numpy(),
            grid=layer.grid,
            padding=layer.padding,
            pool=layer.pool,
        )
        for layer in layers
    )
    head = network.dense.head
    return netlist_from_trees(network.input_shape, trees, _dense_columns(network.dense), head.classes, head.tau)


def netlist_report(model: nn.Module) -> dict[str, Any]:
    """Counts of the discretised network, `before` and `after` simplification, as plain JSON data."""
    netlist = to_netlist(model)
    return {"before": count(netlist).to_dict(), "after": count(simplify(netlist)).to_dict()}
