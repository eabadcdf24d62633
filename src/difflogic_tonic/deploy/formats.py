"""The forms in which a circuit leaves Python."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from difflogic_tonic.deploy.verilog_files import open_verilog, write_verilog
from difflogic_tonic.netlist import Circuit, Netlist, class_scores, load_circuit, save_circuit, step_scores

Runner = Callable[[NDArray[np.bool_]], NDArray[np.int32]]
"""Bits [N, n_bits], or [T, N, n_bits] of a circuit with a state, to scores [N, classes], or [T, N, classes]."""


@dataclass(frozen=True)
class Format:
    """One form.

    write   writes the files of a circuit into a folder that exists, under names that begin with the given one
    open    reads (compiles, loads) those files again, and returns what runs them
    needs   programs without which `open` cannot run them
    limit   `verify` stops after so many samples, where running them takes long; None: the whole test set
    """

    write: Callable[[Circuit, Path, str], list[Path]]
    open: Callable[[Circuit, list[Path]], Runner]
    limit: int | None = None
    needs: tuple[str, ...] = ()


def run_netlist(netlist: Netlist) -> Runner:
    """What the reference evaluator says."""
    if netlist.n_state:
        return lambda bits: step_scores(netlist, bits)
    return lambda bits: class_scores(netlist, bits)


def _write_netlist(circuit: Circuit, folder: Path, name: str) -> list[Path]:
    path = folder / f"{name}.json"
    save_circuit(circuit, path)
    return [path]


def _open_netlist(circuit: Circuit, paths: list[Path]) -> Runner:
    return run_netlist(load_circuit(paths[0]).netlist)


FORMATS: dict[str, Format] = {
    "netlist": Format(_write_netlist, _open_netlist),
    "verilog": Format(write_verilog, open_verilog, limit=1000, needs=("iverilog",)),
}
"""Name → form. The help of each is in `arguments.deployment.FORMATS`, whose names are the same."""
