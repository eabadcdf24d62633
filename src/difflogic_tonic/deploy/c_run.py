"""The exported C compiled and called."""

import ctypes
import subprocess
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from difflogic_tonic.deploy.runner import Runner
from difflogic_tonic.errors import ConfigError
from difflogic_tonic.netlist import Circuit, pack_samples
from difflogic_tonic.storage.compiled import find_compiler

FLAGS = ("-std=c99", "-O1", "-Wall", "-Wextra", "-pedantic", "-Werror")


def open_c(circuit: Circuit, paths: list[Path], compiler: str | None = None) -> Runner:
    """Compile the files of `write_c`, run the program that checks them, and load the functions.

    ConfigError where there is no compiler, or it refuses the files, or the program finds a difference.
    """
    compiler = compiler or find_compiler()
    if compiler is None:
        raise ConfigError("format c is checked by compiling it, and there is no gcc or cc on the PATH")
    header, source, test, _ = paths
    binary, library = header.with_suffix(".test"), header.with_suffix(".so")
    _run([compiler, *FLAGS, "-fPIC", "-shared", str(source), "-o", str(library)])
    _run([compiler, *FLAGS, str(source), str(test), "-o", str(binary)])
    _run([str(binary)])
    return _Loaded(ctypes.CDLL(str(library)), header.stem, circuit)


class _Loaded:
    def __init__(self, library: ctypes.CDLL, name: str, circuit: Circuit) -> None:
        self.netlist = circuit.netlist
        self.by_word = library[f"{name}_64"]
        self.batch = None if self.netlist.n_state else library[f"{name}_batch"]

    def __call__(self, bits: NDArray[np.bool_]) -> NDArray[np.int32]:
        if self.batch is None:
            return self._steps(bits)
        octets = np.packbits(bits, axis=1, bitorder="little")
        scores = np.empty((len(bits), self.netlist.classes), np.uint32)
        self.batch(ctypes.c_void_p(octets.ctypes.data), ctypes.c_size_t(len(bits)), ctypes.c_void_p(scores.ctypes.data))
        return scores.astype(np.int32)

    def _steps(self, bits: NDArray[np.bool_]) -> NDArray[np.int32]:
        steps, n = bits.shape[:2]
        words = -(-n // 64)
        scores = np.empty((steps, words * 64, self.netlist.classes), np.uint32)
        states = np.zeros((words, self.netlist.n_state), np.uint64)
        for t, frames in enumerate(bits):
            columns = np.ascontiguousarray(pack_samples(frames).T)
            for word in range(words):
                rows = scores[t, 64 * word :]
                self.by_word(*(ctypes.c_void_p(part.ctypes.data) for part in (columns[word], states[word], rows)))
        return scores[:, :n].astype(np.int32)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr + done.stdout).strip().splitlines() or [f"exit code {done.returncode}"]
        raise ConfigError(f"{Path(command[0]).name} refuses the exported C: {said[0]}")
