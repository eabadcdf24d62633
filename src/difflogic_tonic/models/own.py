"""Networks of one's own, by `module:function`.

`model.snn.architecture` names the layers of a spiking network. The function is called as
`function(frame_shape, classes, neuron)` with (channels, height, width) and a function that makes a layer of the neurons
of the config. It returns a `StepModule`, or an `nn.Sequential` of layers and neurons, that turns frames [sum(counts),
channels, height, width] into outputs [sum(counts), classes].

`model.model_type` names a whole model, of any library. The function is called as `function(frame_shape, classes)` and
returns an `nn.Module`, which is called with samples as `data.view` has them: frames f32[B, channels, height, width] or
stacks of them; sequences f32[T, B, channels, height, width] and the true number of steps of each, i64[B]. Values are
counts, those of images 0 to 255. It returns class scores [B, classes].
"""

import inspect

import torch
from torch import Tensor, nn

from difflogic_tonic.config.own_code import load_own_function, takes
from difflogic_tonic.data import View
from difflogic_tonic.errors import ConfigError
from difflogic_tonic.nets.initial import seeded
from difflogic_tonic.nets.spiking.layers import NewNeuron
from difflogic_tonic.nets.spiking.steps import pack_steps
from difflogic_tonic.nets.spiking.stepwise import StepModule, StepSequential

KEY = "model.snn.architecture"
MODEL_KEY = "model.model_type"


def own_network(name: str, frame_shape: tuple[int, int, int], classes: int, neuron: NewNeuron, seed: int) -> StepModule:
    """What the function `name` makes, its weights drawn from `seed`. Raises `ConfigError` for anything that is none.

    What the function raises itself is not caught.
    """
    function = load_own_function(KEY, name, "frame_shape", "classes", "neuron")
    with seeded(seed):
        network = function(frame_shape, classes, neuron)
        if isinstance(network, nn.Sequential) and not isinstance(network, StepModule):
            network = StepSequential(*network)
        if not isinstance(network, StepModule):
            raise ConfigError(
                f"{KEY}: {name} returned {type(network).__name__}; expected an nn.Sequential of layers and neurons, "
                "or a StepModule"
            )
        output = _one_frame(network, frame_shape)
    _check_tensor(f"{KEY}: {name} makes of one frame", output, (1, classes))
    if output.shape != (1, classes):
        raise ConfigError(
            f"{KEY}: {name} makes outputs {list(output.shape)} of one frame; "
            f"expected [1, {classes}], a score for each class"
        )
    return network


class OwnModel(nn.Module):
    """What the function `name` makes, its weights drawn from `seed`. Raises `ConfigError` if that is no module.

    What the function or the module raise themselves is not caught.
    """

    def __init__(self, name: str, frame_shape: tuple[int, int, int], classes: int, seed: int, view: View) -> None:
        super().__init__()
        self.name = name
        self.classes = classes
        self.view = view
        function = load_own_function(MODEL_KEY, name, "frame_shape", "classes")
        with seeded(seed):
            network = function(frame_shape, classes)
            if not isinstance(network, nn.Module):
                raise ConfigError(f"{MODEL_KEY}: {name} returned {type(network).__name__}; expected a torch.nn.Module")
            self.network = network
            self._check_call()
            self._try(frame_shape)

    def _check_call(self) -> None:
        given = ("samples", "lengths") if self.view == "sequence" else ("samples",)
        if not takes(self.network.forward, len(given)):
            raise ConfigError(
                f"{MODEL_KEY}: {self.name} returned {type(self.network).__name__}, whose forward is "
                f"{inspect.signature(self.network.forward)}; with data.view: {self.view} it is called with "
                f"({', '.join(given)})"
            )

    @torch.no_grad()
    def _try(self, frame_shape: tuple[int, int, int]) -> None:
        """One sample, so that a wrong shape is known at once, and lazy layers learn their sizes."""
        self.eval()
        self(torch.zeros(*(1,) * (2 if self.view == "sequence" else 1), *frame_shape))
        self.train()

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Samples to scores [B, classes]. Raises `ConfigError` for scores of another shape."""
        sequence = self.view == "sequence"
        if sequence and lengths is None:
            lengths = torch.full((x.shape[1],), x.shape[0], device=x.device)
        scores: Tensor = self.network(x, lengths) if sequence else self.network(x)
        expected = (x.shape[int(sequence)], self.classes)
        _check_tensor(f"{MODEL_KEY}: {self.name} returns", scores, expected)
        if tuple(scores.shape) != expected:
            raise ConfigError(
                f"{MODEL_KEY}: {self.name} returns scores {list(scores.shape)} for samples {list(x.shape)}; "
                f"expected {list(expected)}, one score for each sample and class"
            )
        return scores


def _check_tensor(what: str, found: object, expected: tuple[int, ...]) -> None:
    if not isinstance(found, Tensor):
        raise ConfigError(f"{what} {type(found).__name__}; expected a tensor {list(expected)}")


@torch.no_grad()
def _one_frame(network: StepModule, frame_shape: tuple[int, int, int]) -> Tensor:
    """What comes out for one frame. Lazy layers learn their sizes here."""
    network.eval()
    frame = torch.zeros(1, *frame_shape)
    output = network(frame, pack_steps(1, 1, None, frame.device))
    network.train()
    return output
