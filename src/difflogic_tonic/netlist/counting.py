"""What a circuit costs."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from difflogic_tonic.netlist.circuit import Netlist
from difflogic_tonic.netlist.gates import CONSTANTS, GATE_NAMES, INVERTERS, IS_REAL, READS_A, READS_B, REAL_GATES, WIRES
from difflogic_tonic.netlist.graph import live_nodes


@dataclass(frozen=True)
class Counts:
    """Numbers of a circuit as it stands; nothing is simplified for them.

    `gates` are those that need both inputs, `by_type` the same by name; `wires`, `inverters` and `constants` are the
    rest. `dead` gates are the part of `gates` that no output depends on. `depth` is the largest number of `gates` on a
    path from an input to an output. `unused_inputs` are those that no output depends on. `state` of the inputs are what
    as many further outputs were at the step before.
    """

    inputs: int
    outputs: int
    gates: int
    by_type: dict[str, int]
    wires: int
    inverters: int
    constants: int
    dead: int
    depth: int
    unused_inputs: int
    state: int = 0

    def to_dict(self) -> dict[str, Any]:
        """The same as plain JSON data."""
        return asdict(self)


def count(netlist: Netlist) -> Counts:
    """Count gates by type, depth and unused inputs. Paths follow only pins that matter to their gate."""
    histogram = np.bincount(netlist.gates, minlength=16).tolist()
    live = live_nodes(netlist.n_inputs, netlist.gates, netlist.a, netlist.b, netlist.roots)
    real = IS_REAL[netlist.gates]
    return Counts(
        inputs=netlist.n_inputs,
        outputs=netlist.n_outputs,
        gates=int(real.sum()),
        by_type={GATE_NAMES[gate]: histogram[gate] for gate in REAL_GATES},
        wires=sum(histogram[gate] for gate in WIRES),
        inverters=sum(histogram[gate] for gate in INVERTERS),
        constants=sum(histogram[gate] for gate in CONSTANTS),
        dead=int((real & ~live[netlist.n_inputs :]).sum()),
        depth=_depth(netlist),
        unused_inputs=int((~live[: netlist.n_inputs]).sum()),
        state=netlist.n_state,
    )


def _depth(netlist: Netlist) -> int:
    depths = np.zeros(netlist.n_nodes, np.int64)
    for rows in netlist.batches:
        gates = netlist.gates[rows]
        longest = np.maximum(
            np.where(READS_A[gates], depths[netlist.a[rows]], 0), np.where(READS_B[gates], depths[netlist.b[rows]], 0)
        )
        depths[netlist.n_inputs + rows] = longest + IS_REAL[gates]
    return int(depths[netlist.roots].max())
