"""A spiking network of one's own, by `model.snn.architecture: module:function`.

It is called as `function(frame_shape, classes, neuron)` with (channels, height, width) and a function that makes a
layer of the neurons of the config. It returns a `StepModule`, or an `nn.Sequential` of layers and neurons, that turns
frames [sum(counts), channels, height, width] into outputs [sum(counts), classes].
"""

import torch
from torch import nn

from difflogic_tonic.config.own_code import load_own_function
from difflogic_tonic.errors import ConfigError
from difflogic_tonic.nets.initial import seeded
from difflogic_tonic.nets.spiking.layers import NewNeuron
from difflogic_tonic.nets.spiking.steps import pack_steps
from difflogic_tonic.nets.spiking.stepwise import StepModule, StepSequential

KEY = "model.snn.architecture"


def own_network(name: str, frame_shape: tuple[int, int, int], classes: int, neuron: NewNeuron, seed: int) -> StepModule:
    """What the function `name` makes, its weights drawn from `seed`. Raises `ConfigError` for anything that is none.

    What the function raises itself is not caught.
    """
    function = load_own_function(KEY, name)
    with seeded(seed):
        network = function(frame_shape, classes, neuron)
        if isinstance(network, nn.Sequential) and not isinstance(network, StepModule):
            network = StepSequential(*network)
        if not isinstance(network, StepModule):
            raise ConfigError(
                f"{KEY}: {name} returned {type(network).__name__}; expected an nn.Sequential of layers and neurons, "
                "or a StepModule"
            )
        shape = _output_shape(network, frame_shape)
    if shape != (1, classes):
        raise ConfigError(
            f"{KEY}: {name} makes outputs {list(shape)} of one frame; expected [1, {classes}], a score for each class"
        )
    return network


@torch.no_grad()
def _output_shape(network: StepModule, frame_shape: tuple[int, int, int]) -> tuple[int, ...]:
    """What comes out for one frame. Lazy layers learn their sizes here."""
    network.eval()
    frame = torch.zeros(1, *frame_shape)
    output = network(frame, pack_steps(1, 1, None, frame.device))
    network.train()
    return tuple(output.shape)
