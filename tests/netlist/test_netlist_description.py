"""How frames become the inputs of a netlist, and that this travels with it."""

from pathlib import Path

import numpy as np
import pytest

from difflogic_tonic.errors import NetlistCorrupt
from difflogic_tonic.netlist import (
    Circuit,
    InputCode,
    Netlist,
    load_circuit,
    load_netlist,
    netlist_from_layers,
    save_circuit,
    save_netlist,
)

TWO_PIXELS = (1, 1, 2)


def circuit(**about: object) -> Circuit:
    netlist = netlist_from_layers(4, [([1, 6, 7, 8], [0, 1, 2, 3], [1, 2, 3, 0])], classes=2, tau=2.0)
    return Circuit(netlist, InputCode(TWO_PIXELS, np.array([[1.0], [3.5]])), ("left", "right"), **about)


def test_bits_lie_level_by_level():
    code = InputCode(TWO_PIXELS, np.array([[1.0], [3.0]]))
    assert code.bits(np.array([[0, 3], [1, 2]])).tolist() == [[0, 1, 0, 1], [1, 1, 0, 0]]
    assert code.bits(np.array([[[[0, 3]]]])).tolist() == [[0, 1, 0, 1]]
    assert not code.is_binary


def test_thresholds_may_differ_between_features():
    code = InputCode(TWO_PIXELS, np.array([[1.0, 4.0], [2.0, 5.0]]))
    assert code.bits(np.array([[4, 4]])).tolist() == [[1, 1, 1, 0]]


def test_one_threshold_of_one_means_above_zero():
    assert InputCode(TWO_PIXELS, np.ones((1, 1))).is_binary
    assert not InputCode(TWO_PIXELS, np.ones((1, 2)) * 2).is_binary


@pytest.mark.parametrize("thresholds", [np.ones(2), np.ones((1, 3)), np.ones((0, 1)), np.zeros((1, 1))])
def test_thresholds_of_another_shape_or_not_above_zero_are_refused(thresholds):
    with pytest.raises(ValueError, match="thresholds must be"):
        InputCode(TWO_PIXELS, thresholds)


def test_a_circuit_comes_back_with_its_description(tmp_path: Path):
    saved = circuit()
    save_circuit(saved, tmp_path / "c.json")
    loaded = load_circuit(tmp_path / "c.json")
    assert loaded.netlist.equals(saved.netlist)
    assert load_netlist(tmp_path / "c.json").equals(saved.netlist)
    assert loaded.plain() == saved.plain()
    assert (loaded.class_names, loaded.readout, loaded.code.frame_shape) == (("left", "right"), "frame", TWO_PIXELS)
    assert loaded.code.thresholds.tolist() == [[1.0], [3.5]]


def test_a_changed_description_is_found(tmp_path: Path):
    path = tmp_path / "c.json"
    save_circuit(circuit(), path)
    path.write_text(path.read_text().replace('"left"', '"lift"'))
    with pytest.raises(NetlistCorrupt, match="does not match its sha256"):
        load_circuit(path)


def test_a_netlist_alone_is_no_circuit(tmp_path: Path):
    save_netlist(circuit().netlist, tmp_path / "n.json")
    with pytest.raises(NetlistCorrupt, match="no description of inputs and classes"):
        load_circuit(tmp_path / "n.json")


def test_descriptions_that_do_not_fit_the_netlist_are_refused():
    netlist = circuit().netlist
    code = InputCode(TWO_PIXELS, np.array([[1.0], [2.0]]))
    with pytest.raises(ValueError, match="2 bits a frame for 4 inputs"):
        Circuit(netlist, InputCode(TWO_PIXELS, np.ones((1, 1))), ("a", "b"))
    with pytest.raises(ValueError, match="1 class names for 2 classes"):
        Circuit(netlist, code, ("a",))
    with pytest.raises(ValueError, match="readout 'mean' with 0 state bits"):
        Circuit(netlist, code, ("a", "b"), "mean")
    with_state = Netlist(5, [1], [0], [1], outputs=[5, 5], classes=2, next_state=[5])
    with pytest.raises(ValueError, match="readout 'frame' with 1 state bits"):
        Circuit(with_state, code, ("a", "b"))
