"""States of spiking networks in the form of other libraries: SpikingJelly (0.0.0.0.14 to 2.0.0) and torchvision.

Named networks have the keys and shapes of SpikingJelly's, and ResNets those of torchvision's; a network string has
those of an `nn.Sequential` of the same layers. What remains to be converted is this:

| in the state                               | in the network             | becomes                            |
|--------------------------------------------|----------------------------|------------------------------------|
| keys that all start with `module.`         |                            | the same without it                |
| first convolution of a ResNet, n channels  | another number of channels | its mean, see below                |
| last layer of a ResNet, n classes          | another number of classes  | left out: ours keeps its start     |
| no time constants `….w`                    | parametric neurons         | left out: ours keep their start    |
| no `num_batches_tracked` (torch before 1)  | batch normalisation        | 0                                  |

A first convolution of n channels is averaged over them and scaled by n / channels, so that a frame that is the same in
all channels gives what it gave.

In the file of a trained model, `torch.load("models/JOB/best.pt")["model"]`, the keys start with `network.`.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from difflogic_tonic.errors import ConfigError
from difflogic_tonic.nets.spiking.neurons import Neuron
from difflogic_tonic.nets.spiking.resnet import SpikingResNet

State = dict[str, Tensor]

PREFIX = "network."
_PARALLEL = "module."
_TIME_CONSTANT = "w"
"""Last part of the key of what parametric neurons and synapses learn."""


def from_peer(network: nn.Module, state: Mapping[str, Tensor]) -> tuple[State, list[str]]:
    """`state` of another library for `network.load_state_dict`, and in words what had to be changed.

    What fits nowhere is left as it is, for the one who loads it to name. `ConfigError` for what a key of the config
    makes fit: the stem of a ResNet, and neurons that learn their time constant.
    """
    own = network.state_dict()
    found = dict(state)
    if all(key.startswith(_PARALLEL) for key in found):
        found = {key.removeprefix(_PARALLEL): value for key, value in found.items()}
    neurons = {name for name, module in network.named_modules() if isinstance(module, Neuron)}
    for key in found.keys() - own.keys():
        name, _, last = key.rpartition(".")
        if last == _TIME_CONSTANT and name in neurons:
            raise ConfigError(f"its neurons learn their time constant ({key}); use model.snn.neuron: plif")
    notes = _resnet_ends(own, found) if isinstance(network, SpikingResNet) else []
    constants = [key for key in own if key not in found and key.rpartition(".")[2] == _TIME_CONSTANT]
    if constants:
        found |= {key: own[key] for key in constants}
        notes.append(f"{len(constants)} time constants of neurons are not in it and keep their start")
    found |= {key: torch.zeros_like(own[key]) for key in own if key not in found and key.endswith("batches_tracked")}
    return found, notes


def _resnet_ends(own: State, state: State) -> list[str]:
    """Make the first convolution and the last layer in `state` fit, in place; what was done, in words."""
    notes = []
    first, expected = state.get("conv1.weight"), own["conv1.weight"]
    if first is not None and first.dim() == 4 and first.shape != expected.shape:
        if first.shape[2:] != expected.shape[2:]:
            stem = "imagenet" if first.shape[-1] == 7 else "small"
            raise ConfigError(
                f"its first convolution has {first.shape[2]}×{first.shape[3]} kernels, the network "
                f"{expected.shape[2]}×{expected.shape[3]}; use model.snn.stem: {stem}"
            )
        if first.shape[0] == expected.shape[0]:
            inputs = expected.shape[1]
            state["conv1.weight"] = first.sum(1, keepdim=True).div(inputs).repeat(1, inputs, 1, 1)
            notes.append(
                f"its first convolution is for {first.shape[1]} channels; its mean is used for each of {inputs}"
            )
    last = state.get("fc.weight")
    if last is not None and last.shape[1:] == own["fc.weight"].shape[1:] and len(last) != len(own["fc.weight"]):
        state |= {key: own[key] for key in ("fc.weight", "fc.bias")}
        notes.append(f"its last layer is for {len(last)} classes; that for {len(own['fc.weight'])} keeps its start")
    return notes


def to_spikingjelly(state: Mapping[str, Tensor]) -> State:
    """State for SpikingJelly's network of the same name, from that of one of ours or of a model around it."""
    return {key.removeprefix(PREFIX): value for key, value in state.items()}


def to_torchvision(state: Mapping[str, Tensor]) -> State:
    """State for torchvision's ResNet of the same depth: without the time constants of neurons.

    `ConfigError` for the state of anything but a ResNet. Of a small stem, and of other channels than 3, the first
    convolution there has to be replaced by one of this shape.
    """
    found = to_spikingjelly(state)
    if "layer1.0.conv1.weight" not in found:
        raise ConfigError(f"no ResNet, which has layer1.0.conv1.weight: {', '.join(list(found)[:6])}")
    return {key: value for key, value in found.items() if key.rpartition(".")[2] != _TIME_CONSTANT}
