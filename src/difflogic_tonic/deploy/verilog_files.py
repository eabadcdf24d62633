"""A circuit as a folder of Verilog files, and that folder run in a simulator."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from difflogic_tonic.deploy.pipeline import pipeline
from difflogic_tonic.deploy.testbench import bench_module, vector_files
from difflogic_tonic.deploy.verilog import core_module
from difflogic_tonic.deploy.verilog_top import top_module
from difflogic_tonic.errors import UserError
from difflogic_tonic.netlist import Circuit, Headed, Netlist, class_scores, simplify, step_scores, with_head
from difflogic_tonic.storage import write_text

SEQUENCE, SEQUENCES = 4, 25
"""Frames and number of the random sequences that the files of a recurrent network are tested on."""


def simplified_with_head(netlist: Netlist) -> Headed:
    """The smallest circuit from the bits of a frame to the class and the scores."""
    headed = with_head(simplify(netlist))
    return Headed(simplify(headed.netlist), headed.classes, headed.index_bits, headed.score_bits)


def write_verilog(circuit: Circuit, folder: Path, name: str, every: int = 0) -> list[Path]:
    """`NAME.v` around `NAME_core.v`, and `NAME_tb.v` with random frames and what the netlist makes of them.

    `every`: levels of gates between registers, 0 for none.
    """
    headed = simplified_with_head(circuit.netlist)
    bits = np.random.default_rng(0).integers(0, 2, (SEQUENCES * SEQUENCE, circuit.code.n_bits)).astype(bool)
    if headed.netlist.n_state:
        bits = bits.reshape(SEQUENCE, SEQUENCES, -1)
    has_sums = circuit.readout == "mean"
    texts = {
        f"{name}.v": top_module(headed, name, every, has_sums),
        f"{name}_core.v": core_module(headed, name, every),
        **_bench(headed, name, circuit, bits, pipeline(headed.netlist, every).latency),
    }
    return _write(folder, texts)


def open_verilog(circuit: Circuit, paths: list[Path]) -> "Simulation":
    """What `write_verilog` wrote, behind a testbench of its own. UserError where Icarus Verilog is not installed."""
    if shutil.which("iverilog") is None:
        raise UserError("iverilog is not installed; install it (Debian, Ubuntu: sudo apt-get install iverilog)")
    return Simulation(circuit, paths[0].parent, paths[0].stem)


class Simulation:
    """Bits to scores by Icarus Verilog; -1, which no network gives, where the circuit names another class."""

    def __init__(self, circuit: Circuit, folder: Path, name: str, word: int = 32) -> None:
        self.circuit = circuit
        self.folder = folder
        self.name = name
        self.word = word
        netlist = circuit.netlist
        score_bits = (netlist.n_outputs // netlist.classes).bit_length()
        index_bits = max(1, (netlist.classes - 1).bit_length())
        # of the circuit only what the testbench has to know
        self.headed = Headed(netlist, netlist.classes, index_bits, score_bits)

    def __call__(self, bits: NDArray[np.bool_]) -> NDArray[np.int32]:
        """bool[N, n_bits] to int32[N, classes]; [T, N, n_bits] to [T, N, classes]. UserError if it fails."""
        _write(self.folder, _bench(self.headed, self.name, self.circuit, bits, latency=1000))
        name, bench = self.name, f"{self.name}_tb"
        sources = [f"{name}.v", f"{name}_core.v", f"{bench}.v"]
        self._run("iverilog", "-g2005", "-o", f"{bench}.vvp", "-s", bench, f"-P{bench}.WORD={self.word}", *sources)
        printed = self._run("vvp", "-N", f"{bench}.vvp", "+results=results.txt")
        frames = int(np.prod(bits.shape[:-1]))
        lines = (self.folder / "results.txt").read_text().split()
        if f"PASS {frames}" not in printed and len(lines) != frames:
            raise UserError(f"simulation of {self.folder / name}.v: {printed.strip().splitlines()[-1]}")
        width, classes = self.headed.score_bits, self.headed.classes
        index = self.headed.index_bits
        values = [int(line, 16) for line in lines]
        found = [[value >> index + k * width & (1 << width) - 1 for k in range(classes)] for value in values]
        scores = _by_step(np.array(found), bits)
        named = _by_step(np.array([[value & (1 << index) - 1] for value in values]), bits)[..., 0]
        deciding = scores.cumsum(0) if self.circuit.readout == "mean" else scores
        scores[named != deciding.argmax(-1)] = -1
        return scores.astype(np.int32)

    def _run(self, *command: str) -> str:
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise UserError(f"{command[0]} failed on {self.folder / self.name}.v: {_first_line(done.stderr)}")
        return done.stdout


def _first_line(said: str) -> str:
    return (said.strip().splitlines() or ["no reason given"])[0][:300]


def _bench(headed: Headed, name: str, circuit: Circuit, bits: np.ndarray, latency: int) -> dict[str, str]:
    """The testbench and its vectors for frames [N, n_bits] or sequences [T, N, n_bits]."""
    longest = len(bits) + 1 if circuit.readout == "mean" else None
    if not circuit.netlist.n_state:
        scores, firsts = class_scores(circuit.netlist, bits), None
        deciding = scores
    else:
        by_step = step_scores(circuit.netlist, bits)
        scores, bits = _by_sample(by_step), _by_sample(bits)
        firsts = _by_sample(np.arange(len(by_step))[:, None, None] == np.zeros((1, by_step.shape[1], 1)))[:, 0]
        deciding = scores if longest is None else _by_sample(by_step.cumsum(0))
    vectors = vector_files(headed, name, bits, deciding.argmax(1), scores, firsts)
    return {f"{name}_tb.v": bench_module(headed, name, len(bits), latency, longest), **vectors}


def _by_sample(values: np.ndarray) -> np.ndarray:
    """[T, N, …] to [N * T, …]: the frames of a sequence after each other."""
    return values.swapaxes(0, 1).reshape(-1, *values.shape[2:])


def _by_step(values: np.ndarray, like: np.ndarray) -> np.ndarray:
    """[N * T, …] back to [T, N, …] where `like` is [T, N, …], else as it is."""
    return values if like.ndim == 2 else values.reshape(like.shape[1], like.shape[0], -1).swapaxes(0, 1)


def _write(folder: Path, texts: dict[str, str]) -> list[Path]:
    for name, text in texts.items():
        write_text(folder / name, text)
    return [folder / name for name in texts]
