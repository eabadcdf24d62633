"""Building circuits from arrays, and refusing what is none."""

import subprocess
import sys

import numpy as np
import pytest

from difflogic_tonic.netlist import Netlist, netlist_from_layers

AND, OR = 1, 7


def test_layers_become_gates_that_read_the_layer_before():
    layers = [([AND, OR, 3], [0, 1, 2], [1, 3, 0]), ([6, 9], [2, 0], [0, 1])]
    netlist = netlist_from_layers(4, layers, classes=2, tau=2.5)
    assert netlist.gates.tolist() == [AND, OR, 3, 6, 9]
    assert netlist.a.tolist() == [0, 1, 2, 4 + 2, 4 + 0]
    assert netlist.b.tolist() == [1, 3, 0, 4 + 0, 4 + 1]
    assert netlist.outputs.tolist() == [4 + 3, 4 + 4]
    assert (netlist.n_inputs, netlist.n_gates, netlist.n_nodes, netlist.n_outputs) == (4, 5, 9, 2)
    assert (netlist.classes, netlist.tau) == (2, 2.5)


def test_without_layers_the_inputs_are_the_outputs():
    assert netlist_from_layers(3, [], classes=1).outputs.tolist() == [0, 1, 2]


def test_columns_are_small_types_and_cannot_be_written():
    gates = np.array([AND])
    netlist = Netlist(2, gates, [0], [1], [2], 1)
    gates[0] = OR
    assert netlist.gates.tolist() == [AND]
    assert (netlist.gates.dtype, netlist.a.dtype, netlist.outputs.dtype) == (np.uint8, np.int32, np.int32)
    with pytest.raises(ValueError, match="read-only"):
        netlist.gates[0] = OR


def test_batches_depend_on_earlier_ones_only():
    # gates 2, 3, 4, 5: depth 1, 2, 1, 3
    netlist = Netlist(2, [AND] * 4, [0, 2, 1, 3], [1, 0, 1, 4], [5], 1)
    assert [rows.tolist() for rows in netlist.batches] == [[0, 2], [1], [3]]


def test_equal_means_every_number():
    first = Netlist(2, [AND, OR], [0, 1], [1, 2], [3], 1)
    assert first.equals(Netlist(2, [AND, OR], [0, 1], [1, 2], [3], 1))
    assert not first.equals(Netlist(2, [AND, OR], [0, 1], [1, 2], [2], 1))
    assert not first.equals(Netlist(2, [AND, OR], [0, 1], [1, 2], [3], 1, tau=2.0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"a": [0, 3]}, "a of gate 1 is node 3, expected 0 … 2"),  # itself
        ({"b": [-1, 0]}, "b of gate 0 is node -1, expected 0 … 1"),
        ({"gates": [1, 16]}, "gates has 1 … 16, expected 0 … 15"),
        ({"gates": [257, 1]}, "gates has 1 … 257, expected 0 … 15"),  # not 257 - 256
        ({"gates": [1.0, 2.0]}, r"gates must be whole numbers in one axis, not float64 \[2\]"),
        ({"gates": [1]}, "equally long, not 1, 2 and 2"),
        ({"outputs": [4]}, "outputs has 4 … 4, expected 0 … 3"),
        ({"outputs": []}, "0 outputs do not split into 1 classes"),
        ({"outputs": [3, 3, 3], "classes": 2}, "3 outputs do not split into 2 classes"),
        ({"classes": 0}, "classes 0"),
        ({"tau": 0.0}, "tau 0.0"),
        ({"tau": float("nan")}, "tau nan"),
        ({"n_inputs": 0}, "n_inputs 0"),
        ({"n_inputs": 2**30}, "nodes, expected fewer than"),
    ],
)
def test_arrays_that_are_no_circuit_are_refused_with_the_place(change, message):
    good = {"n_inputs": 2, "gates": [1, 7], "a": [0, 2], "b": [1, 0], "outputs": [3], "classes": 1, "tau": 1.0}
    Netlist(**good)
    with pytest.raises(ValueError, match=message):
        Netlist(**good | change)


@pytest.mark.parametrize(("a", "b", "name"), [([2], [0], "a"), ([0], [-1], "b")])
def test_a_layer_reads_only_the_layer_before(a, b, name):
    layers = [([AND, AND], [0, 1], [1, 2]), ([AND], a, b)]
    with pytest.raises(ValueError, match=rf"{name} of layer 1 has .* expected 0 … 1"):
        netlist_from_layers(3, layers, classes=1)


def test_the_room_needs_no_torch():
    code = "import sys, difflogic_tonic.netlist; sys.exit('torch' in sys.modules)"
    source = next(path for path in sys.path if path.endswith("src"))
    assert subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": source}, check=False).returncode == 0
