"""Trees at every position as gates of their own."""

import numpy as np
import pytest

from difflogic_tonic.netlist import GATE_NAMES, TreeLayer, count, evaluate, netlist_from_trees, simplify

AND, A, OR, XOR, FALSE = (GATE_NAMES.index(name) for name in ("AND", "A", "OR", "XOR", "FALSE"))


def all_outputs(n: int) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """A dense layer that passes all values on, so that they can be looked at."""
    return [(np.full(n, A), np.arange(n), np.arange(n))]


def test_a_tree_reads_its_taps_at_every_position_and_zeros_outside():
    right_neighbour = np.array([[[0, 0, 0], [0, 0, 1]]])
    layer = TreeLayer(np.array([[AND]]), right_neighbour, grid=(1, 3), padding=0, pool=False)
    netlist = netlist_from_trees((1, 1, 4), [layer], all_outputs(3), classes=1)
    assert evaluate(netlist, np.array([[1, 1, 0, 1], [0, 1, 1, 1]])).tolist() == [[1, 0, 0], [0, 1, 1]]
    padded = TreeLayer(np.array([[XOR]]), right_neighbour, grid=(3, 5), padding=1, pool=False)
    netlist = netlist_from_trees((1, 1, 4), [padded], all_outputs(15), classes=1)
    images = evaluate(netlist, np.array([[1, 1, 0, 1]])).reshape(3, 5)
    assert images.tolist() == [[0] * 5, [1, 0, 1, 1, 1], [0] * 5]


def test_gates_of_a_tree_go_from_leaves_to_root():
    taps = np.array([[[0, 0, 0], [1, 0, 0], [2, 0, 0], [3, 0, 0]]])
    layer = TreeLayer(np.array([[AND, OR, XOR]]), taps, grid=(1, 1), padding=0, pool=False)
    netlist = netlist_from_trees((4, 1, 1), [layer], all_outputs(1), classes=1)
    samples = np.array([[i >> k & 1 for k in range(4)] for i in range(16)])
    p, q, r, s = samples.T
    assert evaluate(netlist, samples)[:, 0].tolist() == ((p & q) ^ (r | s)).tolist()


def test_pooling_is_or_of_four_and_costs_three_gates():
    taps = np.array([[[0, 0, 0], [0, 0, 0]], [[1, 0, 0], [1, 0, 0]]])
    layer = TreeLayer(np.array([[A], [A]]), taps, grid=(2, 4), padding=0, pool=True)
    netlist = netlist_from_trees((2, 3, 4), [layer], all_outputs(4), classes=2)
    images = np.random.default_rng(0).random((20, 2, 3, 4)) < 0.2
    expected = images[:, :, :2].reshape(20, 2, 2, 2, 2).any((2, 4)).reshape(20, 4)
    assert np.array_equal(evaluate(netlist, images.reshape(20, -1)), expected)
    assert count(simplify(netlist)).gates == 4 * 3


def test_taps_outside_of_the_image_are_an_error():
    layer = TreeLayer(np.array([[A]]), np.array([[[0, 0, 0], [1, 0, 0]]]), grid=(1, 1), padding=0, pool=False)
    with pytest.raises(IndexError):
        netlist_from_trees((1, 1, 1), [layer], all_outputs(1), classes=1)
