"""`model_type` → builder.

Every model can be called as `model(expand(batch), batch.lengths)`, returns logits f32[B, classes], and says in `.view`
what its samples are. `calling.logits` hands it a batch in the form that it takes fastest.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

from torch import nn

from difflogic_tonic.config.networks import Model
from difflogic_tonic.config.own_code import is_own_code
from difflogic_tonic.config.spiking import step_shape
from difflogic_tonic.data import View
from difflogic_tonic.errors import ConfigError
from difflogic_tonic.models.encoding import BinaryFrames, FrameShape, build_encoder
from difflogic_tonic.models.own import OwnModel, own_network
from difflogic_tonic.nets.cnn import ConvNet
from difflogic_tonic.nets.logic import ConvLogicNetwork, LogicNetwork, RecurrentLogicNetwork
from difflogic_tonic.nets.mlp import Perceptron
from difflogic_tonic.nets.spiking.catalogue import build_network
from difflogic_tonic.nets.spiking.heads import Head
from difflogic_tonic.nets.spiking.inputs import Inputs
from difflogic_tonic.nets.spiking.model import SpikingModel
from difflogic_tonic.nets.spiking.neurons import Neuron
from difflogic_tonic.nets.spiking.rule import NeuronRule


def build_difflogic(model: Model, frame_shape: FrameShape, classes: int, seed: int) -> nn.Module:
    logic = model.difflogic
    common: dict[str, Any] = {
        "num_neurons": logic.num_neurons,
        "num_layers": logic.num_layers,
        "tau": logic.tau,
        "seed": seed,
        "init": None if logic.init == "auto" else logic.init,
        "wiring": logic.wiring,
        "parametrization": logic.parametrization,
        "estimator": logic.estimator,
        "backend": logic.backend,
    }
    encoder = build_encoder(logic, prod(frame_shape))
    channels, rows, columns = frame_shape
    planes = (channels * logic.levels, rows, columns)
    if logic.architecture == "conv":
        common["wiring_candidates"] = logic.wiring_candidates
        trees = ConvLogicNetwork(planes, classes, **logic.conv.model_dump(), **common)
        return BinaryFrames(trees, encoder, planes)
    if logic.architecture == "recurrent":
        state, readout = logic.recurrent.state, logic.recurrent.readout
        steps = RecurrentLogicNetwork(prod(planes), state, classes=classes, readout=readout, **common)
        return BinaryFrames(steps, encoder, sequence=True)
    dense = LogicNetwork(
        prod(planes),
        classes=classes,
        input_shape=planes,
        wiring_candidates=logic.wiring_candidates,
        storage=logic.storage,
        **common,
    )
    return BinaryFrames(dense, encoder)


def build_cnn(model: Model, frame_shape: FrameShape, classes: int, seed: int) -> nn.Module:
    return ConvNet(frame_shape, classes, model.cnn.hidden, model.cnn.dropout, seed=seed)


def build_mlp(model: Model, frame_shape: FrameShape, classes: int, seed: int) -> nn.Module:
    return Perceptron(frame_shape, classes, model.mlp.hidden, model.mlp.dropout, seed=seed)


def build_snn(model: Model, frame_shape: FrameShape, classes: int, seed: int) -> nn.Module:
    snn = model.snn
    rule = NeuronRule(
        tau=snn.tau,
        threshold=snn.threshold,
        reset=snn.reset,
        detach_reset=snn.detach_reset,
        surrogate=snn.surrogate,
        alpha=snn.surrogate_alpha,
        kind=snn.neuron,
        decay_input=snn.decay_input,
    )
    given = step_shape(snn, frame_shape), classes, lambda: Neuron(rule, snn.backend)
    if is_own_code(snn.architecture):
        network = own_network(snn.architecture, *given, seed)
    else:
        network = build_network(
            snn.architecture,
            *given,
            spiking=snn.readout == "rate",
            dropout=snn.dropout,
            channels=snn.channels,
            stem=snn.stem,
            connect=snn.connect,
            seed=seed,
        )
    inputs = Inputs(snn.steps, snn.encoding, snn.delta_level)
    return SpikingModel(inputs, network, Head(snn.readout, rule.decay))


@dataclass(frozen=True)
class Entry:
    builder: Callable[[Model, FrameShape, int, int], nn.Module]
    view: View


TABLE = {
    "DiffLogic": Entry(build_difflogic, "frames"),
    "CNN": Entry(build_cnn, "frames"),
    "MLP": Entry(build_mlp, "frames"),
    "SNN": Entry(build_snn, "sequence"),
}


def default_view(model_type: str, architecture: str = "dense") -> View:
    """What a sample of this model is: a frame, or a sequence of frames. `architecture`: that of a logic network."""
    if is_own_code(model_type):
        return "frames"
    return "sequence" if (model_type, architecture) == ("DiffLogic", "recurrent") else TABLE[model_type].view


def build(model: Model, frame_shape: FrameShape, classes: int, seed: int, view: View | None = None) -> nn.Module:
    """The network that `model` (the section of the config) describes, for samples of [channels, height, width].

    Weights depend on the arguments only; global random state is neither used nor changed. `model.weights` is not read
    here. `view`: that of the samples where it is not the default one. Raises `ConfigError` for sizes that do not fit
    together.
    """
    if model.is_own:
        return OwnModel(model.model_type, frame_shape, classes, seed, view or default_view(model.model_type))
    entry = TABLE[model.model_type]
    try:
        network = entry.builder(model, frame_shape, classes, seed)
    except ValueError as error:
        raise ConfigError(f"model.{model.model_type.lower()}: {error}") from None
    network.view = view or default_view(model.model_type, model.difflogic.architecture)  # type: ignore[assignment]
    return network
