"""Layers in a row: still images through them once, memory between calls, recomputation in the backward pass."""

import pytest
import torch
from torch import Tensor, nn

from difflogic_tonic.nets.spiking.dropout import SequenceDropout
from difflogic_tonic.nets.spiking.hoist import unhoisted
from difflogic_tonic.nets.spiking.layers import Vote
from difflogic_tonic.nets.spiking.neurons import Neuron
from difflogic_tonic.nets.spiking.recompute import Recompute, can_cut_in_time, recomputing, segments
from difflogic_tonic.nets.spiking.recurrence import SelfConnection, SynapseFilter
from difflogic_tonic.nets.spiking.rule import NeuronRule
from difflogic_tonic.nets.spiking.steps import Memory, PackedSteps, pack_steps
from difflogic_tonic.nets.spiking.stepwise import StepModule, StepSequential

CPU = torch.device("cpu")
RULE = NeuronRule(threshold=0.4)
STEPS, SAMPLES = 4, 3


def some_images(n_samples: int = SAMPLES) -> Tensor:
    return torch.rand(n_samples, 2, 6, 5, generator=torch.Generator().manual_seed(1))


def conv_network(norm: bool = True, dropout: nn.Module | None = None) -> StepSequential:
    torch.manual_seed(0)
    first = [nn.BatchNorm2d(4)] if norm else []
    second = [nn.BatchNorm1d(7, momentum=None)] if norm else []
    return StepSequential(
        nn.Conv2d(2, 4, 3),
        *first,
        Neuron(RULE),
        dropout or nn.Identity(),
        nn.Flatten(),
        nn.Linear(48, 7),
        *second,
        Neuron(NeuronRule(threshold=0.4, kind="plif")),
        nn.Linear(7, 3),
    )


def trained_once(network: StepSequential, x: Tensor, steps: PackedSteps) -> dict[str, Tensor]:
    """Output, gradients, and the state afterwards, of one forward and backward pass."""
    x = x.clone().requires_grad_()
    torch.manual_seed(3)
    out = network(x, steps)
    (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
    grads = {f"grad of {name}": parameter.grad for name, parameter in network.named_parameters()}
    assert x.grad is not None
    return {"out": out.detach(), "x": x.grad, **grads, **network.state_dict()}


def assert_close(got: dict[str, Tensor], want: dict[str, Tensor], tolerance: float = 1e-5) -> None:
    assert got.keys() == want.keys()
    for name, value in want.items():
        assert torch.allclose(got[name], value, rtol=tolerance, atol=tolerance), name


class Calls:
    """Counts the frames that a module is called with."""

    def __init__(self, module: nn.Module) -> None:
        self.frames: list[int] = []
        module.register_forward_hook(lambda _module, inputs, _output: self.frames.append(len(inputs[0])))


@pytest.mark.parametrize("kinds", ["norm", "plain", "eval"])
def test_a_still_image_goes_once_through_the_layers_before_the_first_neurons(kinds):
    steps, images = pack_steps(STEPS, SAMPLES, None, CPU), some_images()
    networks = [conv_network(kinds != "plain") for _ in range(2)]
    for network in networks:
        network.train(kinds != "eval")
    calls = Calls(networks[0][0])
    once = trained_once(networks[0], images, steps)
    assert calls.frames == [SAMPLES]
    with unhoisted():
        repeated = trained_once(networks[1], images, steps)
    assert torch.equal(once["out"], repeated["out"])
    assert_close(once, repeated)


@pytest.mark.parametrize("momentum", [0.1, None])
def test_the_running_variance_is_that_of_all_frames(momentum):
    # one pixel: 1, 2, 6 with mean 3 and squares around it 14; once unbiased 14 / 2, four times each 4 * 14 / 11
    norm = nn.BatchNorm1d(1, momentum=momentum)
    network = StepSequential(norm, Neuron(RULE))
    network(torch.tensor([[1.0], [2.0], [6.0]]), PackedSteps([3] * 4, torch.arange(3)))
    share = 0.1 if momentum else 1.0
    assert norm.running_var.item() == pytest.approx((1 - share) * 1 + share * 4 * 14 / 11)
    assert norm.running_mean.item() == pytest.approx(share * 3)
    assert norm.num_batches_tracked.item() == 1


def test_batch_normalisation_of_sequences_of_unequal_length_is_not_hoisted():
    steps = PackedSteps([3, 3, 1], torch.arange(3))
    results = []
    for given in (some_images(), steps.repeat(some_images())):
        network = conv_network()
        out = network(given, steps)
        results.append((out, network[1].running_mean, network[1].running_var))
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


def test_one_image_alone_can_be_normalised_over_its_steps():
    network = StepSequential(nn.Flatten(), nn.Linear(60, 4), nn.BatchNorm1d(4), Neuron(RULE))
    assert network(some_images(1), PackedSteps([1] * 3, torch.tensor([0]))).shape == (3, 4)


@pytest.mark.parametrize("random", [nn.Dropout(0.5), nn.Sequential(nn.Conv2d(2, 2, 1), nn.Dropout2d(0.5)), nn.RReLU()])
def test_chance_is_asked_at_every_step(random):
    network = StepSequential(random, Neuron(RULE))
    calls = Calls(random)
    network(some_images(), pack_steps(STEPS, SAMPLES, None, CPU))
    assert calls.frames == [STEPS * SAMPLES]


def test_a_layer_of_ones_own_is_called_at_every_step_unless_it_says_that_it_is_timeless():
    class Own(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x

    own, vote = Own(), Vote(5)
    own_calls, vote_calls = Calls(own), Calls(vote)
    steps = pack_steps(STEPS, SAMPLES, None, CPU)
    StepSequential(own, Neuron(RULE))(some_images(), steps)
    StepSequential(vote, Neuron(RULE))(some_images(), steps)
    assert own_calls.frames == [STEPS * SAMPLES]
    assert vote_calls.frames == [SAMPLES]


def test_a_step_module_that_knows_nothing_of_static_input_sees_every_step():
    class Last(StepModule):
        def forward(self, x: Tensor, steps: PackedSteps) -> Tensor:
            assert len(x) == sum(steps.counts)
            return x

    assert len(StepSequential(Last())(some_images(), pack_steps(STEPS, SAMPLES, None, CPU))) == STEPS * SAMPLES


def test_a_hook_may_change_what_a_hoisted_layer_says():
    network, doubled = conv_network(), conv_network()
    doubled[0].register_forward_hook(lambda _module, _inputs, output: 2 * output)
    with torch.no_grad():
        network[0].weight.mul_(2)
        network[0].bias.mul_(2)
    steps = pack_steps(STEPS, SAMPLES, None, CPU)
    assert torch.equal(network(some_images(), steps), doubled(some_images(), steps))


@pytest.mark.parametrize("lengths", [None, torch.tensor([1, 4, 2])])
@pytest.mark.parametrize("size", [1, 3])
def test_a_stream_of_frames_gives_what_the_whole_sequence_gives(lengths, size):
    network = conv_network().eval()
    frames = torch.rand(STEPS, SAMPLES, 2, 6, 5, generator=torch.Generator().manual_seed(2))
    whole = pack_steps(STEPS, SAMPLES, lengths, CPU)
    with torch.no_grad():
        want = whole.sum(network(whole.pack(frames), whole))
        memory, got = Memory(), torch.zeros_like(want)
        for begin in range(0, STEPS, size):
            part = frames[begin : begin + size]
            # a sample that has ended goes on with frames that nobody looks at
            steps = pack_steps(len(part), SAMPLES, None, CPU, memory)
            out = network(steps.pack(part), steps).unflatten(0, (len(part), SAMPLES))
            for t in range(len(part)):
                true = begin + t < (lengths if lengths is not None else torch.full((SAMPLES,), STEPS))
                got += out[t] * true.unsqueeze(1)
    assert torch.allclose(got, want, atol=1e-6)


def test_a_memory_is_in_the_order_of_the_batch_and_outside_of_gradients():
    neuron, memory = Neuron(NeuronRule(kind="if")), Memory()
    x = torch.tensor([[0.1], [0.2], [0.3]]).requires_grad_()
    frames = torch.stack([x, x])
    for lengths in (torch.tensor([1, 2, 2]), torch.tensor([2, 1, 2])):
        steps = pack_steps(2, 3, lengths, CPU, memory)
        neuron(steps.pack(frames), steps)
    state = memory.recall(neuron, torch.arange(3))
    assert state.flatten().tolist() == pytest.approx([0.3, 0.6, 0.0])  # 0.3 · 4 spikes at the fourth step
    assert not state.requires_grad


def test_a_memory_of_another_batch_size_is_refused():
    neuron, memory = Neuron(RULE), Memory()
    neuron(torch.ones(3, 1), pack_steps(1, 3, None, CPU, memory))
    with pytest.raises(ValueError, match="the memory is of 3 samples, the batch has 2; begin a new Memory"):
        neuron(torch.ones(2, 1), pack_steps(1, 2, None, CPU, memory))


def test_networks_are_cut_in_front_of_layers_with_weights():
    network = StepSequential(nn.Flatten(), conv_network(), nn.Sequential(nn.Linear(3, 3), nn.ReLU()))
    kinds = [[type(module).__name__ for module in segment] for segment in segments(network)]
    assert kinds == [
        ["Flatten"],
        ["Conv2d", "BatchNorm2d", "Neuron", "Identity", "Flatten"],
        ["Linear", "BatchNorm1d", "Neuron"],
        ["Linear"],
        ["Linear", "ReLU"],
    ]


def test_segments_are_cut_in_time_only_where_nothing_ties_the_steps_together():
    assert can_cut_in_time([nn.Linear(2, 2), Neuron(RULE), SequenceDropout(0.5), SelfConnection(SynapseFilter())])
    assert can_cut_in_time([nn.BatchNorm1d(2).eval()])
    assert not can_cut_in_time([nn.BatchNorm1d(2)])
    assert not can_cut_in_time([nn.Dropout(0.5)])
    assert not can_cut_in_time([SelfConnection(StepSequential(nn.BatchNorm1d(2), Neuron(RULE)))])


@pytest.mark.parametrize("chunk", [None, 1, 3])
@pytest.mark.parametrize("static", [True, False])
@pytest.mark.parametrize("lengths", [None, torch.tensor([4, 2, 1])])
@pytest.mark.parametrize("norm", [True, False])
def test_recomputed_networks_learn_the_same(chunk, static, lengths, norm):
    steps = pack_steps(STEPS, SAMPLES, lengths, CPU)
    x = some_images() if static else torch.rand(sum(steps.counts), 2, 6, 5, generator=torch.Generator().manual_seed(4))
    plain = trained_once(conv_network(norm, SequenceDropout(0.3)), x, steps)
    again = PackedSteps(steps.counts, steps.order, recompute=Recompute(chunk))
    recomputed = trained_once(conv_network(norm, SequenceDropout(0.3)), x, again)
    assert_close(recomputed, plain)


def test_recurrent_layers_can_be_cut_in_time():
    def network() -> StepSequential:
        torch.manual_seed(0)
        return StepSequential(
            nn.Linear(6, 8), SelfConnection(StepSequential(SynapseFilter(2.0, True), Neuron(RULE))), nn.Linear(8, 2)
        )

    steps = pack_steps(7, 4, torch.tensor([7, 1, 6, 3]), CPU)
    x = torch.rand(sum(steps.counts), 6, generator=torch.Generator().manual_seed(4))
    plain = trained_once(network(), x, steps)
    assert_close(trained_once(network(), x, PackedSteps(steps.counts, steps.order, recompute=Recompute(2))), plain)


def test_hooks_can_tell_when_a_layer_computes_again():
    network = conv_network()
    seen: list[bool] = []
    network[0].register_forward_hook(lambda *_: seen.append(recomputing()))
    steps = PackedSteps([SAMPLES] * STEPS, torch.arange(SAMPLES), recompute=Recompute())
    network(some_images(), steps).sum().backward()
    assert seen == [False, True]
    assert not recomputing()


def kept_for_backward(network: StepSequential, x: Tensor, steps: PackedSteps) -> int:
    """Bytes of distinct tensors that wait for the backward pass, and of those that wait at once during it."""
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        out = network(x, steps)
    del out
    return sum(kept.values())


def test_recomputation_keeps_less():
    x = torch.rand(16 * 5, 2, 6, 5)
    torch.manual_seed(0)
    network = StepSequential(nn.Conv2d(2, 30, 3), nn.BatchNorm2d(30), Neuron(RULE), nn.Flatten(), nn.Linear(360, 2))
    plain = kept_for_backward(network, x, PackedSteps([5] * 16, torch.arange(5)))
    less = kept_for_backward(network, x, PackedSteps([5] * 16, torch.arange(5), recompute=Recompute(1)))
    assert less < 0.5 * plain


def test_without_gradients_nothing_is_recomputed():
    network = conv_network().eval()
    steps = PackedSteps([SAMPLES] * STEPS, torch.arange(SAMPLES), recompute=Recompute())
    calls = Calls(network[0])
    with torch.no_grad():
        network(some_images(), steps)
    assert calls.frames == [SAMPLES]


def test_a_chunk_of_no_steps_is_refused():
    with pytest.raises(ValueError, match="chunk 0: expected at least 1 step"):
        Recompute(0)


@pytest.mark.parametrize("chunk", [None, 2])
def test_under_autocast_neurons_take_and_give_half_precision_and_parameters_get_float32_gradients(chunk):
    """Gradients are those of the plain step-by-step neurons; bfloat16 has 8 bits."""
    gradients = []
    for backend in ("fused", "reference"):
        torch.manual_seed(0)
        rule = NeuronRule(threshold=0.2, kind="plif")
        network = StepSequential(
            nn.Conv2d(2, 8, 3), nn.BatchNorm2d(8), Neuron(rule, backend), nn.Flatten(), nn.Linear(96, 20),
            Neuron(rule, backend), nn.Linear(20, 3),
        )  # fmt: skip
        seen: list[torch.dtype] = []
        network[2].register_forward_hook(
            lambda _module, inputs, out, seen=seen: seen.extend((inputs[0].dtype, out.dtype))
        )
        steps = PackedSteps([SAMPLES] * STEPS, torch.arange(SAMPLES), recompute=chunk and Recompute(chunk))
        with torch.autocast("cpu", torch.bfloat16):
            out = network(some_images(), steps)
        out.float().square().mean().backward()
        assert set(seen) == {torch.bfloat16}
        assert all(parameter.grad.dtype == torch.float32 for parameter in network.parameters())
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in network.parameters()]))
    assert (gradients[0] - gradients[1]).norm() <= 0.05 * gradients[1].norm()
