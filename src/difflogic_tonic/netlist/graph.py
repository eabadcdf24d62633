"""Order and reach in a circuit, from its arrays alone."""

import numpy as np
from numpy.typing import NDArray

from difflogic_tonic.netlist.gates import READS_A, READS_B


def levels_of(n_inputs: int, a: np.ndarray, b: np.ndarray) -> NDArray[np.int64]:
    """int64[n]: length of the longest path from an input to each gate, at least 1; ignored pins count as well.

    Gates read nodes before them. Takes one pass over the gates that are still open per level, so it is meant for
    circuits that are far wider than deep.
    """
    levels = np.zeros(len(a), np.int64)
    done = np.zeros(n_inputs + len(a), bool)
    done[:n_inputs] = True
    level, left = 0, np.arange(len(a))
    while left.size:
        level += 1
        ready = done[a[left]] & done[b[left]]
        now = left[ready]
        assert now.size, "a gate reads itself or a later one"
        levels[now] = level
        done[n_inputs + now] = True
        left = left[~ready]
    return levels


def live_nodes(
    n_inputs: int, gates: np.ndarray, a: np.ndarray, b: np.ndarray, outputs: np.ndarray
) -> NDArray[np.bool_]:
    """bool[n_inputs + n]: from which nodes an output is reached through pins that matter to their gates."""
    live = np.zeros(n_inputs + len(gates), bool)
    found = np.unique(outputs)
    while found.size:
        live[found] = True
        rows = found[found >= n_inputs] - n_inputs
        read = np.concatenate((a[rows[READS_A[gates[rows]]]], b[rows[READS_B[gates[rows]]]]))
        found = np.unique(read[~live[read]])
    return live
