import pytest
import torch
from torch import Tensor, nn

from difflogic_tonic.nets.spiking.neurons import Neuron
from difflogic_tonic.nets.spiking.recurrence import LinearRecurrence, SelfConnection, SynapseFilter
from difflogic_tonic.nets.spiking.rule import NeuronRule
from difflogic_tonic.nets.spiking.steps import Memory, PackedSteps, pack_steps
from difflogic_tonic.nets.spiking.stepwise import StepSequential

CPU = torch.device("cpu")
RAGGED = torch.tensor([2, 4, 1, 4])


def one_sample(*values: float) -> Tensor:
    return torch.tensor(values).unsqueeze(1)


def linear_block() -> LinearRecurrence:
    torch.manual_seed(0)
    return LinearRecurrence(StepSequential(nn.Linear(3, 5), Neuron(NeuronRule(threshold=0.2))), 3, 5)


BLOCKS = {
    "self": lambda: SelfConnection(Neuron(NeuronRule(threshold=0.8))),
    "linear": linear_block,
    "synapse": lambda: SynapseFilter(3.0, learnable=True),
    "echo": lambda: LinearRecurrence(nn.Tanh(), 3, 3),  # without thresholds every difference shows
    "sum": lambda: SelfConnection(nn.Tanh()),
    "nested": lambda: SelfConnection(StepSequential(SynapseFilter(2.0), Neuron(NeuronRule(kind="if")))),
}


def test_a_self_connection_adds_the_spike_of_the_step_before():
    # threshold 1, nothing leaks: 0.6; 1.2 -> spike; 0.3 + 1 = 1.3 -> spike; 0 + 1 -> spike
    block = SelfConnection(Neuron(NeuronRule(kind="if")))
    steps = PackedSteps([1] * 4, torch.tensor([0]))
    assert block(one_sample(0.6, 0.6, 0.3, 0.0), steps).flatten().tolist() == [0, 1, 1, 1]
    assert Neuron(NeuronRule(kind="if"))(one_sample(0.6, 0.6, 0.3, 0.0), steps).flatten().tolist() == [0, 1, 0, 0]


def test_what_a_self_connection_makes_of_its_output_can_be_chosen():
    block = SelfConnection(Neuron(NeuronRule(kind="if")), lambda y, x: x * (1 - y))
    steps = PackedSteps([1] * 3, torch.tensor([0]))
    assert block(one_sample(1.0, 1.0, 1.0), steps).flatten().tolist() == [1, 0, 1]


def test_a_linear_recurrence_reads_input_and_output_of_the_step_before():
    block = LinearRecurrence(nn.Identity(), 1, 1, bias=False)
    with torch.no_grad():
        block.rc.weight.copy_(torch.tensor([[1.0, 0.5]]))
    steps = PackedSteps([1] * 3, torch.tensor([0]))
    assert block(one_sample(2.0, 0.0, 1.0), steps).flatten().tolist() == [2, 1, 1.5]


def test_a_synapse_forgets_between_spikes():
    steps = PackedSteps([1] * 4, torch.tensor([0]))
    assert SynapseFilter(2.0)(one_sample(1.0, 0.0, 0.0, 1.0), steps).flatten().tolist() == [1, 0.5, 0.25, 1.25]


def test_a_time_constant_of_one_step_or_less_is_refused():
    with pytest.raises(ValueError, match="expected more than 1 step"):
        SynapseFilter(1.0)


@pytest.mark.parametrize("make", BLOCKS.values(), ids=BLOCKS)
def test_a_sample_among_longer_ones_is_as_alone(make):
    torch.manual_seed(0)
    block = make()
    frames = torch.rand(4, 4, 3, generator=torch.Generator().manual_seed(1)) * 1.5
    steps = pack_steps(4, 4, RAGGED, CPU)
    together = steps.sum(block(steps.pack(frames), steps))
    assert together.abs().sum() > 0
    for sample, length in enumerate(RAGGED):
        alone = pack_steps(int(length), 1, None, CPU)
        outputs = block(alone.pack(frames[:length, sample : sample + 1]), alone)
        assert torch.allclose(alone.sum(outputs)[0], together[sample], atol=1e-6)


@pytest.mark.parametrize("make", BLOCKS.values(), ids=BLOCKS)
def test_two_calls_with_one_memory_are_one(make):
    torch.manual_seed(0)
    block = make()
    frames = torch.rand(5, 2, 3, generator=torch.Generator().manual_seed(1)) * 1.5
    whole = pack_steps(5, 2, None, CPU)
    want = block(whole.pack(frames), whole)
    memory = Memory()
    parts = [(frames[:2], pack_steps(2, 2, None, CPU, memory)), (frames[2:], pack_steps(3, 2, None, CPU, memory))]
    assert torch.equal(torch.cat([block(steps.pack(part), steps) for part, steps in parts]), want)


@pytest.mark.parametrize("make", BLOCKS.values(), ids=BLOCKS)
def test_recurrent_layers_compute_in_float32_what_autocast_leaves_to_them(make):
    block = make()
    steps = pack_steps(4, 4, None, CPU)
    x = torch.rand(16, 3, generator=torch.Generator().manual_seed(1)).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        out = block(x, steps)
    out.float().square().sum().backward()
    assert x.grad.isfinite().all()
    assert (out.float() - block(x, steps)).abs().max() <= 1  # a spike may fall to the other side of its threshold


@pytest.mark.parametrize("make", BLOCKS.values(), ids=BLOCKS)
def test_a_sample_that_ends_early_in_one_call_goes_on_from_there_in_the_next(make):
    torch.manual_seed(0)
    block, memory = make(), Memory()
    frames = torch.rand(2, 3, 2, 3, generator=torch.Generator().manual_seed(1)) * 1.5  # call, step, sample
    lengths = torch.tensor([[1, 3], [3, 2]])
    got = torch.zeros(2, block(frames[0, :1].flatten(0, 1), pack_steps(1, 2, None, CPU)).shape[1])
    for call in range(2):
        steps = pack_steps(3, 2, lengths[call], CPU, memory)
        got += steps.sum(block(steps.pack(frames[call]), steps))
    for sample in range(2):
        whole = torch.cat([frames[call, : lengths[call, sample], sample] for call in range(2)]).unsqueeze(1)
        alone = pack_steps(len(whole), 1, None, CPU)
        assert torch.allclose(alone.sum(block(alone.pack(whole), alone))[0], got[sample], atol=1e-6)
