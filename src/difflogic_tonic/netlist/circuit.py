"""Gates and wires as flat arrays."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from difflogic_tonic.netlist.graph import levels_of

COLUMNS = ("gates", "a", "b", "outputs", "next_state")

MAX_NODES = 2**30
"""So that a gate type and two node numbers fit one 64-bit key."""


@dataclass(frozen=True, eq=False)
class Netlist:
    """A circuit of two-input gates whose outputs are summed by class, and which may hand a state from step to step.

    Nodes are numbered: the inputs 0 … n_inputs - 1, then the gates in the order of the arrays. Every gate reads nodes
    before it, so the arrays are a topological order.

    gates       uint8[n]   0 … 15, see `GATE_NAMES`; constants, wires and inverters are gates too
    a, b        int32[n]   nodes read; both are given even where the gate ignores them
    outputs     int32[m]   nodes; class k owns the k-th run of m / classes of them
    tau         the score of a class is its number of ones; its logit is score / tau
    next_state  int32[s]   nodes whose values are the last s inputs at the next step; empty: no state. State starts at 0

    The arrays are private copies and read-only. ValueError, one line, where they are not such a circuit.
    """

    n_inputs: int
    gates: np.ndarray
    a: np.ndarray
    b: np.ndarray
    outputs: np.ndarray
    classes: int
    tau: float = 1.0
    next_state: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))

    def __post_init__(self) -> None:
        for name in COLUMNS:
            object.__setattr__(self, name, _checked_column(name, getattr(self, name)))
        _check_circuit(self)
        for name in COLUMNS:
            column = getattr(self, name).astype(np.uint8 if name == "gates" else np.int32)
            column.flags.writeable = False
            object.__setattr__(self, name, column)

    @property
    def n_gates(self) -> int:
        """Length of the gate arrays: constants, wires and inverters included."""
        return len(self.gates)

    @property
    def n_nodes(self) -> int:
        return self.n_inputs + self.n_gates

    @property
    def n_outputs(self) -> int:
        return len(self.outputs)

    @property
    def n_state(self) -> int:
        """State bits; so many of the inputs, the last ones, are not given from outside."""
        return len(self.next_state)

    @property
    def roots(self) -> NDArray[np.int32]:
        """The nodes that matter: outputs, then next state."""
        return np.concatenate((self.outputs, self.next_state))

    @cached_property
    def batches(self) -> list[NDArray[np.int64]]:
        """Rows of the gate arrays, in groups that depend on earlier groups and inputs only."""
        levels = levels_of(self.n_inputs, self.a, self.b)
        order = np.argsort(levels, kind="stable")
        return np.split(order, np.cumsum(np.bincount(levels[order])[1:])[:-1]) if self.n_gates else []

    def equals(self, other: "Netlist") -> bool:
        """Whether every number is the same. Circuits may compute the same function and not be equal."""
        return (self.n_inputs, self.classes, self.tau) == (other.n_inputs, other.classes, other.tau) and all(
            np.array_equal(getattr(self, name), getattr(other, name)) for name in COLUMNS
        )


def netlist_from_layers(
    n_inputs: int,
    layers: Iterable[tuple[ArrayLike, ArrayLike, ArrayLike]],
    classes: int,
    tau: float = 1.0,
    n_state: int = 0,
) -> Netlist:
    """The circuit of a dense logic network: one (gates, a, b) of equally long integer arrays per layer.

    `a` and `b` number the neurons of the layer before, or the inputs for the first layer; the outputs are the last
    layer, or the inputs where there is no layer. The first `n_state` of the last layer are not outputs but the next
    state. ValueError for numbers out of range.
    """
    columns: dict[str, list[np.ndarray]] = {"gates": [], "a": [], "b": []}
    start, width = 0, n_inputs
    for index, layer in enumerate(layers):
        gates, a, b = (_checked_column(f"{name} of layer {index}", x) for name, x in zip(columns, layer, strict=True))
        for name, pins in (("a", a), ("b", b)):
            if len(pins) and not 0 <= pins.min() <= pins.max() < width:
                raise ValueError(f"{name} of layer {index} has {pins.min()} … {pins.max()}, expected 0 … {width - 1}")
        for column, values in zip(columns.values(), (gates, a + start, b + start), strict=True):
            column.append(values)
        start, width = start + width, len(gates)
    joined = {name: np.concatenate(parts) if parts else np.zeros(0, np.int64) for name, parts in columns.items()}
    next_state, outputs = np.split(np.arange(start, start + width), [n_state])
    return Netlist(n_inputs, **joined, outputs=outputs, classes=classes, tau=tau, next_state=next_state)


def _checked_column(name: str, values: ArrayLike) -> NDArray[np.int64]:
    """Integers of one axis, wide enough that a check sees what was given and not what was left of it."""
    column = np.asarray(values)
    if column.ndim != 1 or (column.size and column.dtype.kind not in "iu"):
        raise ValueError(f"{name} must be whole numbers in one axis, not {column.dtype} {list(column.shape)}")
    return column.astype(np.int64)


def _check_circuit(netlist: Netlist) -> None:
    gates, a, b, outputs = netlist.gates, netlist.a, netlist.b, netlist.outputs
    if netlist.n_inputs < 1 or netlist.classes < 1 or not 0 < netlist.tau < np.inf:
        raise ValueError(
            f"n_inputs {netlist.n_inputs}, classes {netlist.classes} and tau {netlist.tau} must be above zero"
        )
    if not len(gates) == len(a) == len(b):
        raise ValueError(f"gates, a and b must be equally long, not {len(gates)}, {len(a)} and {len(b)}")
    if netlist.n_nodes >= MAX_NODES:
        raise ValueError(f"{netlist.n_nodes} nodes, expected fewer than {MAX_NODES}")
    if len(gates) and not 0 <= gates.min() <= gates.max() < 16:
        raise ValueError(f"gates has {gates.min()} … {gates.max()}, expected 0 … 15")
    nodes = netlist.n_inputs + np.arange(len(gates))
    for name, pins in (("a", a), ("b", b)):
        wrong = np.flatnonzero((pins < 0) | (pins >= nodes))
        if wrong.size:
            gate = wrong[0]
            raise ValueError(f"{name} of gate {gate} is node {pins[gate]}, expected 0 … {nodes[gate] - 1}")
    if not len(outputs) or len(outputs) % netlist.classes:
        raise ValueError(f"{len(outputs)} outputs do not split into {netlist.classes} classes of equal size")
    for name, nodes in (("outputs", outputs), ("next_state", netlist.next_state)):
        if len(nodes) and not 0 <= nodes.min() <= nodes.max() < netlist.n_nodes:
            raise ValueError(f"{name} has {nodes.min()} … {nodes.max()}, expected 0 … {netlist.n_nodes - 1}")
    if netlist.n_state >= netlist.n_inputs:
        raise ValueError(f"{netlist.n_state} of {netlist.n_inputs} inputs are state; at least one must be another")
