"""Scores and class as gates against sums and argmax of the outputs."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from difflogic_tonic.netlist import Netlist, class_scores, count, evaluate, one_step, simplify, with_head


def wires(groups: int, width: int) -> Netlist:
    """Every input is an output: `groups` classes of `width`."""
    return Netlist(groups * width, [], [], [], range(groups * width), groups)


@given(st.integers(0, 2**32), st.integers(1, 12), st.integers(1, 70))
@example(0, 1, 1)
@example(0, 10, 64)
@settings(max_examples=60, deadline=None)
def test_scores_and_class_equal_sums_and_argmax(seed, groups, width):
    netlist = wires(groups, width)
    headed = with_head(netlist)
    share = np.random.default_rng(seed).random((200, 1))  # also nearly all and nearly none
    inputs = np.random.default_rng(seed + 1).random((200, groups * width)) < share
    index, scores = headed.read(evaluate(headed.netlist, inputs))
    expected = class_scores(netlist, inputs)
    assert np.array_equal(scores, expected)
    assert np.array_equal(index, expected.argmax(1))
    assert (headed.index_bits, headed.score_bits) == (max(1, (groups - 1).bit_length()), width.bit_length())


def test_a_draw_is_won_by_the_lowest_class():
    headed = with_head(wires(3, 2))
    inputs = np.array([[0, 0, 0, 1, 1, 0], [0, 0, 1, 0, 0, 1], [0, 0, 0, 0, 0, 0], [0, 1, 1, 1, 1, 1]])
    assert headed.read(evaluate(headed.netlist, inputs))[0].tolist() == [1, 1, 0, 1]


@pytest.mark.parametrize("width", [3, 7, 31, 255])
def test_n_ones_are_counted_by_n_less_their_number_of_bits_full_adders(width):
    gates = count(with_head(wires(1, width)).netlist).gates
    assert gates == 5 * (width - width.bit_length())


def test_counting_is_a_tree(random_netlist):
    netlist = with_head(wires(1, 1000)).netlist
    assert count(netlist).depth <= 40  # a chain has two levels for every bit


def test_the_state_is_kept(random_netlist):
    netlist = Netlist(3, [6, 8], [0, 1], [2, 2], [3, 4], 2, next_state=[3])
    headed = with_head(netlist)
    inputs = np.array([[a, b, c] for a in (0, 1) for b in (0, 1) for c in (0, 1)])
    assert np.array_equal(evaluate(one_step(headed.netlist), inputs)[:, -1], evaluate(netlist, inputs)[:, 0])


def test_simplified_with_its_head_it_gives_the_same(random_netlist):
    netlist = random_netlist(5, 20, 300, classes=4)
    headed = with_head(netlist)
    inputs = np.random.default_rng(1).integers(0, 2, (500, 20))
    assert np.array_equal(evaluate(simplify(headed.netlist), inputs), evaluate(headed.netlist, inputs))
