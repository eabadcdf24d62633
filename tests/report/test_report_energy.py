"""The energy estimate by hand, on networks of three layers, and against SpikingJelly's counters."""

from typing import Any

import pytest
import torch
from torch import nn

from difflogic_tonic.models.cost import describe
from difflogic_tonic.netlist import count, netlist_from_layers, simplify
from difflogic_tonic.netlist.gates import GATE_NAMES
from difflogic_tonic.nets.spiking.neurons import Neuron
from difflogic_tonic.nets.spiking.rule import NeuronRule
from difflogic_tonic.nets.spiking.spikes import SpikeCounts, counting
from difflogic_tonic.nets.spiking.steps import pack_steps
from difflogic_tonic.nets.spiking.stepwise import StepSequential
from difflogic_tonic.report.energy import operations_of

MEMORYLESS = NeuronRule(tau=1.0, threshold=1.0)
"""A neuron that spikes exactly where its input is at least 1."""


def dense(rows: list[list[float]]) -> nn.Linear:
    layer = nn.Linear(len(rows[0]), len(rows), bias=False)
    layer.weight.data = torch.tensor(rows)
    return layer


def spiking_network() -> StepSequential:
    """2 inputs; 3, 2 and 4 outputs. No weight matrix is all 0 and 1: SpikingJelly would take it for spikes."""
    return StepSequential(
        dense([[1.0, 0.0], [0.0, 1.0], [1.0, 2.0]]),
        Neuron(MEMORYLESS),
        dense([[1.0, 0.0, 0.0], [0.0, 0.5, 0.5]]),
        Neuron(MEMORYLESS),
        dense([[0.5, 0.5]] * 4),
    )


# Two steps of one recording.
#   step 1: input (1.5, 0.5) → layer 1 gives 1.5, 0.5, 2.5 → spikes 1 0 1 → layer 2 gives 1.0, 0.5 → spikes 1 0
#   step 2: input (0.0, 1.0) → layer 1 gives 0.0, 1.0, 2.0 → spikes 0 1 1 → layer 2 gives 0.0, 1.0 → spikes 0 1
INPUT = torch.tensor([[1.5, 0.5], [0.0, 1.0]])


def counted(network: nn.Module, x: torch.Tensor) -> SpikeCounts:
    counts = SpikeCounts(n_samples=1)
    with torch.no_grad(), counting(network, counts):
        network(x, pack_steps(2, 1, None, x.device))
    return counts


def test_a_spiking_network_adds_for_every_spike_and_multiplies_for_analog_input() -> None:
    counts = counted(spiking_network(), INPUT)
    macs = 2 * (2 * 3)  # steps × the weights of the first layer, whose input is not spikes
    acs = (2 + 2) * 2, (1 + 1) * 4  # spikes of each layer × the weights that each of them meets
    assert (counts.macs, counts.synops) == ({"0": macs}, {"2": acs[0], "4": acs[1]})
    summary = {"model_type": "SNN", "test_loss": 1.0, **{f"test_{name}": v for name, v in counts.metrics().items()}}
    found = operations_of(summary)
    assert found is not None
    assert (found.macs, found.acs, found.gates) == (12, 16, 0)
    assert found.nanojoules == pytest.approx((12 * 4.6 + 16 * 0.9) / 1000)  # 55.2 pJ + 14.4 pJ


def test_spikes_and_multiplications_are_those_of_spikingjelly() -> None:
    op_counter = pytest.importorskip("spikingjelly.activation_based.op_counter")
    network = spiking_network()
    counts = counted(network, INPUT)
    synops, macs = op_counter.SynOpCounter(), op_counter.MACCounter()
    with torch.no_grad(), op_counter.DispatchCounterMode([synops, macs]):
        network(INPUT, pack_steps(2, 1, None, INPUT.device))
    assert sum(counts.synops.values()) == synops.get_total()
    assert sum(counts.macs.values()) == macs.get_total()


def test_a_dense_network_multiplies_every_weight_for_every_frame() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
    counts = describe(network, (1, 2, 3))
    assert counts["macs"] == 6 * 5 + 5 * 4 + 4 * 3
    # 20 recordings of 50 frames in all: each is 2.5 evaluations
    summary = {"model_type": "MLP", "test_loss": 1.0, "test_frames": 50, "test_recordings": 20, "macs": counts["macs"]}
    found = operations_of(summary)
    assert found is not None
    assert (found.macs, found.acs, found.gates) == (62 * 2.5, 0, 0)
    assert found.nanojoules == pytest.approx(155 * 4.6 / 1000)


def test_a_logic_network_is_its_simplified_gates_and_the_adders_behind_them() -> None:
    gate = {name: number for number, name in enumerate(GATE_NAMES)}
    layers = [
        # 3 gates, one that nothing reads, and an inverter
        ([gate["AND"], gate["OR"], gate["XOR"], gate["AND"], gate["NOT_A"]], [0, 2, 4, 6, 0], [1, 3, 5, 7, 1]),
        # 2 gates, and a wire from the inverter
        ([gate["AND"], gate["OR"], gate["B"]], [0, 1, 0], [1, 2, 4]),
        # 1 gate, and a wire once more
        ([gate["XOR"], gate["B"]], [0, 1], [1, 2]),
    ]
    after = count(simplify(netlist_from_layers(8, layers, classes=2)))
    assert (after.gates, after.inverters, after.outputs) == (6, 1, 2)
    summary: dict[str, Any] = {
        "model_type": "DiffLogic",
        "test_loss": 1.0,
        "test_frames": 30,
        "test_recordings": 10,
        "netlist": {"after": after.to_dict()},
    }
    found = operations_of(summary)
    assert found is not None
    assert found.gates == 3 * (6 + 1 + 2 * 5)  # three frames; each output bit costs a full adder of five gates
    assert found.nanojoules == pytest.approx(51 * 0.75e-6)  # 0.75 fJ each


def test_a_sequence_is_evaluated_once_for_each_of_its_frames() -> None:
    summary = {"model_type": "CNN", "view": "sequence", "test_loss": 1.0, "test_recordings": 4, "macs": 100}
    assert operations_of(summary) is None
    found = operations_of(summary | {"test_frames_per_recording": 3.5})
    assert found is not None
    assert found.macs == 350


@pytest.mark.parametrize("model_type", ["SNN", "DiffLogic", "CNN"])
def test_what_was_not_counted_has_no_estimate(model_type: str) -> None:
    assert operations_of({"model_type": model_type, "test_loss": 1.0}) is None
    assert operations_of({}) is None
