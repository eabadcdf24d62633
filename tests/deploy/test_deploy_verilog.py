"""Verilog in real tools: simulated by Icarus, lint-clean in Verilator, counted by Yosys."""

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from difflogic_tonic.deploy.pipeline import pipeline
from difflogic_tonic.deploy.synthesis import synthesise
from difflogic_tonic.deploy.verilog import core_module
from difflogic_tonic.deploy.verilog_files import Simulation, open_verilog, simplified_with_head, write_verilog
from difflogic_tonic.errors import UserError
from difflogic_tonic.netlist import (
    Circuit,
    InputCode,
    Netlist,
    class_scores,
    count,
    simplify,
    step_scores,
    with_head,
)

pytestmark = pytest.mark.integration
Program = Callable[[str], str]
BITS, STATE, CLASSES, PER_CLASS = 37, 5, 5, 6


def circuit(seed: int = 0, gates: int = 300, readout: str = "frame") -> Circuit:
    """Gates of all sixteen types, on frames of 37 bits."""
    rng = np.random.default_rng(seed)
    state = STATE if readout != "frame" else 0
    end = BITS + state + np.arange(gates)
    a, b = rng.integers(0, end), rng.integers(0, end)
    roots = rng.integers(end[-1] // 2, end[-1] + 1, CLASSES * PER_CLASS + state)
    netlist = Netlist(BITS + state, rng.integers(0, 16, gates), a, b, roots[state:], CLASSES, next_state=roots[:state])
    code = InputCode((1, 1, BITS), np.ones((1, 1), np.float32))
    return Circuit(netlist, code, tuple("abcde"), readout)


def frames(n: int = 60) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 2, (n, BITS)).astype(bool)


@pytest.mark.parametrize("every", [0, 1, 3])
@pytest.mark.parametrize("word", [BITS, 20, 8, 1])
def test_frames_give_their_scores_however_they_arrive(program: Program, tmp_path: Path, every: int, word: int) -> None:
    program("iverilog")
    source = circuit()
    write_verilog(source, tmp_path, "net", every)
    scores = Simulation(source, tmp_path, "net", word)(frames())
    assert np.array_equal(scores, class_scores(source.netlist, frames()))


@pytest.mark.parametrize("readout", ["mean", "last"])
@pytest.mark.parametrize("every", [0, 2])
def test_a_sequence_keeps_its_state_and_its_sums(program: Program, tmp_path: Path, readout: str, every: int) -> None:
    program("iverilog")
    source = circuit(readout=readout)
    paths = write_verilog(source, tmp_path, "net", every)
    bits = frames(300).reshape(5, 60, BITS)
    assert np.array_equal(open_verilog(source, paths)(bits), step_scores(source.netlist, bits))


def test_the_written_testbench_passes_and_a_changed_gate_fails(program: Program, tmp_path: Path) -> None:
    program("iverilog")
    source = circuit()
    write_verilog(source, tmp_path, "net")
    command = "iverilog -g2005 -Wall -o net.vvp -s net_tb net.v net_core.v net_tb.v && vvp -N net.vvp"
    done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True)
    assert (done.stdout.splitlines()[0], done.stderr) == ("PASS 100", "")
    core = tmp_path / "net_core.v"
    core.write_text(core.read_text().replace("^", "|", 1))
    done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True)
    assert "FAIL" in done.stdout


@pytest.mark.parametrize("readout", ["frame", "mean"])
def test_a_wrong_class_beside_right_scores_is_found(program: Program, tmp_path: Path, readout: str) -> None:
    program("iverilog")
    source = circuit(readout=readout)
    paths = write_verilog(source, tmp_path, "net")
    top, right = tmp_path / "net.v", {"frame": "<= class_index;", "mean": "out_class = best;"}[readout]
    assert top.read_text().count(right) == 1
    top.write_text(top.read_text().replace(right, right.replace("= ", "= ~")))
    bits = frames() if readout == "frame" else frames().reshape(4, 15, BITS)
    assert (open_verilog(source, paths)(bits) == -1).all()


@pytest.mark.parametrize("readout", ["frame", "mean"])
@pytest.mark.parametrize("every", [0, 2])
def test_verilator_has_no_warning(program: Program, tmp_path: Path, readout: str, every: int) -> None:
    verilator = program("verilator")
    write_verilog(circuit(readout=readout), tmp_path, "net", every)
    for word in (BITS, 19, 8):
        command = [verilator, "--lint-only", "-Wall", "--top-module", "net", f"-GWORD={word}", "net.v", "net_core.v"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")


def test_yosys_reads_as_many_gates_as_the_netlist_has(program: Program, tmp_path: Path) -> None:
    program("yosys")
    netlist = circuit(gates=400).netlist
    for headed in (with_head(netlist), simplified_with_head(netlist)):
        (tmp_path / "net_core.v").write_text(core_module(headed, "net", 3))
        found = synthesise([tmp_path / "net_core.v"], "net_core")
        assert found.gates == count(headed.netlist).gates
        assert 0 < found.luts < found.gates
        assert 0 < found.registers <= pipeline(headed.netlist, 3).registers
        assert 0 < found.levels <= 3


def test_what_yosys_refuses_is_one_line(program: Program, tmp_path: Path) -> None:
    program("yosys")
    (tmp_path / "broken.v").write_text("module broken_core (input a; endmodule")
    with pytest.raises(UserError, match="yosys did not accept"):
        synthesise([tmp_path / "broken.v"], "broken_core")


def test_a_yosys_without_the_longest_path_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = '{"design": {"num_cells_by_type": {"$and": 5}}}'
    (tmp_path / "yosys").write_text(f"#!/bin/sh\nfor file in read mapped path; do echo '{cells}' > $file.txt; done\n")
    (tmp_path / "yosys").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(UserError, match="no longest path"):
        synthesise([tmp_path / "net_core.v"], "net_core")


def test_statistics_of_another_yosys_are_not_read_as_zeros(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = '#!/bin/sh\nfor file in read mapped path; do echo "  5 cells" > $file.txt; done\n'
    (tmp_path / "yosys").write_text(script)
    (tmp_path / "yosys").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(UserError, match="without num_cells_by_type"):
        synthesise([tmp_path / "net_core.v"], "net_core")


def test_without_a_simulator_the_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = write_verilog(circuit(), tmp_path, "net")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="iverilog is not installed"):
        open_verilog(circuit(), paths)


def test_registers_stand_between_stages_only() -> None:
    netlist = Netlist(2, [6, 6, 6], [0, 2, 3], [1, 1, 0], [4], 1)  # a chain of three gates that reads both inputs late
    stages = pipeline(netlist, 1)
    assert stages.stages.tolist() == [0, 0, 0, 1, 2]
    assert stages.last.tolist() == [2, 1, 1, 2, 3]
    assert (stages.latency, stages.registers) == (3, 2 + 1 + 1 + 1 + 1)
    assert pipeline(netlist, 0).registers == 0
    assert pipeline(simplify(replace(netlist)), 3).latency == 1
