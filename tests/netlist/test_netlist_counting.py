"""Counts on circuits small enough to count by hand."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from difflogic_tonic.netlist import GATE_NAMES, Netlist, count

FALSE, AND, A, B, XOR, NOT_B, NOT_A, TRUE = (
    GATE_NAMES.index(name) for name in ("FALSE", "AND", "A", "B", "XOR", "NOT_B", "NOT_A", "TRUE")
)


def test_a_circuit_of_every_kind():
    # inputs 0-3; 4 = 0 & 1; 5 = 4; 6 = ~0; 7 = 5 ^ 6; 8 = TRUE; 9 = 2 & 3 (dead); 10 = 9 & 9 (dead); 11 = 8 & 7
    gates = [AND, A, NOT_B, XOR, TRUE, AND, AND, AND]
    a = [0, 4, 3, 5, 2, 2, 9, 8]
    b = [1, 2, 0, 6, 3, 3, 9, 7]
    counts = count(Netlist(4, gates, a, b, [11, 7], classes=2))
    assert counts.gates == 5
    assert counts.by_type == dict.fromkeys(counts.by_type, 0) | {"AND": 4, "XOR": 1}
    assert (counts.wires, counts.inverters, counts.constants, counts.dead) == (1, 1, 1, 2)
    assert counts.depth == 3  # 4, then 7 through a wire, then 11
    assert counts.unused_inputs == 2  # the wire and the inverter ignore theirs, and 9 is dead
    assert (counts.inputs, counts.outputs) == (4, 2)


def test_depth_is_of_live_gates_on_pins_that_matter():
    # 2 = 0 & 1; 3 = 2 & 0; 4 = b-wire of (3, 0): only input 0 matters to it
    counts = count(Netlist(2, [AND, AND, B], [0, 2, 3], [1, 0, 0], [4], 1))
    assert (counts.depth, counts.dead, counts.unused_inputs) == (0, 2, 1)


def test_types_are_the_ten_gates_of_two_inputs():
    counts = count(Netlist(2, range(16), [0] * 16, [1] * 16, range(2, 18), 1))
    assert list(counts.by_type.values()) == [1] * 10
    assert (counts.gates, counts.wires, counts.inverters, counts.constants) == (10, 2, 2, 2)


@given(st.integers(0, 2**32), st.integers(1, 20), st.integers(0, 200))
@settings(max_examples=40, deadline=None)
def test_every_gate_is_counted_once_and_counts_are_plain_numbers(random_netlist, seed, n_inputs, n_gates):
    netlist = random_netlist(seed, n_inputs, n_gates)
    counts = count(netlist)
    assert counts.gates + counts.wires + counts.inverters + counts.constants == n_gates
    assert sum(counts.by_type.values()) == counts.gates
    assert 0 <= counts.dead <= counts.gates
    assert not any(isinstance(value, np.generic) for value in counts.to_dict().values())
