import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from difflogic_tonic.config.architectures import read_architecture
from difflogic_tonic.nets.initial import seeded
from difflogic_tonic.nets.spiking.dropout import SequenceDropout
from difflogic_tonic.nets.spiking.heads import Head
from difflogic_tonic.nets.spiking.inputs import Inputs
from difflogic_tonic.nets.spiking.layers import Vote
from difflogic_tonic.nets.spiking.model import SpikingModel
from difflogic_tonic.nets.spiking.neurons import Neuron
from difflogic_tonic.nets.spiking.recurrence import SynapseFilter
from difflogic_tonic.nets.spiking.rule import NeuronRule
from difflogic_tonic.nets.spiking.steps import pack_steps
from difflogic_tonic.nets.spiking.string_network import string_network

FRAME = (2, 8, 7)
SMALL = "6C3-BN-MP2-DP0.3-5C2-FC4"


def make_net(
    architecture: str = SMALL, seed: int = 0, readout: str = "membrane", backend: str = "auto", dropout: float = 0.0
) -> SpikingModel:
    return make_model(FRAME, 4, architecture, NeuronRule(threshold=0.3), readout, backend, dropout, seed)


def make_model(frame, classes, architecture, rule, readout="membrane", backend="auto", dropout=0.0, seed=0):
    with seeded(seed):
        network = string_network(
            architecture, frame, classes, lambda: Neuron(rule, backend), dropout=dropout, spiking=readout == "rate"
        )
    return SpikingModel(Inputs(), network, Head(readout, rule.decay))


def some_frames(n_steps: int, n_samples: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(n_samples)
    return torch.randint(0, 9, (n_steps, n_samples, *FRAME), generator=generator).float()


def kinds(net: SpikingModel) -> list[str]:
    return [type(layer).__name__ for layer in net.network]


def test_neurons_stand_after_normalisation_and_pooling_and_before_dropout():
    assert kinds(make_net()) == [
        "SpikeConv2d", "BatchNorm2d", "MaxPool2d", "Neuron", "SequenceDropout", "SpikeConv2d", "Neuron", "Flatten",
        "Linear",
    ]  # fmt: skip


def test_dropout_of_the_config_stands_before_the_last_dense_layer():
    assert kinds(make_net("FC9-FC4", dropout=0.2)) == ["Flatten", "Linear", "Neuron", "SequenceDropout", "Linear"]


@pytest.mark.parametrize("readout", ["membrane", "rate"])
@pytest.mark.parametrize("training", [True, False])
def test_padding_changes_nothing(readout, training):
    """Not the logits, not the gradients, not the statistics of the batch normalisation."""
    frames, lengths = some_frames(6, 3), torch.tensor([2, 6, 4])
    for sample, length in enumerate(lengths):
        frames[length:, sample] = 0
    spoiled = torch.cat([frames, torch.full((2, 3, *FRAME), 7.0)])
    for sample, length in enumerate(lengths):
        spoiled[length:, sample] = 7.0
    results = []
    for x in (frames, spoiled):
        net = make_net("6C3-BN-MP2-5C2-FC4", readout=readout).train(training)
        logits = net(x, lengths)
        logits.square().sum().backward()
        results.append([logits, *(p.grad for p in net.parameters()), *net.buffers()])
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


def test_a_sample_has_the_same_logits_alone_and_in_a_batch():
    net = make_net().eval()
    frames, lengths = some_frames(5, 3), torch.tensor([5, 2, 3])
    together = net(frames, lengths)
    for sample, length in enumerate(lengths):
        alone = net(frames[:length, sample : sample + 1])
        assert torch.allclose(together[sample], alone[0], atol=1e-6)


@pytest.mark.parametrize("readout", ["membrane", "rate"])
def test_fused_and_reference_networks_are_equal(readout):
    frames, lengths = some_frames(5, 4), torch.tensor([5, 1, 3, 4])
    results = []
    for backend in ("fused", "reference"):
        net = make_net("6C3-BN-MP2-5C2-FC4", readout=readout, backend=backend)
        logits = net(frames, lengths)
        logits.square().sum().backward()
        results.append((logits.detach(), torch.cat([p.grad.flatten() for p in net.parameters()])))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.allclose(results[0][1], results[1][1], rtol=1e-5, atol=1e-6)


def test_the_membrane_readout_is_the_mean_over_true_steps():
    net = make_model((1, 1, 1), 1, "FC1", NeuronRule(tau=2))
    with torch.no_grad():
        net.network[1].weight.fill_(4 / torch.log(torch.tensor(2.0)))  # a count of one arrives as a current of 4
        net.network[1].bias.fill_(0)
    frames = torch.ones(3, 2, 1, 1, 1)
    # membranes 2, 3, 3.5: mean of the first two, and of all three
    assert net(frames, torch.tensor([2, 3])).flatten().tolist() == pytest.approx([2.5, 8.5 / 3])


def test_the_rate_readout_counts_spikes_per_true_step():
    net = make_model((1, 1, 1), 1, "FC1", NeuronRule(tau=1), "rate")
    with torch.no_grad():
        net.network[1].weight.fill_(2)
        net.network[1].bias.fill_(0)
    frames = torch.tensor([1.0, 0.0, 1.0, 1.0]).view(4, 1, 1, 1, 1)
    assert net(frames, torch.tensor([4])).item() == pytest.approx(10 * 3 / 4)
    assert net(frames, torch.tensor([2])).item() == pytest.approx(10 * 1 / 2)


def test_training_twice_from_one_seed_gives_the_same_bits():
    gradients = []
    for _ in range(2):
        torch.manual_seed(5)
        net = make_net(seed=3)
        net(some_frames(4, 5), torch.tensor([4, 4, 1, 2, 3])).square().sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in net.parameters()]))
    assert torch.equal(*gradients)


def test_a_dropped_unit_is_dropped_in_every_step_of_its_sample():
    steps = pack_steps(4, 2, torch.tensor([4, 3]), torch.device("cpu"))
    torch.manual_seed(0)
    x = SequenceDropout(0.5)(torch.ones(7, 200), steps)
    assert set(x.unique().tolist()) == {0.0, 2.0}
    first, second = x[[0, 2, 4, 6]], x[[1, 3, 5]]
    assert (first == first[0]).all()
    assert (second == second[0]).all()
    assert (first[0] != second[0]).any()


def test_every_layer_learns():
    net = make_net()
    net(some_frames(5, 8)).square().sum().backward()
    assert all(p.grad.abs().max() > 0 for p in net.parameters())
    assert any(isinstance(layer, Neuron) for layer in net.network)
    assert not any(isinstance(layer, nn.ReLU) for layer in net.network)


@pytest.mark.parametrize(
    ("readout", "kinds_at_the_end"), [("rate", ["Linear", "Neuron", "Vote"]), ("membrane", ["Linear", "Vote"])]
)
def test_votes_are_over_what_the_last_dense_layer_gives(readout, kinds_at_the_end):
    net = make_net("FC12-V3", readout=readout)
    assert kinds(net) == ["Flatten", *kinds_at_the_end]
    assert net(some_frames(2, 5)).shape == (5, 4)


def test_a_vote_is_the_mean_of_neighbours():
    assert Vote(3)(torch.tensor([[1.0, 0, 0, 1, 1, 0]])).tolist() == [[pytest.approx(1 / 3), pytest.approx(2 / 3)]]


def test_convolutions_are_padded_and_strided_as_their_tokens_say():
    net = make_net("6C3P1-BN-5C3P1S2-AAP2-FC4")
    first, second = (layer for layer in net.network if isinstance(layer, nn.Conv2d))
    assert (first.padding, first.stride, second.padding, second.stride) == ((1, 1), (1, 1), (1, 1), (2, 2))
    assert net.network[-1].in_features == 5 * 2 * 2
    assert net(some_frames(2, 3)).shape == (3, 4)


def test_recurrences_take_the_neurons_in_and_filters_stand_behind_them():
    net = make_net("6C3-BN-MP2-ER-SF4-FC9-LR-FC7-SF2.5L-FC4")
    assert kinds(net) == [
        "SpikeConv2d", "BatchNorm2d", "MaxPool2d", "SelfConnection", "SynapseFilter", "Flatten", "Linear",
        "LinearRecurrence", "Linear", "Neuron", "SynapseFilter", "Linear",
    ]  # fmt: skip
    assert sum(isinstance(module, Neuron) for module in net.modules()) == 3
    filters = [module for module in net.network if isinstance(module, SynapseFilter)]
    assert [(module.tau, module.w is not None) for module in filters] == [(4.0, False), (2.5, True)]
    net(some_frames(4, 3), torch.tensor([4, 1, 2])).square().sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


def test_a_closed_loop_reads_the_spikes_of_the_step_before():
    """One neuron with tau 1: a spike at the first step comes back as the only input of the others."""
    net = make_model((1, 1, 1), 1, "FC1-ER-FC1", NeuronRule(tau=1))
    for layer in (net.network[1], net.network[3]):
        nn.init.ones_(layer.weight)
        nn.init.zeros_(layer.bias)
    frames = torch.tensor([2.0, 0.0, 0.0]).view(3, 1, 1, 1, 1)
    steps = pack_steps(3, 1, None, frames.device)
    assert net.network(frames.flatten(0, 1), steps).flatten().tolist() == [1, 1, 1]


TOKENS = st.one_of(
    st.builds("{}C{}P{}S{}".format, *(st.integers(1, 4),) * 2, st.integers(0, 2), st.integers(1, 3)),
    st.builds("{}C{}".format, st.integers(1, 4), st.integers(1, 4)),
    st.builds("{}{}".format, st.sampled_from(["MP", "AP", "AAP", "FC", "V"]), st.integers(1, 4)),
    st.sampled_from(["BN", "DP0.5", "ER", "LR", "SF2", "SF1.5L"]),
)


@settings(max_examples=150, deadline=None)
@given(tokens=st.lists(TOKENS, max_size=6), spiking=st.booleans())
def test_what_the_parser_accepts_has_the_shapes_that_it_says(tokens, spiking):
    text = "-".join([*tokens, "FC4"])
    try:
        layers = read_architecture(text, FRAME, 4)
    except ValueError as error:
        assert "token" in str(error)  # noqa: PT017
        return
    network = string_network(text, FRAME, 4, lambda: Neuron(NeuronRule(), "reference"), spiking=spiking).eval()
    made = [module for module in network if not isinstance(module, nn.Flatten | Neuron)]
    assert len(made) == len(layers)
    shapes = []
    for module in made:
        module.register_forward_hook(lambda module, inputs, output: shapes.append(tuple(output.shape[1:])))
    steps = pack_steps(2, 3, torch.tensor([1, 2, 2]), torch.device("cpu"))
    with torch.no_grad():
        assert network(steps.pack(some_frames(2, 3)), steps).shape == (5, 4)
    assert shapes == [layer.output_shape for layer in layers]
