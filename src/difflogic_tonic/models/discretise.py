"""From a trained logic network to the circuit that it becomes."""

from typing import Any

from torch import nn

from difflogic_tonic.errors import ConfigError
from difflogic_tonic.netlist import Netlist, count, netlist_from_layers, simplify
from difflogic_tonic.nets.logic import LogicLayer, LogicNetwork


def to_netlist(model: nn.Module) -> Netlist:
    """The most likely gate of each neuron of the one `LogicNetwork` in `model`, neuron for neuron, not simplified.

    Input i of the netlist is feature i of the network: whatever makes a frame binary stays outside. On such inputs
    class scores divided by tau are the logits of `hard_mode`. ConfigError where `model` holds no logic network.
    """
    networks = [module for module in model.modules() if isinstance(module, LogicNetwork)]
    if len(networks) != 1:
        raise ConfigError(
            f"{type(model).__name__} holds {len(networks)} logic networks, expected one;"
            " only model.model_type DiffLogic becomes a netlist"
        )
    network = networks[0]
    layers = [layer for layer in network.layers if isinstance(layer, LogicLayer)]
    columns = ((layer.gates().cpu().numpy(), *layer.wiring.cpu().numpy()) for layer in layers)
    return netlist_from_layers(network.in_features, columns, network.head.classes, network.head.tau)


def netlist_report(model: nn.Module) -> dict[str, Any]:
    """Counts of the discretised network, `before` and `after` simplification, as plain JSON data."""
    netlist = to_netlist(model)
    return {"before": count(netlist).to_dict(), "after": count(simplify(netlist)).to_dict()}
