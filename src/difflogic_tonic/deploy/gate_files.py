"""BLIF and AIGER: the whole network as gates, its head included, so that other tools read what the network answers."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from difflogic_tonic.deploy.runner import Runner
from difflogic_tonic.netlist import Circuit, Headed, Netlist, evaluate, simplify, step, with_head
from difflogic_tonic.netlist.aiger import load_aiger, save_aiger
from difflogic_tonic.netlist.blif import load_blif, save_blif


def write_blif(circuit: Circuit, folder: Path, name: str) -> list[Path]:
    """NAME.blif; its outputs are the bits of the class, then those of each score, the lowest first."""
    path = folder / f"{name}.blif"
    save_blif(simplify(with_head(simplify(circuit.netlist)).netlist), path, name)
    return [path]


def write_aiger(circuit: Circuit, folder: Path, name: str) -> list[Path]:
    """NAME.aig, with the outputs of the BLIF form."""
    path = folder / f"{name}.aig"
    save_aiger(simplify(with_head(simplify(circuit.netlist)).netlist), path)
    return [path]


def open_blif(circuit: Circuit, paths: list[Path]) -> Runner:
    return _runner(circuit, load_blif(paths[0]))


def open_aiger(circuit: Circuit, paths: list[Path]) -> Runner:
    return _runner(circuit, load_aiger(paths[0]))


def _runner(circuit: Circuit, gates: Netlist) -> Runner:
    head = with_head(circuit.netlist)

    def run(bits: NDArray[np.bool_]) -> NDArray[np.int32]:
        if not circuit.netlist.n_state:
            return _scores(head, evaluate(gates, bits))
        found, state = [], None
        for frames in bits:
            outputs, state = step(gates, frames, state)
            found.append(_scores(head, outputs))
        return np.stack(found)

    return run


def _scores(head: Headed, outputs: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Scores of the outputs; where the class is not the first with the highest score, -1, which no network gives."""
    classes, scores = head.read(outputs)
    scores[classes != scores.argmax(1)] = -1
    return scores.astype(np.int32)
