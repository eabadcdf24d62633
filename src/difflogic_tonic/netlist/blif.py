"""Netlists as BLIF, the text format of ABC, Yosys and VTR (Berkeley Logic Interchange Format, 1992).

The outputs are `o0`, `o1`, …, the inputs `i0`, …; a state bit is a latch of value 0 at first, whose output is `s0`, ….
Gates are truth tables over the pins that matter to them.
"""

from pathlib import Path

import numpy as np

from difflogic_tonic.errors import NetlistCorrupt
from difflogic_tonic.netlist.circuit import Netlist
from difflogic_tonic.netlist.gates import READS_A, READS_B
from difflogic_tonic.storage import storage_errors, write_text

_LINE = 100


def save_blif(netlist: Netlist, path: Path, model: str = "circuit") -> None:
    """Write `path`, whole or not at all. Classes and tau are not part of the format: outputs are bits in a row."""
    n_frame = netlist.n_inputs - netlist.n_state
    names = [f"i{k}" for k in range(n_frame)] + [f"s{k}" for k in range(netlist.n_state)]
    names += [f"n{k}" for k in range(netlist.n_gates)]
    lines = [f".model {model}"]
    lines += _wrapped(".inputs", names[:n_frame]) + _wrapped(".outputs", [f"o{k}" for k in range(netlist.n_outputs)])
    lines += [f".latch {names[node]} s{k} 0" for k, node in enumerate(netlist.next_state.tolist())]
    columns = (netlist.gates.tolist(), netlist.a.tolist(), netlist.b.tolist())
    for k, (gate, a, b) in enumerate(zip(*columns, strict=True)):
        lines += [" ".join([".names", *(names[pin] for pin in _pins(gate, a, b)), f"n{k}"]), *_COVERS[gate]]
    for k, node in enumerate(netlist.outputs.tolist()):
        lines += [f".names {names[node]} o{k}", "1 1"]
    write_text(path, "\n".join([*lines, ".end"]) + "\n")


def load_blif(path: Path) -> Netlist:
    """Read a file of `save_blif`: gates of at most two inputs in any order, latches that start at 0. One class.

    NetlistCorrupt where it is missing or has anything else.
    """
    try:
        with storage_errors(path):
            text = path.read_text()
        return _Reader(text).netlist()
    except FileNotFoundError:
        raise NetlistCorrupt(f"no netlist at {path}; expected a .blif file written by an export") from None
    except (ValueError, KeyError, IndexError) as error:
        raise NetlistCorrupt(f"{path} is not BLIF of two-input gates: {error}; export it again") from None


def _pins(gate: int, a: int, b: int) -> list[int]:
    return [pin for pin, reads in ((a, READS_A[gate]), (b, READS_B[gate])) if reads]


def _cover(gate: int) -> list[str]:
    """The lines under `.names`: the inputs for which the output is 1."""
    values = {(a, b): gate >> (3 - 2 * a - b) & 1 for a in (0, 1) for b in (0, 1)}
    rows = []
    for (a, b), value in values.items():
        shown = f"{a if READS_A[gate] else ''}{b if READS_B[gate] else ''}"
        row = f"{shown} 1" if shown else "1"
        if value and row not in rows:
            rows.append(row)
    return rows


_COVERS = [_cover(gate) for gate in range(16)]


def _wrapped(keyword: str, names: list[str]) -> list[str]:
    lines, line = [], keyword
    for name in names:
        if len(line) + len(name) > _LINE:
            lines.append(line + " \\")
            line = ""
        line += f" {name}"
    return [*lines, line]


class _Reader:
    def __init__(self, text: str) -> None:
        self.inputs: list[str] = []
        self.outputs: list[str] = []
        self.latches: list[tuple[str, str]] = []
        self.tables: list[tuple[list[str], list[str]]] = []
        for line in text.replace("\\\n", " ").splitlines():
            words = line.split("#")[0].split()
            if words:
                self._read(words)

    def _read(self, words: list[str]) -> None:
        match words[0]:
            case ".inputs":
                self.inputs += words[1:]
            case ".outputs":
                self.outputs += words[1:]
            case ".names":
                self.tables.append((words[1:], []))
            case ".latch":
                if words[-1] != "0":
                    raise ValueError(f"a latch that does not start at 0: {' '.join(words)}")
                self.latches.append((words[1], words[2]))
            case ".model" | ".end":
                pass
            case word if word.startswith("."):
                raise ValueError(f"{word} is not known")
            case _:
                self.tables[-1][1].append(" ".join(words))

    def netlist(self) -> Netlist:
        nodes = {name: number for number, name in enumerate([*self.inputs, *(after for _, after in self.latches)])}
        n_inputs = len(nodes)
        columns: list[tuple[int, int, int]] = []
        waiting = self.tables
        while waiting:
            later = []
            for names, rows in waiting:
                *pins, name = names
                if all(pin in nodes for pin in pins):
                    columns.append((_gate(len(pins), rows), *_two([nodes[pin] for pin in pins])))
                    nodes[name] = n_inputs + len(columns) - 1
                else:
                    later.append((names, rows))
            if len(later) == len(waiting):
                raise ValueError(f"{later[0][0][-1]} reads what nothing gives, or itself")
            waiting = later
        gates, a, b = np.array(columns, np.int64).reshape(-1, 3).T
        outputs = np.array([nodes[name] for name in self.outputs], np.int64)
        next_state = np.array([nodes[before] for before, _ in self.latches], np.int64)
        return Netlist(n_inputs, gates, a, b, outputs, 1, next_state=next_state)


def _two(pins: list[int]) -> tuple[int, int]:
    return (pins[0], pins[-1]) if pins else (0, 0)


def _gate(pins: int, rows: list[str]) -> int:
    """Truth table of at most two inputs; a table of one input ignores the second."""
    if pins > 2:
        raise ValueError(f"a gate of {pins} inputs")
    gate = 0
    for a in (0, 1):
        for b in (0, 1):
            given = f"{a}{b}"[:pins]
            ones = any(all(p in ("-", g) for p, g in zip(row.split()[0], given, strict=True)) for row in rows if pins)
            gate = 2 * gate + int(ones or (not pins and "1" in rows))
    if any(row.split()[-1] != "1" for row in rows):
        raise ValueError(f"a cover of zeros: {rows}")
    return gate
