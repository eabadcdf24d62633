"""What a spiking network does, counted: by hand, and as SpikingJelly counts it."""

import pytest
import torch
from torch import nn

from difflogic_tonic.nets.spiking.neurons import Neuron
from difflogic_tonic.nets.spiking.recurrence import SelfConnection
from difflogic_tonic.nets.spiking.rule import NeuronRule
from difflogic_tonic.nets.spiking.spikes import SpikeCounts, counting
from difflogic_tonic.nets.spiking.steps import pack_steps
from difflogic_tonic.nets.spiking.stepwise import StepSequential

MEMORYLESS = NeuronRule(tau=1.0, threshold=1.0)
"""A neuron that spikes exactly where its input is at least 1."""


def count(network: nn.Module, x: torch.Tensor, steps: int, samples: int) -> SpikeCounts:
    counts = SpikeCounts()
    with torch.no_grad(), counting(network, counts):
        network(x, pack_steps(steps, samples, None, x.device))
        counts.n_samples += samples
    return counts


def linear(rows: list[list[float]]) -> nn.Linear:
    layer = nn.Linear(len(rows[0]), len(rows), bias=False)
    layer.weight.data = torch.tensor(rows)
    return layer


def test_three_layers_by_hand():
    """Two steps of one sample: the input is analog, 1 + 1 of 2 × 2 first neurons fire, then 1 + 0 of 2 × 1."""
    network = StepSequential(
        linear([[1.0, 0.0], [0.0, 1.0]]),
        Neuron(MEMORYLESS),
        linear([[1.0, -1.0]]),
        Neuron(MEMORYLESS),
        linear([[1.0], [1.0], [1.0]]),
    )
    counts = count(network, torch.tensor([[1.05, 0.5], [0.2, 3.0]]), steps=2, samples=1)
    assert counts.spikes == {"1": 2, "3": 1}
    assert counts.places == {"1": 4, "3": 2}
    assert counts.macs == {"0": 8}
    assert counts.synops == {"2": 2 * 1, "4": 1 * 3}
    assert counts.near == {"1": 1, "3": 1}  # 1.05; and the second layer's membranes are 1 and -1
    assert counts.rates() == {"1": 0.5, "3": 0.5}
    assert counts.global_rate == 3 / 6
    found = counts.metrics()
    assert (found["spikes_per_sample"], found["synops_per_sample"], found["macs_per_sample"]) == (3, 5, 8)
    assert found["spikes_near_threshold_1"] == 0.25
    assert sum(found["spikes_histogram"]["1"]) == 4
    # bins of a tenth of the threshold from -2: 3.0 is in the outermost, 1.05 in [1.0, 1.1)
    assert [place for place, n in enumerate(found["spikes_histogram"]["1"]) if n] == [22, 25, 30, 39]


def test_the_global_rate_is_not_the_mean_of_the_layers():
    network = StepSequential(Neuron(MEMORYLESS), linear([[0.1, 0.1, 0.1, 0.1]]), Neuron(MEMORYLESS))
    counts = count(network, torch.ones(1, 4), steps=1, samples=1)
    assert counts.rates() == {"0": 1.0, "2": 0.0}
    assert counts.global_rate == 0.8


def test_a_still_image_counts_at_every_step():
    network = StepSequential(linear([[1.0, 0.0]]), Neuron(MEMORYLESS))
    counts = count(network, torch.tensor([[1.0, 0.5]]), steps=3, samples=1)
    assert (counts.macs, counts.spikes, counts.places) == ({"0": 6}, {"1": 3}, {"1": 3})


def test_the_membranes_are_those_before_the_reset_of_integrating_neurons():
    """0.75 at every step: 0.75, then 1.5 which fires, then from zero again."""
    network = StepSequential(Neuron(NeuronRule(kind="if")))
    counts = count(network, torch.full((3, 1), 0.75), steps=3, samples=1)
    found = [place for place, n in enumerate(counts.histogram["0"]) if n]
    assert (counts.spikes, found) == ({"0": 1}, [27, 35])


def test_nothing_is_counted_outside_and_no_hook_stays():
    network = StepSequential(Neuron(MEMORYLESS))
    count(network, torch.ones(1, 4), steps=1, samples=1)
    assert not network[0]._forward_hooks
    assert SpikeCounts().metrics() == {}


def test_batches_add_up():
    torch.manual_seed(0)
    network = StepSequential(nn.Linear(6, 5), Neuron(NeuronRule()), nn.Linear(5, 4), Neuron(NeuronRule()))
    x = torch.randn(3, 8, 6)  # 3 steps of 8 samples
    whole = count(network, x.flatten(0, 1), steps=3, samples=8)
    parts = SpikeCounts()
    with torch.no_grad(), counting(network, parts):
        for part in x.split(3, dim=1):
            network(part.flatten(0, 1), pack_steps(3, part.shape[1], None, x.device))
            parts.n_samples += part.shape[1]
    assert parts == whole


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3},
        {"kernel_size": 3, "padding": 1},
        {"kernel_size": 3, "padding": 1, "stride": 2},
        {"kernel_size": 2, "stride": 3},
        {"kernel_size": 3, "padding": 2, "dilation": 2, "groups": 2},
        {"kernel_size": 1, "stride": 2, "groups": 4},
    ],
)
def test_synops_are_those_of_spikingjelly(options: dict[str, int]):
    op_counter = pytest.importorskip("spikingjelly.activation_based.op_counter")
    torch.manual_seed(1)
    network = StepSequential(
        nn.Conv2d(4, 8, bias=False, **options), Neuron(NeuronRule(threshold=0.1)), nn.Flatten(), nn.LazyLinear(3)
    )
    spikes = (torch.rand(6, 4, 9, 8) < 0.3).float()
    network(spikes, pack_steps(2, 3, None, spikes.device))
    found = count(network, spikes, steps=2, samples=3)
    oracle = op_counter.SynOpCounter()
    with torch.no_grad(), op_counter.DispatchCounterMode([oracle]):
        network(spikes, pack_steps(2, 3, None, spikes.device))
    assert sum(found.synops.values()) == oracle.get_total()
    assert found.synops.keys() == {"0", "3"}
    assert not found.macs


def test_neurons_that_are_called_step_by_step_count_every_step():
    """0.75 and its own spike of the step before: 0.75, 1.5 fires, 1.75 fires, 1.75 fires."""
    network = StepSequential(SelfConnection(Neuron(NeuronRule(kind="if"))))
    counts = count(network, torch.full((4, 1), 0.75), steps=4, samples=1)
    name = "0.sub_module"
    assert (counts.spikes, counts.places) == ({name: 3}, {name: 4})
    assert [place for place, n in enumerate(counts.histogram[name]) for _ in range(n)] == [27, 35, 37, 37]
