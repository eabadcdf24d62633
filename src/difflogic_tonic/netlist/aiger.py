"""Netlists as AIGER, the binary and-inverter format of model checkers, ABC and Yosys.

After http://fmv.jku.at/aiger/FORMAT: a signal is a literal, twice its variable, plus one if inverted; 0 and 1 are the
constants. Variables are the inputs, then the latches, then the gates, each of which is an AND of two smaller literals.
Latches start at 0. Signals are named `i0` …, `o0` … and `s0` … as in the BLIF form.
"""

from pathlib import Path

import numpy as np

from difflogic_tonic.errors import NetlistCorrupt
from difflogic_tonic.netlist.circuit import Netlist
from difflogic_tonic.netlist.gates import FALSE, NOT_A, TRUE, A
from difflogic_tonic.storage import atomic_write, storage_errors

_AND_PINS = {
    1: (0, 0, 0),
    2: (0, 1, 0),
    4: (1, 0, 0),
    8: (1, 1, 0),
    14: (0, 0, 1),
    13: (0, 1, 1),
    11: (1, 0, 1),
    7: (1, 1, 1),
}
"""By gate: whether to invert a, b and the result of the AND."""

_XOR, _XNOR = 6, 9
_LITERALS = {FALSE: 0, TRUE: 1}
_BY_INVERSION = {(0, 0): 1, (0, 1): 2, (1, 0): 4, (1, 1): 8}


class _Ands:
    """ANDs as they are added; `rows` has both literals of each, the larger one first."""

    def __init__(self, first_variable: int) -> None:
        self.first = first_variable
        self.rows: list[tuple[int, int]] = []

    def add(self, x: int, y: int) -> int:
        """x and y; what needs no gate gets none."""
        if 0 in (x, y) or x == y ^ 1:
            return 0
        if x == 1 or y == 1 or x == y:
            return max(x, y) if 1 in (x, y) else x
        self.rows.append((x, y) if x >= y else (y, x))
        return 2 * (self.first + len(self.rows) - 1)

    def gate(self, gate: int, a: int, b: int) -> int:
        """Literal of a gate of literals a and b."""
        if gate in _AND_PINS:
            invert_a, invert_b, invert = _AND_PINS[gate]
            return self.add(a ^ invert_a, b ^ invert_b) ^ invert
        if gate in (_XOR, _XNOR):
            either = self.add(self.add(a, b ^ 1) ^ 1, self.add(a ^ 1, b) ^ 1) ^ 1
            return either ^ (gate == _XNOR)
        if gate in _LITERALS:
            return _LITERALS[gate]
        return {A: a, NOT_A: a ^ 1}.get(gate, b if gate == 5 else b ^ 1)


def save_aiger(netlist: Netlist, path: Path) -> None:
    """Write the binary form (`.aig`), whole or not at all. Classes and tau are not part of the format.

    An XOR becomes three ANDs, wires and inverters none.
    """
    literals = [2 * (1 + node) for node in range(netlist.n_inputs)]
    ands = _Ands(netlist.n_inputs + 1)
    for gate, a, b in zip(netlist.gates.tolist(), netlist.a.tolist(), netlist.b.tolist(), strict=True):
        literals.append(ands.gate(gate, literals[a], literals[b]))
    n_frame, n_ands = netlist.n_inputs - netlist.n_state, len(ands.rows)
    head = [netlist.n_inputs + n_ands, n_frame, netlist.n_state, netlist.n_outputs, n_ands]
    lines = ["aig " + " ".join(map(str, head))]
    lines += [str(literals[node]) for node in (*netlist.next_state.tolist(), *netlist.outputs.tolist())]
    body = bytearray()
    for number, (larger, smaller) in enumerate(ands.rows):
        _append_delta(body, 2 * (ands.first + number) - larger)
        _append_delta(body, larger - smaller)
    names = [f"i{k} i{k}" for k in range(n_frame)] + [f"l{k} s{k}" for k in range(netlist.n_state)]
    names += [f"o{k} o{k}" for k in range(netlist.n_outputs)]
    content = "\n".join([*lines, ""]).encode() + bytes(body) + "\n".join([*names, ""]).encode()
    with atomic_write(path, len(content)) as partial:
        partial.write_bytes(content)


def load_aiger(path: Path) -> Netlist:
    """Read a binary AIGER file with latches that start at 0. One class. NetlistCorrupt where it is anything else."""
    try:
        with storage_errors(path):
            content = path.read_bytes()
        return _read(content)
    except FileNotFoundError:
        raise NetlistCorrupt(f"no netlist at {path}; expected an .aig file written by an export") from None
    except (ValueError, IndexError) as error:
        raise NetlistCorrupt(f"{path} is not a binary AIGER file: {error}; export it again") from None


def _read(content: bytes) -> Netlist:
    head, _, rest = content.partition(b"\n")
    kind, *sizes = head.split()
    if kind != b"aig" or len(sizes) != 5:
        raise ValueError(f"begins with {head[:20]!r}")
    _, n_inputs, n_latches, n_outputs, n_ands = map(int, sizes)
    *lines, rest = rest.split(b"\n", n_latches + n_outputs)
    roots = [int(line) for line in lines]
    n_nodes = n_inputs + n_latches
    columns = np.empty((n_ands, 3), np.int64)
    at = 0
    for number in range(n_ands):
        first, at = _delta(rest, at)
        second, at = _delta(rest, at)
        larger = 2 * (n_nodes + 1 + number) - first
        columns[number] = _BY_INVERSION[larger & 1, (larger - second) & 1], larger // 2 - 1, (larger - second) // 2 - 1
    if columns[:, 1:].min(initial=0) < 0:
        raise ValueError("an AND of a constant")
    # constants and inverters become gates of their own
    extra = [_wire(literal) for literal in roots]
    gates, a, b = np.concatenate((columns, np.array(extra, np.int64).reshape(-1, 3))).T
    nodes = n_nodes + n_ands + np.arange(len(roots))
    state, outputs = np.split(nodes, [n_latches])
    return Netlist(n_nodes, gates, a, b, outputs, 1, next_state=state)


def _wire(literal: int) -> tuple[int, int, int]:
    if literal < 2:
        return (TRUE if literal else FALSE, 0, 0)
    node = literal // 2 - 1
    return (NOT_A if literal & 1 else A, node, node)


def _append_delta(body: bytearray, delta: int) -> None:
    """Seven bits to a byte, the lowest first; the highest bit says that more follow."""
    while delta > 127:
        body.append(delta & 127 | 128)
        delta >>= 7
    body.append(delta)


def _delta(content: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while content[at] & 128:
        value |= (content[at] & 127) << shift
        shift += 7
        at += 1
    return value | content[at] << shift, at + 1
