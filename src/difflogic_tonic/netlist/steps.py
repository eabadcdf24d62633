"""Circuits with a state, over the steps of a sequence."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from difflogic_tonic.netlist.circuit import Netlist
from difflogic_tonic.netlist.evaluate import evaluate


def one_step(netlist: Netlist) -> Netlist:
    """The circuit without its memory: one class whose outputs are those of `netlist`, then its next state."""
    return replace(netlist, outputs=netlist.roots, classes=1, next_state=np.zeros(0, np.int32))


def step(
    netlist: Netlist, inputs: np.ndarray, state: np.ndarray | None = None
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Outputs bool[N, n_outputs] and next state bool[N, n_state] of one step of N sequences.

    inputs: [N, n_inputs - n_state], where anything but 0 is a one; state as returned by the step before, None at the
    first one.
    """
    if state is None:
        state = np.zeros((len(inputs), netlist.n_state), bool)
    values = evaluate(one_step(netlist), np.concatenate((inputs != 0, state), 1))
    outputs, after = np.split(values, [netlist.n_outputs], axis=1)
    return outputs, after


def step_scores(netlist: Netlist, inputs: np.ndarray) -> NDArray[np.int32]:
    """Number of ones among the outputs of each class at each step: int32[T, N, classes] of inputs [T, N, …]."""
    scores = np.empty((len(inputs), inputs.shape[1], netlist.classes), np.int32)
    state, share = None, netlist.n_outputs // netlist.classes
    for t, frame in enumerate(inputs):
        outputs, state = step(netlist, frame, state)
        scores[t] = outputs.reshape(len(outputs), netlist.classes, share).sum(2, dtype=np.int32)
    return scores
