"""Registers in a circuit: which gates share a clock cycle, and which values wait for later ones."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from difflogic_tonic.netlist import Netlist
from difflogic_tonic.netlist.gates import READS_A, READS_B
from difflogic_tonic.netlist.graph import levels_of


@dataclass(frozen=True)
class Pipeline:
    """Stage of every node of a circuit, and until which stage its value is read.

    stages  int[n_nodes]   the cycle in which a gate works, from 0; inputs have 0
    last    int[n_nodes]   the last stage that reads the node: it waits in last - stage registers. For the outputs it is
                           `latency`, for what nothing reads it is its own stage
    latency                registers between the inputs and the outputs; 0: no clock, a combinational circuit
    """

    stages: NDArray[np.int64]
    last: NDArray[np.int64]
    latency: int

    @property
    def registers(self) -> int:
        """Bits that are stored, all stages together."""
        return int((self.last - self.stages).sum())


def pipeline(netlist: Netlist, every: int) -> Pipeline:
    """A register after every `every` levels of gates, the last ones included; 0 for none at all."""
    stages = np.zeros(netlist.n_nodes, np.int64)
    if not every:
        return Pipeline(stages, stages.copy(), 0)
    levels = levels_of(netlist.n_inputs, netlist.a, netlist.b)
    stages[netlist.n_inputs :] = (levels - 1) // every
    last = stages.copy()
    readers = stages[netlist.n_inputs :]
    for pins, matter in ((netlist.a, READS_A), (netlist.b, READS_B)):
        used = matter[netlist.gates]
        np.maximum.at(last, pins[used], readers[used])
    latency = int(stages.max()) + 1
    last[netlist.roots] = latency
    return Pipeline(stages, last, latency)
