"""The same function of the same inputs with fewer gates.

One pass from the inputs to the outputs rewrites every gate and looks it up among those made so far; it needs no second
pass, for a gate is finished before its readers are looked at. The rules, all of them cases of
"a gate of functions of the same two nodes is one gate of these nodes":

- a constant or repeated input; wires and inverters vanish into their readers, gates that ignore an input become wires;
- a reconvergence: g(x, h(x, z)), g(h(x, z), k(x, z)) and their mirror images read x and z directly;
- structural hashing up to exchange of the inputs and complement of gate and inputs: no two gates have the same inputs
  and the same or opposite output.

While this runs a signal is a *literal*: twice the number of a node, plus one if inverted. Node 0 is the constant 0,
then come the inputs. A gate node gives 0 for inputs (0, 0) and its first input is the lower node: each function has one
spelling. What no output reads is dropped at the end, and gates are numbered by level and type.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from difflogic_tonic.netlist.circuit import Netlist
from difflogic_tonic.netlist.gates import COMPOSE, FALSE, IS_REAL, NOT_A, NOT_B, READS_A, TRUE, A, B
from difflogic_tonic.netlist.graph import levels_of, live_nodes

PIN_A = np.array([A, NOT_A], np.uint8)
"""The first input as a gate of both, by whether it is inverted."""

PIN_B = np.array([B, NOT_B], np.uint8)

Columns = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Gates, first and second nodes, equally long."""


def simplify(netlist: Netlist) -> Netlist:
    """An equivalent circuit: every output and bit of the next state, at its place, is the same function of the inputs.

    All gates need both inputs, are live and differ from each other (also from each other's complement), except for at
    most one constant of each kind in front and inverters at the end, which only outputs read. Simplifying the result
    again gives the result itself. Which inputs there are does not change, used or not. Time is about n log n.
    """
    nodes = _Nodes.of_inputs(netlist.n_inputs, netlist.n_gates)
    literals = np.empty(netlist.n_nodes, np.int64)
    literals[: netlist.n_inputs] = 2 * np.arange(1, netlist.n_inputs + 1)
    for rows in netlist.batches:
        gates, x, y = netlist.gates[rows], literals[netlist.a[rows]], literals[netlist.b[rows]]
        gates = COMPOSE[gates, PIN_A[x & 1], PIN_B[y & 1]]
        literals[netlist.n_inputs + rows] = nodes.find_or_add(*_rewrite(nodes, gates, x >> 1, y >> 1))
    return _emit(netlist, *_renumber(nodes, literals[netlist.roots]))


@dataclass
class _Nodes:
    """The gates made so far: node i reads first[i] and second[i], which are -1 for the constant and the inputs."""

    n_inputs: int
    end: int
    gates: NDArray[np.uint8]
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    keys: NDArray[np.uint64]
    """Sorted; `key_nodes` are their nodes."""
    key_nodes: NDArray[np.int64]

    @classmethod
    def of_inputs(cls, n_inputs: int, capacity: int) -> "_Nodes":
        size = 1 + n_inputs + capacity
        pins = np.full(size, -1)
        none = np.zeros(0, np.int64)
        return cls(n_inputs, 1 + n_inputs, np.zeros(size, np.uint8), pins, pins.copy(), none.astype(np.uint64), none)

    def find_or_add(self, gates: np.ndarray, x: np.ndarray, y: np.ndarray) -> NDArray[np.int64]:
        """Literals of rewritten gates, after adding those that were not there yet."""
        literals = np.where(READS_A[gates], 2 * x + (gates == NOT_A), 2 * y + (gates == NOT_B))
        literals = np.where((gates == FALSE) | (gates == TRUE), gates == TRUE, literals)
        real = np.flatnonzero(IS_REAL[gates])
        gates, x, y, inverted = _one_spelling(gates[real], x[real], y[real])
        keys, row, inverse = np.unique(_key(gates, x, y), return_index=True, return_inverse=True)
        place = np.searchsorted(self.keys, keys)
        known = np.zeros(len(keys), bool)
        inside = place < len(self.keys)
        known[inside] = self.keys[place[inside]] == keys[inside]
        found = np.empty(len(keys), np.int64)
        found[known] = self.key_nodes[place[known]]
        new = row[~known]
        found[~known] = self._add(gates[new], x[new], y[new])
        self.keys = np.insert(self.keys, place[~known], keys[~known])
        self.key_nodes = np.insert(self.key_nodes, place[~known], found[~known])
        literals[real] = 2 * found[inverse] + inverted
        return literals

    def _add(self, gates: np.ndarray, x: np.ndarray, y: np.ndarray) -> NDArray[np.int64]:
        added = np.arange(self.end, self.end + len(gates))
        self.gates[added], self.first[added], self.second[added] = gates, x, y
        self.end += len(gates)
        return added


def _one_spelling(gates: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, ...]:
    """Gates with x < y and output 0 for inputs (0, 0), and whether that is the complement of what was given."""
    swapped = x > y
    gates = np.where(swapped, COMPOSE[gates, B, A], gates)
    inverted = gates >> 3
    return np.where(inverted, 15 - gates, gates), np.minimum(x, y), np.maximum(x, y), inverted


def _key(gates: np.ndarray, x: np.ndarray, y: np.ndarray) -> NDArray[np.uint64]:
    """Type in bits 60 to 62, then 30 bits for each node."""
    return (gates.astype(np.uint64) << np.uint64(60)) | (x << 30 | y).astype(np.uint64)


def _rewrite(nodes: _Nodes, gates: np.ndarray, x: np.ndarray, y: np.ndarray) -> Columns:
    """Apply the rules to new gates of finished nodes.

    Once is enough: a gate then reads the two nodes of a finished gate, to which no rule applied any more.
    """
    gates = np.where(x == 0, COMPOSE[gates, FALSE, B], gates)
    gates = np.where(y == 0, COMPOSE[gates, A, FALSE], gates)
    x1, x2, y1, y2 = nodes.first[x], nodes.second[x], nodes.first[y], nodes.second[y]
    same = x == y
    x_feeds_y = (x == y1) | (x == y2)
    y_feeds_x = (y == x1) | (y == x2)
    shared = (x1 == y1) & (x2 == y2) & (x1 >= 0) & ~same
    # what x and y are, as gates of the two nodes that are read from now on
    of_x = np.select([same, x_feeds_y], [A, np.where(x == y1, A, B)], nodes.gates[x])
    of_y = np.select([same, y_feeds_x], [A, np.where(y == x1, A, B)], nodes.gates[y])
    through_x = y_feeds_x | shared
    return (
        np.where(same | x_feeds_y | through_x, COMPOSE[gates, of_x, of_y], gates),
        np.select([through_x, x_feeds_y], [x1, y1], x),
        np.select([through_x, x_feeds_y], [x2, y2], y),
    )


def _renumber(nodes: _Nodes, outputs: np.ndarray) -> tuple[list[Columns], NDArray[np.int64]]:
    """The live gates as columns for each level, sorted by type and inputs, and the outputs as literals of new nodes."""
    base = 1 + nodes.n_inputs
    gates, first, second = (column[base : nodes.end] for column in (nodes.gates, nodes.first, nodes.second))
    live = np.flatnonzero(live_nodes(base, gates, first, second, outputs >> 1)[base:])
    levels = np.zeros(nodes.end, np.int64)
    levels[base:] = levels_of(base, first, second)
    order = live[np.argsort(levels[base + live], kind="stable")]
    numbers = np.full(nodes.end, -1)
    numbers[:base] = np.arange(base)
    columns, end = [], base
    for rows in np.split(order, np.flatnonzero(np.diff(levels[base + order])) + 1):
        gate, x, y, inverted = _one_spelling(gates[rows], numbers[first[rows]], numbers[second[rows]])
        assert not inverted.any(), "exchanging the inputs changed f(0, 0)"
        by_key = np.argsort(_key(gate, x, y))
        numbers[base + rows[by_key]] = np.arange(end, end + len(rows))
        columns.append((gate[by_key], x[by_key], y[by_key]))
        end += len(rows)
    return columns, 2 * numbers[outputs >> 1] + (outputs & 1)


def _emit(netlist: Netlist, levels: list[Columns], outputs: NDArray[np.int64]) -> Netlist:
    """Back from literals to gates: constants first; a gate read inverted by outputs only is its complement."""
    n_inputs = netlist.n_inputs
    base = 1 + n_inputs
    gates, first, second = (np.concatenate(parts) for parts in zip(*levels, strict=True))
    read = np.zeros((base + len(gates), 2), bool)
    read[outputs >> 1, outputs & 1] = True
    constants = np.flatnonzero(read[0])
    flip = read[:, 1] & ~read[:, 0]
    flip[:base] = False
    inverted = np.flatnonzero(read[1:, 1] & ~flip[1:]) + 1
    gates = COMPOSE[gates, PIN_A[flip[first].astype(int)], PIN_B[flip[second].astype(int)]]
    gates = np.where(flip[base:], 15 - gates, gates)
    place = np.arange(base + len(gates)) - 1
    place[base:] += len(constants)
    end = n_inputs + len(constants) + len(gates)
    of_literal = np.repeat(place, 2)
    of_literal[:2] = n_inputs + np.cumsum(read[0]) - 1
    of_literal[2 * inverted + 1] = end + np.arange(len(inverted))
    zeros = np.zeros(len(constants), np.int64)
    class_outputs, next_state = np.split(of_literal[outputs], [netlist.n_outputs])
    return Netlist(
        n_inputs,
        gates=np.concatenate((constants * TRUE, gates, np.full(len(inverted), NOT_A))),
        a=np.concatenate((zeros, place[first], place[inverted])),
        b=np.concatenate((zeros, place[second], place[inverted])),
        outputs=class_outputs,
        classes=netlist.classes,
        tau=netlist.tau,
        next_state=next_state,
    )
