import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from difflogic_tonic.errors import ConfigError
from difflogic_tonic.nets.logic import (
    GATE_NAMES,
    GroupSum,
    LogicLayer,
    LogicNetwork,
    hard_mode,
    has_hard_mode,
    logic_report,
    set_temperature,
)
from difflogic_tonic.nets.logic.wiring import WIRINGS, Place


def bits(batch: int, features: int, seed: int = 0) -> torch.Tensor:
    return (torch.rand(batch, features, generator=torch.Generator().manual_seed(seed)) < 0.4).float()


def pure_gate(layer: LogicLayer, neuron: int, gate: str, a: int, b: int) -> None:
    with torch.no_grad():
        layer.weight[neuron] = 0
        layer.weight[neuron, GATE_NAMES.index(gate)] = 50
        layer.wiring[:, neuron] = torch.tensor([a, b])


@pytest.mark.parametrize("wiring", WIRINGS)
@given(data=st.data())
def test_every_input_is_connected_where_there_are_enough_neurons(wiring, data):
    in_features = data.draw(st.integers(4, 60))
    neurons = data.draw(st.integers((in_features + 1) // 2, min(4 * in_features, in_features * (in_features - 1) // 2)))
    layer = data.draw(st.integers(0, 2))
    place = Place(in_features, neurons, layer, 3, classes=1)
    drawn = WIRINGS[wiring](place, torch.Generator().manual_seed(data.draw(st.integers(0, 99))))
    assert drawn.shape == (2, neurons)
    assert drawn.dtype == torch.int32
    assert sorted(set(drawn.flatten().tolist())) == list(range(in_features))


@given(in_features=st.integers(4, 40), share=st.floats(0, 1), seed=st.integers(0, 99))
def test_unique_wiring_has_no_pair_twice_and_no_neuron_with_one_input(in_features, share, seed):
    low, high = (in_features + 1) // 2, in_features * (in_features - 1) // 2
    neurons = low + int(share * (high - low))
    wiring = WIRINGS["unique"](Place(in_features, neurons), torch.Generator().manual_seed(seed))
    assert bool((wiring[0] != wiring[1]).all())
    assert len({frozenset(pair) for pair in wiring.t().tolist()}) == neurons


@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(3, 7)),
    extra=st.integers(0, 30),
    seed=st.integers(0, 9),
)
def test_structured_wiring_starts_with_pairs_of_near_pixels(shape, extra, seed):
    channels, rows, columns = shape
    features = channels * rows * columns
    wiring = WIRINGS["structured"](
        Place(features, features + extra, 0, 3, input_shape=shape), torch.Generator().manual_seed(seed)
    ).long()
    (ya, xa), (yb, xb) = ((feature % (rows * columns) // columns, feature % columns) for feature in wiring)
    near = ((ya - yb).abs() <= 2) & ((xa - xb).abs() <= 2)
    wraps = (ya == rows - 1) & (xa == columns - 1) | (xa == columns - 1)  # the next pixel of a row's last is elsewhere
    assert bool((near | wraps).all())
    assert bool((wiring[0] != wiring[1]).all())


def test_structured_wiring_goes_on_with_neurons_at_growing_distance():
    def distances(layer: int) -> set[int]:
        place = Place(256, 256, layer, 4, classes=4)
        a, b = WIRINGS["structured"](place, torch.Generator().manual_seed(0)).long()
        return set(((b - a) % 256).tolist())

    assert [distances(layer) for layer in (1, 2, 3)] == [{4, 252}, {16, 240}, {64, 192}]


@pytest.mark.parametrize("place", [Place(12, 12, 3, 4, classes=3), Place(12, 12, 0, 1, 3, input_shape=(1, 3, 4))])
def test_structured_wiring_hands_each_class_an_even_sample_of_positions(place):
    a, _ = WIRINGS["structured"](place, torch.Generator())
    assert a.reshape(3, 4).tolist() == [[0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8, 11]]


def test_unique_wiring_refuses_more_neurons_than_pairs():
    with pytest.raises(ConfigError, match="6 pairs, too few for 7 neurons"):
        LogicNetwork(4, 7, 1, 1, wiring="unique")


def test_the_network_computes_the_gates_it_is_made_of():
    network = LogicNetwork(3, [2, 2], 2, 2, tau=1.0)
    first, second = network.layers
    pure_gate(first, 0, "XOR", 0, 1)
    pure_gate(first, 1, "A_AND_NOT_B", 2, 0)
    pure_gate(second, 0, "NOT_A", 0, 1)
    pure_gate(second, 1, "OR", 0, 1)
    x = torch.tensor([[a, b, c] for a in (0.0, 1.0) for b in (0.0, 1.0) for c in (0.0, 1.0)])
    with hard_mode(network):
        outputs = network(x)
    expected = []
    for a, b, c in x.int().tolist():
        h0, h1 = a ^ b, c & (1 - a)
        expected.append([1 - h0, h0 | h1])
    assert outputs.tolist() == expected
    torch.testing.assert_close(network(x), outputs, atol=1e-5, rtol=0)


def test_group_sum_adds_neighbouring_rows_and_divides_by_tau():
    x = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0], [1.0, 0.0]])  # 4 rows, batch 2
    assert GroupSum(2, 4.0)(x).tolist() == [[0.5, 0.25], [0.25, 0.0]]


def test_a_neuron_with_one_input_twice_gets_both_parts_of_the_gradient():
    layer = LogicLayer(1, torch.zeros(2, 1, dtype=torch.int32), generator=torch.Generator().manual_seed(0)).double()
    x = torch.tensor([[0.3, 0.8]], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(layer(x).sum(), x)
    _, c1, c2, c3 = layer.coefficients()[0]  # output is c0 + (c1 + c2) x + c3 x^2
    torch.testing.assert_close(gradient, c1 + c2 + 2 * c3 * x)


def test_hard_mode_on_bits_gives_counts_and_leaves_the_network_as_it_was():
    network = LogicNetwork(11, 33, 3, 3, tau=1.0).eval()
    x = bits(7, 11)
    soft = network(x)
    with hard_mode(network):
        hard = network(x)
        with hard_mode(network):
            pass
        assert torch.equal(network(x), hard)
        assert not hard.requires_grad
    assert torch.equal(hard, hard.round())
    assert torch.equal(network(x), soft)
    assert not torch.equal(soft, hard)


def test_hard_mode_ends_with_an_error_inside():
    network = LogicNetwork(4, 4, 1, 2)
    with pytest.raises(KeyError), hard_mode(network):
        raise KeyError
    assert not network.layers[0].hard


def test_only_models_with_logic_layers_have_a_hard_mode():
    assert has_hard_mode(nn.Sequential(nn.Flatten(), LogicNetwork(4, 4, 1, 2)))
    assert not has_hard_mode(nn.Linear(2, 2))


@pytest.mark.parametrize("wiring", WIRINGS)
@pytest.mark.parametrize("parametrization", ["raw", "light", "walsh"])
def test_a_state_dict_predicts_the_same_under_another_seed(wiring, parametrization):
    kinds = {"wiring": wiring, "parametrization": parametrization}
    one, other = (LogicNetwork(13, 18, 2, 3, seed=seed, **kinds) for seed in (1, 2))
    x = bits(9, 13)
    assert not torch.equal(one(x), other(x))
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(x), other(x))


def test_the_start_depends_on_the_seed_only_and_leaves_the_global_generator_alone():
    torch.manual_seed(1)
    state = torch.get_rng_state()
    one = LogicNetwork(13, 18, 2, 3, seed=5).state_dict()
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    other = LogicNetwork(13, 18, 2, 3, seed=5).state_dict()
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_integer_and_bool_inputs_are_one_above_zero():
    network = LogicNetwork(11, 12, 2, 3)
    x = bits(5, 11)
    counts = (x * 7).to(torch.uint8)
    assert torch.equal(network(counts), network(x))
    assert torch.equal(network(x.bool()), network(x))


def test_autocast_does_not_change_the_result():
    network = LogicNetwork(11, 12, 2, 3)
    x = bits(5, 11)
    with torch.autocast("cpu", torch.bfloat16):
        inside = network(x)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, network(x))


def test_deep_networks_start_as_pass_through():
    shallow, deep = LogicNetwork(8, 8, 6, 2), LogicNetwork(8, 8, 7, 2)
    assert logic_report(deep)["histogram"]["A"] == 56
    assert logic_report(shallow)["histogram"]["A"] < 30


def test_the_estimator_only_acts_in_training():
    network = LogicNetwork(11, 12, 2, 3, estimator="gumbel")
    x = bits(5, 11)
    assert not torch.equal(network(x), network(x))
    network.eval()
    assert torch.equal(network(x), network(x))
    soft = LogicNetwork(11, 12, 2, 3)
    assert torch.equal(network(x), soft(x))


def test_a_lower_temperature_moves_the_outputs_towards_the_hard_ones():
    network = LogicNetwork(11, 30, 3, 3, tau=1.0)
    x = bits(20, 11)
    with hard_mode(network):
        hard = network(x)
    gaps = []
    for temperature in (1.0, 0.3, 0.01):
        set_temperature(network, temperature)
        gaps.append((network(x) - hard).abs().mean().item())
    assert gaps[0] > gaps[1] > gaps[2]
    with pytest.raises(ConfigError, match="above 0"):
        set_temperature(network, 0.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((2312, 1000, 4, 10), "at least 1156"),
        ((100, 4001, 2, 10), "4000 or 4010"),
        ((10, 7, 2, 10), "10 does"),
        ((10, 10, 0, 10), "at least one layer"),
        ((10, [8, 10], 3, 10), "lists 2 widths for num_layers 3"),
    ],
)
def test_sizes_that_cannot_work_are_refused_with_sizes_that_can(arguments, message):
    with pytest.raises(ConfigError, match=message):
        LogicNetwork(*arguments)


@pytest.mark.parametrize("key", ["backend", "parametrization", "estimator", "init", "wiring"])
def test_an_unknown_choice_is_refused_with_the_choices(key):
    with pytest.raises(ConfigError, match=f"{key}: 'nonsense' is none of "):
        LogicNetwork(8, 8, 1, 2, **{key: "nonsense"})


def test_the_report_counts_gates_and_those_that_nothing_reads():
    network = LogicNetwork(3, [3, 2], 2, 2, tau=1.0)
    first, second = network.layers
    for neuron, gate in enumerate(("XOR", "AND", "OR")):
        pure_gate(first, neuron, gate, 0, 1)
    pure_gate(second, 0, "A", 0, 1)  # reads neuron 0 only
    pure_gate(second, 1, "NAND", 0, 2)  # reads 0 and 2: nothing reads 1
    report = logic_report(nn.Sequential(network))
    assert report["gates"] == 5
    assert report["unused"] == 1
    assert [row["unused"] for row in report["layers"]] == [1, 0]
    assert {name: count for name, count in report["histogram"].items() if count} == {
        "XOR": 1,
        "AND": 1,
        "OR": 1,
        "A": 1,
        "NAND": 1,
    }
