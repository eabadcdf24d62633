"""The forms in which a circuit leaves Python."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from difflogic_tonic.deploy.c_export import write_c
from difflogic_tonic.deploy.c_run import open_c
from difflogic_tonic.deploy.gate_files import open_aiger, open_blif, write_aiger, write_blif
from difflogic_tonic.deploy.runner import Runner
from difflogic_tonic.deploy.verilog_files import open_verilog, write_verilog
from difflogic_tonic.netlist import Circuit, Engine, Netlist, class_scores, load_circuit, save_circuit, step_scores


@dataclass(frozen=True)
class Format:
    """One form.

    write   writes the files of a circuit into a folder that exists, under names that begin with the given one
    open    reads (compiles, loads) those files again, and returns what runs them
    needs   programs without which `open` cannot run them; of "a or b" one is enough
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
    "c": Format(write_c, open_c, needs=("gcc or cc",)),
    "blif": Format(write_blif, open_blif),
    "aiger": Format(write_aiger, open_aiger),
    "verilog": Format(write_verilog, open_verilog, limit=1000, needs=("iverilog",)),
}
"""Name → form. The help of each is in `arguments.deployment.FORMATS`, whose names are the same."""


def _open_evaluator(circuit: Circuit, paths: list[Path]) -> Runner:
    engine = Engine(circuit.netlist)
    return engine.step_scores if circuit.netlist.n_state else engine.scores


CHECKED: dict[str, Format] = {"evaluator": Format(lambda circuit, folder, name: [], _open_evaluator), **FORMATS}
"""What `verify` compares: besides the forms the evaluator, which writes no files."""
