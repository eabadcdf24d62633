"""Circuits with a state, step by step."""

import numpy as np
import pytest

from difflogic_tonic.netlist import Netlist, count, simplify, step, step_scores

XOR, AND = 6, 1

# inputs: bit 0, state 1; gates: 2 = bit xor state (the next state), 3 = bit and state (the output)
TOGGLE = Netlist(2, [XOR, AND], [0, 0], [1, 1], [3], 1, next_state=[2])


def test_a_toggle_counts_ones_by_twos():
    frames = np.array([1, 0, 1, 1, 1])[:, None, None]
    assert step_scores(TOGGLE, frames)[:, 0, 0].tolist() == [0, 0, 1, 0, 1]


def test_a_step_takes_up_where_the_one_before_ended():
    _, state = step(TOGGLE, np.array([[1], [0]]))
    assert state.tolist() == [[True], [False]]
    outputs, state = step(TOGGLE, np.array([[1], [1]]), state)
    assert outputs.tolist() == [[True], [False]]
    assert state.tolist() == [[False], [True]]


@pytest.mark.parametrize("seed", range(5))
def test_simplification_changes_no_output_at_any_step(random_netlist, seed):
    plain = random_netlist(seed, 9, 120, classes=2)
    rng = np.random.default_rng(seed)
    netlist = Netlist(9, plain.gates, plain.a, plain.b, plain.outputs, 2, next_state=rng.integers(0, 129, 4))
    frames = rng.random((6, 70, 5)) < 0.5
    smaller = simplify(netlist)
    assert smaller.n_state == 4
    assert np.array_equal(step_scores(netlist, frames), step_scores(smaller, frames))


def test_gates_that_only_the_state_needs_are_counted_and_kept():
    assert count(TOGGLE).to_dict() | {"by_type": 0} == {
        "inputs": 2, "outputs": 1, "gates": 2, "by_type": 0, "wires": 0, "inverters": 0, "constants": 0, "dead": 0,
        "depth": 1, "unused_inputs": 0, "state": 1,
    }  # fmt: skip
    assert count(simplify(TOGGLE)).gates == 2


@pytest.mark.parametrize(
    ("next_state", "message"), [([4], "next_state has 4 … 4, expected 0 … 3"), ([2, 3], "2 of 2 inputs are state")]
)
def test_a_state_that_cannot_be_is_refused(next_state, message):
    with pytest.raises(ValueError, match=message):
        Netlist(2, [XOR, AND], [0, 0], [1, 1], [3], 1, next_state=next_state)
