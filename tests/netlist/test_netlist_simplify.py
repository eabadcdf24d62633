"""A simplified circuit computes the same outputs, and each rule does what it says on a case made for it."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from difflogic_tonic.netlist import GATE_NAMES, Netlist, count, evaluate, netlist_from_layers, simplify
from difflogic_tonic.netlist.gates import CONSTANTS, IS_REAL
from difflogic_tonic.netlist.simplify import _key

N = {name: number for number, name in enumerate(GATE_NAMES)}


def circuit(n_inputs: int, gates: list[tuple[str, int, int]], outputs: list[int]) -> Netlist:
    names, a, b = zip(*gates, strict=True)
    return Netlist(n_inputs, [N[name] for name in names], a, b, outputs, 1)


def spelled(netlist: Netlist) -> list[tuple[str, int, int]]:
    names = [GATE_NAMES[gate] for gate in netlist.gates]
    return list(zip(names, netlist.a.tolist(), netlist.b.tolist(), strict=True))


@given(st.integers(0, 2**32), st.integers(1, 8), st.integers(0, 150), st.sampled_from([2, 12, 100]))
@settings(max_examples=80, deadline=None)
def test_same_outputs_on_every_input(random_netlist, all_samples, seed, n_inputs, n_gates, reach):
    netlist = random_netlist(seed, n_inputs, n_gates, per_class=8, reach=reach)
    simple = simplify(netlist)
    samples = all_samples(n_inputs)
    assert np.array_equal(evaluate(simple, samples), evaluate(netlist, samples))


@given(st.integers(0, 2**32), st.integers(1, 300), st.integers(1, 3000), st.integers(1, 12))
@settings(max_examples=15, deadline=None)
def test_same_outputs_on_random_inputs(random_netlist, seed, n_inputs, n_gates, classes):
    netlist = random_netlist(seed, n_inputs, n_gates, classes, per_class=20, reach=300)
    simple = simplify(netlist)
    samples = np.random.default_rng(seed).random((256, n_inputs)) < 0.5
    assert np.array_equal(evaluate(simple, samples), evaluate(netlist, samples))
    assert (simple.n_inputs, simple.classes, simple.tau) == (netlist.n_inputs, netlist.classes, netlist.tau)


@given(st.integers(0, 2**32), st.integers(1, 20), st.integers(0, 400))
@settings(max_examples=40, deadline=None)
def test_what_is_left_is_needed_distinct_and_sorted(random_netlist, seed, n_inputs, n_gates):
    simple = simplify(random_netlist(seed, n_inputs, n_gates, per_class=10))
    kinds = ["c" if g in CONSTANTS else "g" if IS_REAL[g] else "i" for g in simple.gates.tolist()]
    assert "".join(kinds) == "c" * kinds.count("c") + "g" * kinds.count("g") + "i" * kinds.count("i")
    counts = count(simple)
    assert (counts.wires, counts.dead) == (0, 0)
    assert counts.constants == len({g for g in simple.gates.tolist() if g in CONSTANTS})
    functions = {(min(g, 15 - g), a, b) for g, a, b in zip(*map(np.ndarray.tolist, columns(simple)), strict=True)}
    assert len(functions) == len(columns(simple)[0])
    assert (columns(simple)[1] < columns(simple)[2]).all()
    first_inverter = simple.n_nodes - counts.inverters
    assert max([0, *simple.a.tolist(), *simple.b.tolist()]) < first_inverter
    assert set(range(first_inverter, simple.n_nodes)) <= set(simple.outputs.tolist())


def columns(netlist: Netlist) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    real = IS_REAL[netlist.gates]
    return netlist.gates[real], netlist.a[real], netlist.b[real]


@given(st.integers(0, 2**32), st.integers(1, 20), st.integers(0, 400))
@settings(max_examples=40, deadline=None)
def test_simplifying_again_changes_nothing(random_netlist, seed, n_inputs, n_gates):
    simple = simplify(random_netlist(seed, n_inputs, n_gates, per_class=10))
    assert simplify(simple).equals(simple)


@given(st.integers(0, 2**32), st.integers(1, 200))
@settings(max_examples=40, deadline=None)
def test_functions_of_two_inputs_are_five_gates_at_most(random_netlist, seed, n_gates):
    # sixteen functions; without constants, inputs and complements five are left
    assert count(simplify(random_netlist(seed, 2, n_gates, per_class=40))).gates <= 5


@given(st.integers(0, 2**32), st.integers(1, 10), st.integers(1, 100))
@settings(max_examples=40, deadline=None)
def test_order_of_gates_in_the_arrays_does_not_matter(random_netlist, seed, n_inputs, n_gates):
    netlist = random_netlist(seed, n_inputs, n_gates, per_class=10)
    rows = np.concatenate(netlist.batches)
    number = np.arange(netlist.n_nodes)
    number[n_inputs + rows] = n_inputs + np.arange(n_gates)
    again = Netlist(
        n_inputs,
        netlist.gates[rows],
        number[netlist.a[rows]],
        number[netlist.b[rows]],
        number[netlist.outputs],
        1,
        netlist.tau,
    )
    assert simplify(again).equals(simplify(netlist))


def test_a_circuit_that_is_minimal_stays():
    netlist = circuit(3, [("AND", 0, 1), ("XOR", 2, 3)], [4])
    assert simplify(netlist).equals(netlist)


@pytest.mark.parametrize(
    ("gates", "outputs", "left"),
    [
        # constants
        ([("TRUE", 0, 0), ("AND", 0, 3)], [4], []),
        ([("FALSE", 0, 0), ("NOR", 0, 3), ("AND", 4, 1)], [5], [("NOT_A_AND_B", 0, 1)]),
        # wires and inverters, also two inverters in a row
        ([("A", 0, 1), ("B", 0, 1), ("OR", 3, 4)], [5], [("OR", 0, 1)]),
        ([("NOT_A", 0, 1), ("NOT_B", 0, 3), ("NOT_A", 1, 2), ("AND", 4, 5)], [6], [("A_AND_NOT_B", 0, 1)]),
        # one input twice
        ([("XNOR", 1, 1), ("AND", 3, 2), ("OR", 4, 4), ("XOR", 5, 0)], [6], [("XOR", 0, 2)]),
        # equal gates: exchanged inputs, complemented inputs, complemented output
        ([("AND", 0, 1), ("AND", 1, 0)], [3, 4], [("AND", 0, 1)]),
        ([("A_AND_NOT_B", 0, 1), ("NOT_B", 0, 1), ("AND", 4, 0)], [3, 5], [("A_AND_NOT_B", 0, 1)]),
        ([("XOR", 0, 1), ("XNOR", 1, 0), ("AND", 3, 2), ("A_AND_NOT_B", 2, 4)], [5, 6],
         [("XOR", 0, 1), ("AND", 2, 3)]),
        # a gate that is equal to one of an earlier level once a wire is gone
        ([("AND", 0, 1), ("A", 0, 1), ("AND", 4, 1)], [3, 5], [("AND", 0, 1)]),
        # reconvergence: absorption, cancelling, two gates of the same inputs, and several of these in a row
        ([("OR", 0, 1), ("AND", 0, 3)], [4], []),
        ([("XOR", 0, 1), ("XOR", 3, 0)], [4], []),
        ([("AND", 0, 1), ("OR", 0, 1), ("XOR", 3, 4)], [5], [("XOR", 0, 1)]),
        ([("OR", 0, 1), ("A_AND_NOT_B", 3, 1), ("NOR", 3, 1)], [4, 5], [("A_AND_NOT_B", 0, 1), ("NOR", 0, 1)]),
        ([("XOR", 0, 1), ("XOR", 2, 3), ("XOR", 4, 3), ("AND", 5, 0)], [6], [("AND", 0, 2)]),
        # dead gates
        ([("AND", 0, 1), ("OR", 1, 2), ("XOR", 3, 2)], [4], [("OR", 1, 2)]),
    ],
)  # fmt: skip
def test_rules_on_three_inputs(all_samples, gates, outputs, left):
    netlist = circuit(3, gates, outputs)
    simple = simplify(netlist)
    assert spelled(simple) == left
    assert np.array_equal(evaluate(simple, all_samples(3)), evaluate(netlist, all_samples(3)))


def test_a_gate_that_outputs_read_inverted_is_its_complement():
    simple = simplify(circuit(2, [("AND", 0, 1), ("NOT_A", 2, 0), ("XOR", 2, 0)], [3, 3]))
    assert spelled(simple) == [("NAND", 0, 1)]
    assert simple.outputs.tolist() == [2, 2]


def test_readers_of_a_complemented_gate_are_adjusted():
    netlist = circuit(3, [("AND", 0, 1), ("NOT_A", 3, 0), ("AND", 2, 3)], [4, 5])
    assert spelled(simplify(netlist)) == [("NAND", 0, 1), ("A_AND_NOT_B", 2, 3)]


def test_outputs_that_read_a_node_both_ways_share_one_inverter():
    netlist = circuit(2, [("AND", 0, 1), ("NAND", 1, 0), ("NOT_B", 0, 1), ("NOT_A", 1, 0)], [2, 3, 3, 4, 5])
    simple = simplify(netlist)
    assert spelled(simple) == [("AND", 0, 1), ("NOT_A", 1, 1), ("NOT_A", 2, 2)]
    assert simple.outputs.tolist() == [2, 4, 4, 3, 3]


def test_constant_outputs_share_one_gate_of_each_kind():
    netlist = circuit(2, [("TRUE", 0, 1), ("FALSE", 0, 1), ("XOR", 1, 1), ("OR", 0, 1)], [5, 2, 3, 4, 2])
    simple = simplify(netlist)
    assert spelled(simple) == [("FALSE", 0, 0), ("TRUE", 0, 0), ("OR", 0, 1)]
    assert simple.outputs.tolist() == [4, 3, 2, 2, 3]


def test_gates_are_in_order_of_level_then_type():
    netlist = circuit(4, [("XOR", 0, 1), ("AND", 2, 3), ("OR", 4, 5), ("AND", 0, 1)], [6, 7])
    assert spelled(simplify(netlist)) == [("AND", 0, 1), ("AND", 2, 3), ("XOR", 0, 1), ("OR", 5, 6)]


def test_keys_of_the_largest_nodes_differ():
    last = 2**30 - 1
    rows = [(7, 2, last), (7, 3, last), (6, 2, last), (7, 2, last - 1), (7, last - 1, last), (7, 2**29 + 2, last)]
    assert len(set(_key(*np.array(rows).T).tolist())) == len(rows)


def test_a_quarter_of_a_million_gates_take_seconds_at_most():
    rng = np.random.default_rng(0)
    n, width, layers = 64_000, 2312, []
    for _ in range(4):
        layers.append((rng.integers(0, 16, n), *(rng.permutation(2 * n) % width).reshape(2, n)))
        width = n
    start = time.process_time()
    netlist = netlist_from_layers(2312, layers, classes=10)
    built = time.process_time()
    simple = simplify(netlist)
    done = time.process_time()
    assert built - start < 1  # 0.04 s on a quiet machine
    assert done - built < 5  # 0.2 s
    samples = rng.random((64, 2312)) < 0.3
    assert np.array_equal(evaluate(simple, samples), evaluate(netlist, samples))
    assert 0.3 < simple.n_gates / netlist.n_gates < 0.5  # 0.40: a random network keeps two fifths
