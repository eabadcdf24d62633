"""Convolutional logic trees in plain torch: against a loop over positions, and what they are when discretised."""

import copy
from itertools import product

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from difflogic_tonic.errors import ConfigError
from difflogic_tonic.nets.logic import (
    ConvLogicNetwork,
    LogicConv,
    hard_mode,
    has_hard_mode,
    logic_report,
    set_temperature,
)
from difflogic_tonic.nets.logic.conv import draw_taps
from difflogic_tonic.nets.logic.gates import GATE_NAMES

SHAPE = (3, 7, 10)
SMALL = {"channels": (6, 8), "num_neurons": [60, 40], "num_layers": 2}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def trees(**changes) -> LogicConv:
    return LogicConv(**{"input_shape": SHAPE, "out_channels": 5, "init": "random", "generator": generator()} | changes)


def bits(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=generator(seed)) < 0.4


def one_by_one(layer: LogicConv, x: Tensor) -> Tensor:
    """The layer as its docstring says it, one output at a time."""
    x = F.pad(x, (layer.padding,) * 4)
    coefficients = layer.coefficients().unflatten(0, (layer.out_channels, -1)).tolist()
    (rows, columns), leaves = layer.grid, 2**layer.tree_depth
    values = x.new_zeros(len(x), layer.out_channels, rows, columns)
    for sample, tree, row, column in product(*(range(side) for side in values.shape)):
        slots = [x[sample, c, row + dy, column + dx] for c, dy, dx in layer.taps[tree].tolist()]
        for neuron in range(leaves - 1):
            a, b = slots[2 * neuron], slots[2 * neuron + 1]
            c0, c1, c2, c3 = coefficients[tree][neuron]
            slots.append(c0 + c1 * a + c2 * b + c3 * a * b)
        values[sample, tree, row, column] = slots[-1]
    if not layer.pool:
        return values
    return torch.stack([values[:, :, y::2, x::2] for y in (0, 1) for x in (0, 1)]).amax(0)


@pytest.mark.parametrize("pool", [True, False])
@pytest.mark.parametrize(("tree_depth", "kernel_size", "padding"), [(1, 1, 0), (2, 3, 1), (3, 2, 0), (4, 3, 2)])
def test_a_layer_is_its_trees_at_every_position(tree_depth, kernel_size, padding, pool):
    layer = trees(tree_depth=tree_depth, kernel_size=kernel_size, padding=padding, pool=pool).double()
    x = torch.rand(2, *SHAPE, generator=generator(1)).double()
    expected = one_by_one(layer, x)
    assert expected.shape[1:] == layer.output_shape
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize("kind", [torch.bool, torch.uint8, torch.int64, torch.float64])
def test_whole_numbers_above_zero_are_ones(kind):
    layer = trees()
    x = bits(2, *SHAPE)
    scale = 1 if kind.is_floating_point else 3
    torch.testing.assert_close(layer((x * scale).to(kind)), layer(x.float()))


def test_a_tree_sees_two_channels_evenly_and_no_tap_twice():
    taps = draw_taps(6, 12, 3, 3, 2, generator())
    for tree in taps.tolist():
        channels = [channel for channel, _, _ in tree]
        assert sorted(channels.count(channel) for channel in set(channels)) == [4, 4]
        assert len({tuple(tap) for tap in tree}) == 8
    assert taps[..., 0].flatten().bincount().tolist() == [16] * 6
    assert (taps[..., 1:].amin().item(), taps[..., 1:].amax().item()) == (0, 2)


def test_one_channel_and_more_leaves_than_taps_are_possible():
    taps = draw_taps(1, 3, 4, 2, 2, generator())
    assert taps.shape == (3, 16, 3)
    for tree in taps.tolist():
        assert sorted(map(tuple, tree)) == sorted(4 * [(0, y, x) for y in (0, 1) for x in (0, 1)])


@pytest.mark.parametrize("parametrization", ["raw", "light", "walsh"])
def test_the_residual_start_passes_the_first_leaf_on(parametrization):
    layer = trees(init="residual", parametrization=parametrization, pool=False)
    x = bits(3, *SHAPE)
    with hard_mode(layer):
        passed = layer(x)
    padded = F.pad(x.float(), (1,) * 4)
    for tree, (channel, dy, dx) in enumerate(layer.taps[:, 0].tolist()):
        assert torch.equal(passed[:, tree], padded[:, channel, dy : dy + 7, dx : dx + 10])


@pytest.mark.parametrize("parametrization", ["raw", "light", "walsh"])
@pytest.mark.parametrize("backend", ["eager", "auto"])
def test_hard_outputs_are_exactly_zeros_and_ones(parametrization, backend):
    network = ConvLogicNetwork(
        SHAPE, 5, **SMALL, tau=1.0, init="random", parametrization=parametrization, backend=backend
    )
    assert has_hard_mode(network)
    with torch.no_grad(), hard_mode(network):
        values = network.trees[0](bits(20, *SHAPE))
        logits = network(bits(20, *SHAPE))
    assert set(values.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(logits, logits.round())


def test_temperatures_reach_the_trees():
    network = ConvLogicNetwork(SHAPE, 5, **SMALL, init="random", backend="eager")
    before = network.trees[0].coefficients()
    set_temperature(network, 0.5)
    assert not torch.equal(network.trees[0].coefficients(), before)


def test_weights_and_taps_travel_together():
    network, other = (ConvLogicNetwork(SHAPE, 5, **SMALL, seed=seed) for seed in (0, 1))
    x = bits(4, *SHAPE)
    assert not torch.equal(network(x), other(x))
    other.load_state_dict(network.state_dict())
    assert torch.equal(network(x), other(x))


def test_the_seed_alone_decides_the_start():
    torch.manual_seed(1)
    one = ConvLogicNetwork(SHAPE, 5, **SMALL, init="random", seed=3).state_dict()
    state = torch.get_rng_state()
    same = ConvLogicNetwork(SHAPE, 5, **SMALL, init="random", seed=3).state_dict()
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(one[key], same[key]) for key in one)
    other = ConvLogicNetwork(SHAPE, 5, **SMALL, init="random", seed=4).state_dict()
    assert not torch.equal(one["trees.0.taps"], other["trees.0.taps"])


@pytest.mark.parametrize("estimator", ["soft", "gumbel"])
def test_training_learns_where_a_bar_lies(estimator):
    lying = torch.zeros(32, 1, 8, 6)
    for sample in range(32):
        lying[sample, 0, sample % 8] = 1
    standing = torch.zeros(32, 1, 8, 6)
    for sample in range(32):
        standing[sample, 0, :, sample % 6] = 1
    x, labels = torch.cat((lying, standing)), torch.arange(64) // 32
    network = ConvLogicNetwork(
        (1, 8, 6), 2, channels=(24,), tree_depth=2, num_neurons=200, num_layers=1, tau=2.0, estimator=estimator
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=0.1)
    torch.manual_seed(0)
    first = F.cross_entropy(network(x), labels).item()
    for _ in range(80):
        optimizer.zero_grad()
        F.cross_entropy(network(x), labels).backward()
        optimizer.step()
    network.eval()
    with torch.no_grad(), hard_mode(network):
        accuracy = (network(x).argmax(1) == labels).float().mean()
    assert F.cross_entropy(network(x), labels).item() < first / 2
    assert accuracy > 0.9


def test_reports_count_trained_neurons_and_the_circuit_has_them_at_every_position():
    network = ConvLogicNetwork(SHAPE, 5, **SMALL)
    assert [layer.output_shape for layer in network.trees] == [(6, 3, 5), (8, 1, 2)]
    report = logic_report(network)
    assert [row["gates"] for row in report["layers"]] == [6 * 7, 8 * 7, 60, 40]
    assert [layer.circuit_gates for layer in network.trees] == [6 * (7 * 6 * 10 + 3 * 15), 8 * (7 * 2 * 4 + 3 * 2)]


def test_neurons_that_no_live_neuron_reads_are_unused():
    network = ConvLogicNetwork(SHAPE, 5, **SMALL)
    pass_a = GATE_NAMES.index("A")
    assert logic_report(network)["histogram"]["A"] == 42 + 56 + 100
    rows = logic_report(network)["layers"]
    assert rows[1]["unused"] >= 8 * 4  # of each tree only the three neurons on the way of the first leaf count
    read = set(network.dense.layers[0].wiring[0, network.dense.layers[1].wiring[0].long()].tolist())
    live = {feature // 2 for feature in read}  # two positions to a channel
    assert rows[1]["unused"] == 8 * 7 - 3 * len(live)
    with torch.no_grad():
        network.dense.layers[0].weight[:, pass_a] = -9
        network.dense.layers[0].weight[:, GATE_NAMES.index("TRUE")] = 9
    rows = logic_report(network)["layers"]
    assert [row["unused"] for row in rows[:2]] == [42, 56]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": (1,)}, "1 trees that see 2 channels each leave some of 3 unread; at least 2 see them all"),
        ({"channels": (6, 8, 8, 8)}, "images of 1x2 are too small for kernel_size 3, padding 1 and a 2x2 pooling"),
        ({"channels": ()}, "at least one layer"),
        ({"tree_depth": 5}, "tree_depth 5: trees have a depth of 1 to 4"),
        ({"padding": 3}, "padding from 0|padding 3 from 0 to kernel_size - 1"),
        ({"num_neurons": 5, "num_layers": 1}, "5 neurons have 10 inputs"),
    ],
)
def test_sizes_that_cannot_work_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        ConvLogicNetwork(SHAPE, 5, **SMALL | changes)


def test_taps_of_another_network_are_refused():
    layer = copy.deepcopy(trees())
    layer.taps[2, 1, 0] = 3
    with pytest.raises(ConfigError, match="where there are"):
        layer.check_inputs()
