"""Gate numbers are truth tables, and everything else about them follows."""

from itertools import product

import pytest

from difflogic_tonic.netlist.gates import COMPOSE, GATE_NAMES, IS_REAL, POLYNOMIAL, READS_A, READS_B

MEANING = {
    "FALSE": lambda a, b: 0,
    "AND": lambda a, b: a and b,
    "A_AND_NOT_B": lambda a, b: a and not b,
    "A": lambda a, b: a,
    "NOT_A_AND_B": lambda a, b: not a and b,
    "B": lambda a, b: b,
    "XOR": lambda a, b: a != b,
    "OR": lambda a, b: a or b,
    "NOR": lambda a, b: not (a or b),
    "XNOR": lambda a, b: a == b,
    "NOT_B": lambda a, b: not b,
    "A_OR_NOT_B": lambda a, b: a or not b,
    "NOT_A": lambda a, b: not a,
    "NOT_A_OR_B": lambda a, b: not a or b,
    "NAND": lambda a, b: not (a and b),
    "TRUE": lambda a, b: 1,
}


def value(gate: int, a: int, b: int) -> int:
    return gate >> (3 - 2 * a - b) & 1


@pytest.mark.parametrize("gate", range(16))
def test_number_is_the_truth_table_of_the_name(gate: int):
    meaning = MEANING[GATE_NAMES[gate]]
    assert all(value(gate, a, b) == int(bool(meaning(a, b))) for a, b in product((0, 1), repeat=2))


def test_names_are_those_of_the_trained_gates():
    gates = pytest.importorskip("difflogic_tonic.nets.logic.gates")
    assert gates.GATE_NAMES == GATE_NAMES
    assert tuple(READS_A.tolist()) == gates.USES_A
    assert tuple(READS_B.tolist()) == gates.USES_B


def test_a_gate_reads_a_pin_if_its_output_can_change_with_it():
    for gate in range(16):
        assert READS_A[gate] == any(value(gate, 0, b) != value(gate, 1, b) for b in (0, 1))
        assert READS_B[gate] == any(value(gate, a, 0) != value(gate, a, 1) for a in (0, 1))
    assert IS_REAL.sum() == 10


def test_composition_is_substitution():
    for g, x, y in product(range(16), repeat=3):
        for p, q in product((0, 1), repeat=2):
            assert value(COMPOSE[g, x, y], p, q) == value(g, value(x, p, q), value(y, p, q))


def test_polynomial_modulo_two_is_the_gate():
    for gate, a, b in product(range(16), (0, 1), (0, 1)):
        c0, c1, c2, c3 = POLYNOMIAL[gate].tolist()
        assert (c0 + c1 * a + c2 * b + c3 * a * b) % 2 == value(gate, a, b)
