"""The word-parallel evaluator against one that reads truth tables gate by gate."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from difflogic_tonic.netlist import Netlist, class_scores, evaluate, evaluate_words, pack_samples, unpack_samples
from difflogic_tonic.netlist import evaluate as evaluate_function

XOR = 6


def test_all_sixteen_gates_on_all_four_inputs():
    netlist = Netlist(2, range(16), [0] * 16, [1] * 16, range(2, 18), 1)
    corners = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    expected = [[gate >> shift & 1 for gate in range(16)] for shift in (3, 2, 1, 0)]
    assert evaluate(netlist, corners).astype(int).tolist() == expected


@given(
    st.integers(0, 2**32), st.integers(1, 40), st.integers(0, 120), st.integers(1, 5), st.sampled_from([1, 63, 64, 65])
)
@settings(max_examples=40, deadline=None)
def test_outputs_equal_the_slow_ones(random_netlist, slow_outputs, seed, n_inputs, n_gates, classes, samples):
    netlist = random_netlist(seed, n_inputs, n_gates, classes)
    inputs = np.random.default_rng(seed).integers(0, 2, (samples, n_inputs))
    expected = np.array(slow_outputs(netlist, inputs))
    assert np.array_equal(evaluate(netlist, inputs), expected)
    packed = np.packbits(inputs, axis=1, bitorder="little")
    assert np.array_equal(evaluate(netlist, packed, packed=True), expected)
    scores = expected.reshape(samples, classes, -1).sum(2)
    assert np.array_equal(class_scores(netlist, inputs), scores)
    assert np.array_equal(class_scores(netlist, packed, packed=True), scores)


def test_blocks_of_samples_change_nothing(random_netlist, monkeypatch):
    netlist = random_netlist(1, 9, 50, classes=2)
    inputs = np.random.default_rng(2).integers(0, 2, (200, 9)).astype(bool)
    whole, scores = evaluate(netlist, inputs), class_scores(netlist, inputs)
    module = __import__(evaluate_function.__module__, fromlist=["BLOCK_BYTES"])
    monkeypatch.setattr(module, "BLOCK_BYTES", 1)  # 64 samples at a time
    assert np.array_equal(evaluate(netlist, inputs), whole)
    assert np.array_equal(class_scores(netlist, inputs), scores)


def test_counts_above_zero_are_ones():
    netlist = Netlist(2, [XOR], [0], [1], [2], 1)
    assert evaluate(netlist, np.array([[3, 2], [0, 255], [2, 0]], np.uint8)).ravel().tolist() == [False, True, True]


def test_no_samples_give_no_scores():
    netlist = Netlist(2, [XOR], [0], [1], [2], 1)
    assert class_scores(netlist, np.zeros((0, 2), bool)).shape == (0, 1)


def test_sample_s_is_bit_s_of_its_row():
    bits = np.zeros((70, 3), bool)
    bits[[1, 69], [2, 0]] = True
    words = pack_samples(bits)
    assert words.tolist() == [[0, 1 << 5], [0, 0], [1 << 1, 0]]
    assert np.array_equal(unpack_samples(words, 70), bits)


@pytest.mark.parametrize(
    ("inputs", "packed"),
    [(np.zeros((4, 8), bool), False), (np.zeros(9, bool), False), (np.zeros((4, 9), np.uint8), True),
     (np.zeros((4, 2), bool), True)],
)  # fmt: skip
def test_inputs_of_the_wrong_shape_are_refused(inputs, packed):
    netlist = Netlist(9, [XOR], [0], [1], [9], 1)
    with pytest.raises(ValueError, match="inputs must be"):
        evaluate(netlist, inputs, packed)
    with pytest.raises(ValueError, match="words must be"):
        evaluate_words(netlist, np.zeros((8, 1), np.uint64))
