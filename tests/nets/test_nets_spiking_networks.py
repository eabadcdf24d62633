"""What holds for every named network: padding, still images, memory and recomputation change nothing."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from difflogic_tonic.config.catalogue import NETWORKS
from difflogic_tonic.nets.spiking.catalogue import build_network
from difflogic_tonic.nets.spiking.layers import Vote
from difflogic_tonic.nets.spiking.neurons import Neuron
from difflogic_tonic.nets.spiking.recompute import Recompute
from difflogic_tonic.nets.spiking.rule import NeuronRule
from difflogic_tonic.nets.spiking.steps import Memory, pack_steps

FRAME = (2, 9, 10)
CLASSES = 3
SMALL = {
    "csnn": {"channels": 4},
    "plif_nmnist": {"channels": 4, "dropout": 0.0},
    "spiking_resnet18": {"channels": 3},
    "spiking_resnet50": {"channels": 2},
    "sew_resnet18": {"channels": 3, "connect": "IAND"},
    "sew_resnet50": {"channels": 2, "connect": "ADD"},
    "plain_net": {},
    "synapse_net": {},
    "feedback_net": {},
}


def build(name: str, spiking: bool = False, kind: str = "plif") -> nn.Module:
    """Currents out: spikes would hide small differences."""
    rule = NeuronRule(kind=kind, tau=1.5, threshold=0.5)
    network = build_network(
        name, FRAME, CLASSES, lambda: Neuron(rule, "reference"), spiking=spiking, seed=3, **SMALL[name]
    )
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.constant_(module.bias, 0.3)  # so that also the last layers spike, but not always
        elif isinstance(module, nn.Linear):
            module.weight.data.mul_(4)
    return network


def some_frames(n_steps: int, n_samples: int) -> Tensor:
    return torch.rand(n_steps, n_samples, *FRAME, generator=torch.Generator().manual_seed(1)) * 3


def gradients(network: nn.Module, output: Tensor) -> Tensor:
    network.zero_grad()
    output.square().sum().backward()
    return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])


@pytest.mark.parametrize("name", SMALL)
def test_a_sample_comes_out_the_same_alone_and_among_longer_ones(name):
    network = build(name).eval()
    frames, lengths = some_frames(4, 3), [2, 4, 1]
    steps = pack_steps(4, 3, torch.tensor(lengths), frames.device)
    with torch.no_grad():
        together = steps.sum(network(steps.pack(frames), steps))
        for sample, length in enumerate(lengths):
            alone = frames[:length, sample]
            expected = network(alone, pack_steps(length, 1, None, frames.device)).sum(0)
            torch.testing.assert_close(together[sample], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SMALL)
def test_an_image_given_once_is_an_image_given_at_every_step(name):
    image = some_frames(1, 4)[0]
    steps = pack_steps(3, 4, None, image.device)
    found = []
    for x in (image, steps.repeat(image)):
        network = build(name).train()
        output = network(x, steps)
        found.append([output, gradients(network, output), *network.buffers()])
    for once, repeated in zip(*found, strict=True):
        assert (once - repeated).abs().max() <= 1e-4 * repeated.abs().max()


@pytest.mark.parametrize("name", SMALL)
def test_steps_that_come_in_two_calls_are_those_of_one(name):
    network = build(name).eval()
    frames = some_frames(4, 2)
    with torch.no_grad():
        expected = network(frames.flatten(0, 1), pack_steps(4, 2, None, frames.device))
        memory = Memory()
        calls = [network(part.flatten(0, 1), pack_steps(2, 2, None, part.device, memory)) for part in frames.split(2)]
    torch.testing.assert_close(torch.cat(calls), expected, rtol=1e-4, atol=1e-5)
    assert expected.std(0).max() > 1e-2


@pytest.mark.parametrize("name", SMALL)
def test_what_is_computed_again_is_what_was_computed(name):
    frames = some_frames(3, 4)
    steps = pack_steps(3, 4, None, frames.device)
    found = []
    for given in (steps, replace(steps, recompute=Recompute())):
        network = build(name).train()
        output = network(frames.flatten(0, 1), given)
        found.append([output, gradients(network, output), *network.buffers()])
    for kept, again in zip(*found, strict=True):
        torch.testing.assert_close(kept, again, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_name_makes_a_network_for_its_classes(name):
    rule = NeuronRule(kind="if")
    frame = (2, 64, 64)
    with torch.device("meta"):
        network = build_network(name, frame, CLASSES, lambda: Neuron(rule), spiking=True, channels=2, seed=0)
    last = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    votes = [module.size for module in network.modules() if isinstance(module, Vote)]
    assert last.out_features == CLASSES * (votes or [1])[0]


def test_channels_dropout_and_stem_are_those_that_are_asked_for():
    csnn = build("csnn")
    assert csnn.conv_fc[4].out_channels == 4
    assert csnn.conv_fc[9].out_features == 16 * 4
    neuron = lambda: Neuron(NeuronRule())  # noqa: E731
    voting = build_network("plif_nmnist", FRAME, CLASSES, neuron, spiking=True, channels=2, seed=0)
    assert [module.probability for module in voting.conv_fc if hasattr(module, "probability")] == [0.5, 0.5]
    small, large = (
        build_network("spiking_resnet18", (2, side, side), 3, neuron, spiking=False, channels=2, seed=0)
        for side in (63, 64)
    )
    assert small.conv1.kernel_size == (3, 3)
    assert large.conv1.kernel_size == (7, 7)


def test_neurons_end_a_network_whose_rates_are_read():
    for name in SMALL:
        ending = [module for module in build(name, spiking=True).modules() if isinstance(module, Neuron | nn.Linear)]
        assert isinstance(ending[-1], Neuron), name
        ending = [module for module in build(name, spiking=False).modules() if isinstance(module, Neuron | nn.Linear)]
        assert isinstance(ending[-1], nn.Linear), name


def test_two_networks_of_one_seed_are_the_same_and_draw_nothing_from_the_state_of_torch():
    before = torch.random.get_rng_state()
    first, second = build("sew_resnet18").state_dict(), build("sew_resnet18").state_dict()
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(first[key], second[key]) for key in first)
