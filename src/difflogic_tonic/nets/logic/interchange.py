"""States of logic networks in the form of other libraries: difflogic 0.1 and torchlogix 0.2.

Ours is that of a `LogicNetwork`: layers.I.weight float[n, 16] and layers.I.wiring int32[2, n], I from 0. All three
number the sixteen gates alike. tau is in no state; it has to be carried over by hand.

In the file of a trained model, `torch.load("models/JOB/best.pt")["model"]`, and so in one for `model.weights`, the keys
start with `network.`: such a state can be given as it is, and `prefix="network."` makes one.

| library    | weights   | wiring                     | note                                                          |
|------------|-----------|----------------------------|---------------------------------------------------------------|
| difflogic  | I.weights | not saved: `layer.indices` | I counts all modules of the Sequential, it may start at 1     |
| torchlogix | I.weight  | I.connections.indices      | the same; only parametrization raw with two inputs per gate   |
"""

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from difflogic_tonic.errors import ConfigError

State = dict[str, Tensor]


def from_difflogic(state: Mapping[str, Tensor], indices: Sequence[tuple[Tensor, Tensor]], prefix: str = "") -> State:
    """State for `LogicNetwork.load_state_dict`. `indices`: `layer.indices` of each LogicLayer, in order.

    difflogic does not save them, and another draw of them predicts something else: they have to come from the model.
    """
    weights = _in_order(state, "weights")
    if len(indices) != len(weights):
        raise ConfigError(f"difflogic state with {len(weights)} logic layers, but the indices of {len(indices)}")
    return _our_state(weights, [torch.stack((a, b)) for a, b in indices], prefix)


def to_difflogic(state: Mapping[str, Tensor], first: int = 0) -> tuple[State, list[tuple[Tensor, Tensor]]]:
    """State for a Sequential whose module number `first` is the first LogicLayer, and `indices` for each of them."""
    weights, wirings = _split(state)
    named = {f"{first + layer}.weights": weight for layer, weight in enumerate(weights)}
    return named, [(wiring[0].long(), wiring[1].long()) for wiring in wirings]


def from_torchlogix(state: Mapping[str, Tensor], prefix: str = "") -> State:
    """State for `LogicNetwork.load_state_dict` from that of a Sequential of raw LogicDense layers."""
    return _our_state(_in_order(state, "weight"), _in_order(state, "connections.indices"), prefix)


def to_torchlogix(state: Mapping[str, Tensor], first: int = 0) -> State:
    """State for a Sequential whose module number `first` is the first LogicDense."""
    named: State = {}
    for layer, (weight, wiring) in enumerate(zip(*_split(state), strict=True)):
        named[f"{first + layer}.weight"] = weight
        named[f"{first + layer}.connections.indices"] = wiring.long()
    return named


def sizes_of(state: Mapping[str, Tensor]) -> tuple[int, list[int]]:
    """What a `LogicNetwork` for our `state` needs: at least this many in_features, and the widths of its layers."""
    weights, wirings = _split(state)
    return int(wirings[0].max()) + 1, [weight.shape[0] for weight in weights]


def _split(state: Mapping[str, Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    state = {key.removeprefix("network."): tensor for key, tensor in state.items()}
    if any(key.endswith(".candidates") for key in state):
        raise ConfigError("learnable wiring has no form in other libraries; freeze_wiring makes a plain network of it")
    weights = _in_order(state, "weight", "layers.")
    if any(weight.shape[1] != 16 for weight in weights):
        raise ConfigError("only networks with parametrization raw have a form in other libraries")
    return weights, _in_order(state, "wiring", "layers.")


def _in_order(state: Mapping[str, Tensor], name: str, prefix: str = "") -> list[Tensor]:
    """Tensors under PREFIX NUMBER . NAME, by number."""
    pattern = re.compile(rf"{re.escape(prefix)}(\d+)\.{re.escape(name)}")
    found = {int(match[1]): tensor for key, tensor in state.items() if (match := pattern.fullmatch(key))}
    if not found:
        raise ConfigError(f"no {prefix}NUMBER.{name} among the keys {', '.join(list(state)[:6])}")
    return [found[number] for number in sorted(found)]


def _our_state(weights: list[Tensor], wirings: list[Tensor], prefix: str) -> State:
    if len(weights) != len(wirings):
        raise ConfigError(f"{len(weights)} layers have weights, {len(wirings)} have wiring")
    state: State = {}
    for layer, (weight, wiring) in enumerate(zip(weights, wirings, strict=True)):
        n = weight.shape[0]
        if weight.shape != (n, 16) or wiring.shape != (2, n):
            raise ConfigError(
                f"layer {layer}: weights {tuple(weight.shape)} and wiring {tuple(wiring.shape)};"
                " n neurons have [n, 16] and [2, n] in the raw parametrization of two-input gates"
            )
        state[f"{prefix}layers.{layer}.weight"] = weight.float()
        state[f"{prefix}layers.{layer}.wiring"] = wiring.to(torch.int32)
    return state
