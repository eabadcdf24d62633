"""What a trained logic network is made of, after discretisation."""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from difflogic_tonic.nets.logic.gates import GATE_NAMES, USES_A, USES_B
from difflogic_tonic.nets.logic.layer import LogicLayer
from difflogic_tonic.nets.logic.network import LogicNetwork


def logic_report(model: nn.Module) -> dict[str, Any]:
    """Gate statistics of all logic layers in `model`, as plain JSON data.

    `gates`: number of neurons. `unused`: those whose output cannot reach the head, because every reader is itself
    unused, a constant, or a gate of its other input only. `histogram`: gate name to count. `layers`: the same, each.
    """
    layers = [module for module in model.modules() if isinstance(module, LogicLayer)]
    live: dict[int, Tensor] = {}
    for network in model.modules():
        if isinstance(network, LogicNetwork):
            live.update(_live_neurons(network))
    rows = [_layer_row(layer, live.get(id(layer))) for layer in layers]
    return {
        "gates": sum(row["gates"] for row in rows),
        "unused": sum(row["unused"] for row in rows),
        "histogram": {name: sum(row["histogram"][name] for row in rows) for name in GATE_NAMES},
        "layers": rows,
    }


def _layer_row(layer: LogicLayer, live: Tensor | None) -> dict[str, Any]:
    counts = torch.bincount(layer.gates(), minlength=16).tolist()
    return {
        "gates": layer.out_features,
        "unused": 0 if live is None else int((~live).sum()),
        "histogram": dict(zip(GATE_NAMES, counts, strict=True)),
    }


def _live_neurons(network: LogicNetwork) -> dict[int, Tensor]:
    """id(layer) -> bool[n]: whether the output of each neuron can change the head."""
    layers: list[LogicLayer] = [layer for layer in network.layers if isinstance(layer, LogicLayer)]
    live = torch.ones(layers[-1].out_features, dtype=torch.bool)
    result = {id(layers[-1]): live}
    for before, after in reversed(list(pairwise(layers))):
        gates, wiring = after.gates().cpu(), after.wiring.cpu().long()
        reads_a = torch.tensor(USES_A)[gates] & live
        reads_b = torch.tensor(USES_B)[gates] & live
        live = torch.zeros(before.out_features, dtype=torch.bool)
        live[wiring[0][reads_a]] = True
        live[wiring[1][reads_b]] = True
        result[id(before)] = live
    return result
