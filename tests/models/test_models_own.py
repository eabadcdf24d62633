"""A spiking network of one's own."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from difflogic_tonic.config import TrainConfig
from difflogic_tonic.config.networks import Model
from difflogic_tonic.data import View
from difflogic_tonic.errors import ConfigError
from difflogic_tonic.models import build, describe
from difflogic_tonic.models.own import own_network
from difflogic_tonic.nets.spiking.neurons import Neuron
from difflogic_tonic.nets.spiking.rule import NeuronRule
from difflogic_tonic.nets.spiking.stepwise import StepSequential

SHAPE = (2, 3, 4)
CLASSES = 5
SOURCE = """
from torch import nn

def plain(frame_shape, classes, neuron):
    channels, height, width = frame_shape
    return nn.Sequential(
        nn.Conv2d(channels, 6, 3, padding=1), neuron(), nn.Flatten(), nn.Linear(6 * height * width, classes)
    )

def lazy(frame_shape, classes, neuron):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(7), neuron(), nn.LazyLinear(classes))

def one_short(frame_shape, classes, neuron):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(classes - 1))

def a_layer(frame_shape, classes, neuron):
    return nn.Linear(2, 2)

class Two(nn.Module):
    def forward(self, x):
        return x, x

def two(frame_shape, classes, neuron):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(classes), Two())
"""


@pytest.fixture(autouse=True)
def module(own_module: Callable[[str, str], Path]) -> None:
    """A module `my_networks` that can be imported."""
    own_module("my_networks", SOURCE)


def own(function: str, seed: int = 1):
    return own_network(f"my_networks:{function}", SHAPE, CLASSES, lambda: Neuron(NeuronRule(tau=3.0)), seed)


def test_layers_and_neurons_in_a_row_become_a_network():
    network = own("plain")
    assert isinstance(network, StepSequential)
    assert network[1].rule.tau == 3.0
    assert network.training


@pytest.mark.parametrize("function", ["plain", "lazy"])
def test_its_weights_depend_on_the_seed_alone(function: str):
    torch.manual_seed(3)
    first = own(function)
    torch.manual_seed(4)
    before = torch.get_rng_state()
    second, other = own(function), own(function, seed=2)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not torch.equal(next(first.parameters()), next(other.parameters()))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("one_short", r"my_networks:one_short makes outputs \[1, 4\] of one frame; expected \[1, 5\]"),
        ("a_layer", r"my_networks:a_layer returned Linear; expected an nn\.Sequential"),
        ("two", r"my_networks:two makes of one frame tuple; expected a tensor \[1, 5\]"),
        ("missing", r"my_networks\.py has no function missing"),
    ],
)
def test_what_it_must_return(function: str, message: str):
    with pytest.raises(ConfigError, match=rf"model\.snn\.architecture: .*{message}"):
        own(function)


def test_a_config_names_it_and_every_other_key_counts():
    model = Model.model_validate(
        {"model_type": "SNN", "snn": {"architecture": "my_networks:plain", "tau": 4.0, "readout": "current"}}
    )
    built = build(model, SHAPE, CLASSES, seed=1)
    assert built.network[1].rule.tau == 4.0
    assert built(torch.ones(3, 2, *SHAPE), torch.tensor([3, 2])).shape == (2, CLASSES)


MODELS = """
from torch import nn

def flat(frame_shape, classes):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(classes))

class OverTime(nn.Module):
    def __init__(self, features, classes):
        super().__init__()
        self.dense = nn.Linear(features, classes)

    def forward(self, x, lengths):
        return self.dense(x.flatten(2)).sum(0) / lengths.unsqueeze(1)

def over_time(frame_shape, classes):
    channels, height, width = frame_shape
    return OverTime(channels * height * width, classes)

def one_short(frame_shape, classes):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(classes - 1))

def a_number(frame_shape, classes):
    return 3

class Two(nn.Module):
    def forward(self, x):
        return x, x

def two(frame_shape, classes):
    return Two()
"""


@pytest.fixture
def whole_models(own_module: Callable[[str, str], Path]) -> None:
    own_module("my_models", MODELS)


def whole(function: str, view: View | None = None):
    return build(Model.model_validate({"model_type": f"my_models:{function}"}), SHAPE, CLASSES, 1, view)


def test_a_whole_model_of_one_s_own_sees_frames(whole_models: None):
    model = whole("flat")
    assert (model.view, model(torch.ones(3, *SHAPE)).shape, model.training) == ("frames", (3, CLASSES), True)
    assert describe(model, SHAPE) == {"parameters": 24 * CLASSES + CLASSES, "macs": 24 * CLASSES}
    assert torch.equal(model.network[1].weight, whole("flat").network[1].weight)


def test_or_sequences_with_their_lengths(whole_models: None):
    model = whole("over_time", "sequence")
    frames = torch.ones(2, 3, *SHAPE)
    frames[1, 1:] = 0
    scores = model(frames, torch.tensor([2, 1, 1]))
    torch.testing.assert_close(scores[1] - scores[2], torch.zeros(CLASSES))
    assert describe(model, SHAPE)["macs"] == 24 * CLASSES


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("one_short", r"my_models:one_short returns scores \[1, 4\] for samples \[1, 2, 3, 4\]; expected \[1, 5\]"),
        ("two", r"my_models:two returns tuple; expected a tensor \[1, 5\]"),
        ("a_number", r"my_models:a_number returned int; expected a torch\.nn\.Module"),
    ],
)
def test_what_a_whole_model_must_be(function: str, message: str, whole_models: None):
    with pytest.raises(ConfigError, match=rf"model\.model_type: {message}"):
        whole(function)


@pytest.mark.parametrize(
    ("function", "view", "message"),
    [
        ("two", "sequence", r"Two, whose forward is \(x\); .* sequence it is called with \(samples, lengths\)"),
        ("over_time", "frames", r"OverTime, whose forward is \(x, lengths\); .* frames it is called with \(samples\)"),
    ],
)
def test_a_whole_model_must_take_what_its_view_gives(function: str, view: View, message: str, whole_models: None):
    with pytest.raises(ConfigError, match=rf"model\.model_type: my_models:{function} returned {message}"):
        whole(function, view)


def test_any_view_fits_a_whole_model():
    for view in ("frames", "sequence"):
        config = TrainConfig.model_validate({"data": {"view": view}, "model": {"model_type": "my_models:flat"}})
        assert config.view == view
    assert config.training.rate == 1e-3
