"""Random circuits, and a plain evaluator that reads the truth tables one gate and one sample at a time."""

from collections.abc import Callable

import numpy as np
import pytest

from difflogic_tonic.netlist import Netlist

RandomNetlist = Callable[..., Netlist]
SlowOutputs = Callable[[Netlist, np.ndarray], list[list[int]]]


def make_random_netlist(
    seed: int, n_inputs: int, n_gates: int, classes: int = 1, per_class: int = 3, reach: int = 12
) -> Netlist:
    """Gates of all sixteen types that read any node or, half the time, one of the last `reach`; some read one twice."""
    rng = np.random.default_rng(seed)
    end = n_inputs + np.arange(n_gates)

    def pins() -> np.ndarray:
        near = np.maximum(0, end - 1 - rng.integers(0, reach, n_gates))
        return np.where(rng.random(n_gates) < 0.5, near, rng.integers(0, end))

    a, b = pins(), pins()
    b = np.where(rng.random(n_gates) < 0.1, a, b)
    nodes = n_inputs + n_gates
    outputs = np.maximum(0, nodes - 1 - rng.integers(0, 3 * reach, classes * per_class))
    return Netlist(n_inputs, rng.integers(0, 16, n_gates), a, b, outputs, classes, tau=0.5 + seed % 5)


def evaluate_slowly(netlist: Netlist, inputs: np.ndarray) -> list[list[int]]:
    """Outputs of each sample, straight from what a gate number means: 8 f(0,0) + 4 f(0,1) + 2 f(1,0) + f(1,1)."""
    results = []
    for sample in inputs.tolist():
        values = [int(value != 0) for value in sample]
        for gate, a, b in zip(netlist.gates.tolist(), netlist.a.tolist(), netlist.b.tolist(), strict=True):
            values.append(gate >> (3 - 2 * values[a] - values[b]) & 1)
        results.append([values[node] for node in netlist.outputs.tolist()])
    return results


@pytest.fixture(scope="session")
def random_netlist() -> RandomNetlist:
    return make_random_netlist


@pytest.fixture(scope="session")
def slow_outputs() -> SlowOutputs:
    return evaluate_slowly


@pytest.fixture(scope="session")
def all_samples() -> Callable[[int], np.ndarray]:
    """Every sample of n inputs: bool[2**n, n]."""
    return lambda n: (np.arange(2**n)[:, None] >> np.arange(n)) & 1 == 1
