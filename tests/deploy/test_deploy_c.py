"""The exported C, compiled by gcc and clang without a warning, computes what the circuit computes."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from difflogic_tonic.deploy.c_export import write_c
from difflogic_tonic.deploy.c_run import open_c
from difflogic_tonic.errors import ConfigError
from difflogic_tonic.netlist import (
    Circuit,
    InputCode,
    Netlist,
    class_scores,
    netlist_from_layers,
    simplify,
    step_scores,
)
from difflogic_tonic.netlist.engine import Engine
from difflogic_tonic.netlist.program import assign_rows, to_program

COMPILERS = ("gcc", "clang")


def layered(n_inputs: int, widths: list[int], classes: int, state: int = 0, seed: int = 0) -> Netlist:
    rng = np.random.default_rng(seed)
    before = [n_inputs, *widths]
    layers = [(rng.integers(0, 16, n), *rng.integers(0, m, (2, n))) for m, n in zip(before, widths, strict=False)]
    return netlist_from_layers(n_inputs, layers, classes, 2.0, state)


def binary(netlist: Netlist, names: tuple[str, ...] | None = None) -> Circuit:
    code = InputCode((1, 1, netlist.n_inputs - netlist.n_state), np.ones((1, 1)))
    names = names or tuple(str(k) for k in range(netlist.classes))
    return Circuit(netlist, code, names, "mean" if netlist.n_state else "frame")


CIRCUITS = {
    "layers": layered(70, [300, 280], 4),
    "one class of one input": Netlist(1, [], [], [], [0], 1),
    "constants and inverters": Netlist(3, [0, 15, 12, 10], [0, 0, 1, 0], [0, 0, 0, 2], [3, 4, 5, 6, 5, 5], 3),
    "state": layered(90, [300, 290], 5, state=20),
}


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("name", CIRCUITS)
def test_scores_are_those_of_the_circuit(tmp_path: Path, program, name, compiler):
    netlist = CIRCUITS[name]
    run = open_c(binary(netlist), write_c(binary(netlist), tmp_path, "net"), program(compiler))
    rng = np.random.default_rng(1)
    if netlist.n_state:
        bits = rng.random((4, 70, netlist.n_inputs - netlist.n_state)) < 0.5
        assert np.array_equal(run(bits), step_scores(netlist, bits))
    else:
        bits = rng.random((200, netlist.n_inputs)) < 0.5
        assert np.array_equal(run(bits), class_scores(netlist, bits))


ENCODE = """
#include "net.h"
#include <stdio.h>
int main(void)
{
    uint8_t counts[net_FEATURES] = {0, 1, 3, 4, 255, 2}, bits[net_BYTES];
    net_encode(counts, bits);
    for (int i = 0; i < net_BITS; i++)
        printf("%d", bits[i / 8] >> i % 8 & 1);
    printf(" %s", net_class_names[1]);
    return 0;
}
"""


@pytest.mark.parametrize("thresholds", [[[1], [3]], [[1, 2, 3, 4, 5, 6], [2.5, 300, 4, 4, 256, 7]]])
def test_counts_become_bits_as_they_do_here(tmp_path: Path, program, thresholds):
    code = InputCode((1, 2, 3), np.array(thresholds, np.float32))
    names = ("0", 'a "b" \\ ??/ é')
    write_c(Circuit(layered(12, [20], 2), code, names), tmp_path, "net")
    (tmp_path / "main.c").write_text(ENCODE)
    command = [program("gcc"), "-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror", "net.c", "main.c", "-o", "main"]
    subprocess.run(command, cwd=tmp_path, check=True)
    said = subprocess.run(["./main"], cwd=tmp_path, capture_output=True, check=True).stdout.decode()
    bits = "".join(str(int(bit)) for bit in code.bits(np.array([0, 1, 3, 4, 255, 2])))
    assert said == f"{bits} {names[1]}"


def test_the_written_program_finds_a_wrong_gate(tmp_path: Path):
    circuit = binary(CIRCUITS["layers"])
    paths = write_c(circuit, tmp_path, "net")
    source = paths[1].read_text()
    at = source.rindex(" & v[")
    paths[1].write_text(source[:at] + " | v[" + source[at + 5 :])
    with pytest.raises(ConfigError, match="gives another score for sample"):
        open_c(circuit, paths)


def test_the_written_program_finds_a_wrong_threshold(tmp_path: Path):
    code = InputCode((1, 2, 35), np.array([[3]]))
    circuit = Circuit(CIRCUITS["layers"], code, ("0", "1", "2", "3"))
    paths = write_c(circuit, tmp_path, "net")
    open_c(circuit, paths)
    source = paths[1].read_text()
    assert source.count("thresholds[] = {\n    3\n};") == 1
    paths[1].write_text(source.replace("thresholds[] = {\n    3\n};", "thresholds[] = {\n    4\n};"))
    with pytest.raises(ConfigError, match="net_encode gives other bits for frame 0 of counts"):
        open_c(circuit, paths)


def test_functions_stay_small(tmp_path: Path):
    write_c(binary(layered(200, [3000, 3000], 10)), tmp_path, "net")
    functions = (tmp_path / "net.c").read_text().split("\n}\n")
    assert max(text.count("\n    v[") for text in functions) == 100


def test_without_a_compiler_the_reason_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    circuit = binary(CIRCUITS["layers"])
    paths = write_c(circuit, tmp_path, "net")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ConfigError, match="there is no gcc or cc"):
        open_c(circuit, paths)


@pytest.mark.parametrize("seed", range(3))
def test_rows_are_the_same_as_those_of_the_evaluator(seed):
    netlist = simplify(layered(60, [200, 200, 190], 5, state=10, seed=seed))
    words, rows = assign_rows(to_program(netlist), netlist)
    engine = Engine(netlist)
    assert rows == engine.rows < netlist.n_nodes
    assert np.array_equal(words, engine._words)
