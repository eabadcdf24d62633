"""BLIF and AIGER: written, read again by us, and by the tools that they are for."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from difflogic_tonic.errors import NetlistCorrupt
from difflogic_tonic.netlist import Netlist, count, evaluate, netlist_from_layers, one_step, simplify
from difflogic_tonic.netlist.aiger import load_aiger, save_aiger
from difflogic_tonic.netlist.blif import load_blif, save_blif

FORMATS = {"blif": (save_blif, load_blif), "aig": (save_aiger, load_aiger)}

# inputs: bit 0, state 1; gates: 2 = bit xor state (the next state), 3 = bit and state (the output)
TOGGLE = Netlist(2, [6, 1], [0, 0], [1, 1], [3], 1, next_state=[2])


def with_state(random_netlist, seed: int, n_inputs: int, n_gates: int, state: int) -> Netlist:
    plain = random_netlist(seed, n_inputs, n_gates, 3)
    after = np.random.default_rng(seed).integers(0, plain.n_nodes, state)
    return Netlist(n_inputs, plain.gates, plain.a, plain.b, plain.outputs, 1, next_state=after)


def same_function(first: Netlist, second: Netlist, bits: np.ndarray) -> bool:
    assert (first.n_inputs, first.n_state, first.n_outputs) == (second.n_inputs, second.n_state, second.n_outputs)
    return np.array_equal(evaluate(one_step(first), bits), evaluate(one_step(second), bits))


@pytest.mark.parametrize("suffix", FORMATS)
def test_all_sixteen_gates_come_back(tmp_path: Path, suffix, all_samples):
    save, load = FORMATS[suffix]
    netlist = Netlist(2, range(16), [0] * 16, [1] * 16, range(2, 18), 1)
    save(netlist, tmp_path / "gates")
    assert same_function(netlist, load(tmp_path / "gates"), all_samples(2))


@pytest.mark.parametrize("suffix", FORMATS)
@given(st.integers(0, 2**32), st.integers(2, 9), st.integers(0, 150), st.integers(0, 3))
@settings(max_examples=30, deadline=None)
def test_any_circuit_comes_back_the_same_on_all_inputs(
    tmp_path_factory, random_netlist, all_samples, suffix, seed, n_inputs, n_gates, state
):
    save, load = FORMATS[suffix]
    netlist = with_state(random_netlist, seed, n_inputs, n_gates, min(state, n_inputs - 1))
    path = tmp_path_factory.mktemp("any") / "circuit"
    save(netlist, path)
    assert same_function(netlist, load(path), all_samples(n_inputs))


def test_a_toggle_in_blif(tmp_path: Path):
    save_blif(TOGGLE, tmp_path / "t.blif", "toggle")
    assert (tmp_path / "t.blif").read_text().split("\n") == [
        ".model toggle", ".inputs i0", ".outputs o0", ".latch n0 s0 0",
        ".names i0 s0 n0", "01 1", "10 1", ".names i0 s0 n1", "11 1", ".names n1 o0", "1 1", ".end", "",
    ]  # fmt: skip


def test_a_toggle_in_aiger(tmp_path: Path):
    save_aiger(TOGGLE, tmp_path / "t.aig")
    head, *rest = (tmp_path / "t.aig").read_bytes().split(b"\n", 3)
    # variables: input 1, latch 2, ANDs 3 to 6; the next state is not (not 3 and not 4), the output is 6
    assert (head, rest[:2]) == (b"aig 6 1 1 1 4", [b"11", b"12"])
    assert rest[2].endswith(b"i0 i0\nl0 s0\no0 o0\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (".inputs a b c\n.outputs x\n.names a b c x\n111 1\n", "a gate of 3 inputs"),
        (".inputs a\n.outputs x\n.names x x\n1 1\n", "x reads what nothing gives"),
        (".inputs a\n.outputs x\n.names a x\n0 0\n", "a cover of zeros"),
        (".inputs a\n.outputs x\n.latch a x 3\n", "a latch that does not start at 0"),
        (".inputs a\n.outputs x\n.subckt g a=x\n", ".subckt is not known"),
        (".inputs a\n.outputs x\n", "'x'"),
    ],
)
def test_other_blif_is_refused_in_one_line(tmp_path: Path, text, message):
    (tmp_path / "x.blif").write_text(text)
    with pytest.raises(NetlistCorrupt, match=message):
        load_blif(tmp_path / "x.blif")


@pytest.mark.parametrize("content", [b"", b"aag 1 1 0 1 0\n2\n2\n", b"aig 3 2 0 1 1\n6\n", b"aig x\n"])
def test_other_aiger_is_refused_in_one_line(tmp_path: Path, content):
    (tmp_path / "x.aig").write_bytes(content)
    with pytest.raises(NetlistCorrupt, match="is not a binary AIGER file"):
        load_aiger(tmp_path / "x.aig")


@pytest.mark.parametrize("load", [load_blif, load_aiger])
def test_a_missing_file_is_one_line(tmp_path: Path, load):
    with pytest.raises(NetlistCorrupt, match="no netlist at"):
        load(tmp_path / "none")


def abc(program: Callable[[str], str], commands: str) -> str:
    done = subprocess.run([program("berkeley-abc"), "-c", commands], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize("seed", range(3))
def test_abc_finds_both_files_and_the_simplified_circuit_equivalent(tmp_path: Path, program, random_netlist, seed):
    netlist = random_netlist(seed, 12, 300, 4)
    save_blif(netlist, tmp_path / "a.blif")
    save_aiger(simplify(netlist), tmp_path / "b.aig")
    said = abc(program, f"cec {tmp_path}/a.blif {tmp_path}/b.aig")
    assert "Networks are equivalent" in said, said
    last = [*netlist.outputs[:-1], netlist.n_nodes - 1]
    for name, gate in (("c", netlist.gates[-1]), ("d", 15 - netlist.gates[-1])):
        changed = Netlist(12, np.append(netlist.gates[:-1], gate), netlist.a, netlist.b, np.array(last), 1)
        save_blif(changed, tmp_path / f"{name}.blif")
    assert "NOT EQUIVALENT" in abc(program, f"cec {tmp_path}/c.blif {tmp_path}/d.blif")


def test_abc_finds_circuits_with_a_state_equivalent(tmp_path: Path, program, random_netlist):
    netlist = with_state(random_netlist, 7, 9, 80, 3)
    save_blif(netlist, tmp_path / "a.blif")
    save_aiger(simplify(netlist), tmp_path / "b.aig")
    assert "are equivalent" in abc(program, f"dsec {tmp_path}/a.blif {tmp_path}/b.aig")


def test_yosys_counts_the_gates_that_we_count(tmp_path: Path, program):
    rng = np.random.default_rng(0)
    layers = [(rng.integers(0, 16, 90), *rng.integers(0, width, (2, 90))) for width in (40, 90, 90)]
    netlist = simplify(netlist_from_layers(40, layers, 10))
    save_blif(netlist, tmp_path / "a.blif")
    script = f"read_blif {tmp_path}/a.blif; stat"
    done = subprocess.run([program("yosys"), "-p", script], capture_output=True, text=True, check=True)
    (tables,) = (int(line.split()[1]) for line in done.stdout.splitlines() if line.split()[:1] == ["$lut"])
    counts = count(netlist)
    assert counts.inverters > 0
    assert tables == counts.gates + counts.inverters > 50  # the outputs' wires and constants are no cells
