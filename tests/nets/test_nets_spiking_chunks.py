"""Frames in chunks through convolutions and pooling: the same as all at once, and only where nobody would notice."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from difflogic_tonic.nets.spiking import chunks
from difflogic_tonic.nets.spiking.conv import WIDE, SpikeConv2d
from difflogic_tonic.nets.spiking.hoist import unhoisted
from difflogic_tonic.nets.spiking.neurons import Neuron
from difflogic_tonic.nets.spiking.pooling import MaxPool2d
from difflogic_tonic.nets.spiking.recompute import Recompute
from difflogic_tonic.nets.spiking.rule import NeuronRule
from difflogic_tonic.nets.spiking.steps import PackedSteps, pack_steps
from difflogic_tonic.nets.spiking.stepwise import StepSequential

CPU = torch.device("cpu")
STEPS, SAMPLES = 5, 3
FRAME = 4 * 8 * 6 * 4
"""Bytes of what the first convolution below gives for a frame, were it as large as the input."""


class Sizes:
    """How many frames a module was called with each time; written by the module itself, since hooks are noticed."""

    def __init__(self, module: nn.Module) -> None:
        self.frames: list[int] = []
        forward = module.forward

        def noted(x: Tensor) -> Tensor:
            self.frames.append(len(x))
            return forward(x)

        module.forward = noted


def pooled_network() -> StepSequential:
    torch.manual_seed(0)
    return StepSequential(
        nn.Conv2d(2, 4, 3, padding=1),
        MaxPool2d(2),
        Neuron(NeuronRule(threshold=0.3)),
        nn.Sequential(nn.Conv2d(4, 6, 3, padding=1), nn.ReLU()),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(12, 3),
    )


def some_frames(steps: PackedSteps) -> Tensor:
    return torch.rand(sum(steps.counts), 2, 8, 6, generator=torch.Generator().manual_seed(1))


def learnt(network: nn.Module, x: Tensor, steps: PackedSteps) -> dict[str, Tensor]:
    """Output and gradients."""
    x = x.clone().requires_grad_()
    out = network(x, steps).float()
    (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
    return {"out": out.detach(), "x": x.grad, **{name: p.grad for name, p in network.named_parameters()}}


@pytest.fixture
def in_pairs(monkeypatch) -> Callable[[], None]:
    """Call it to have frames go through the first convolution below two by two."""
    return lambda: monkeypatch.setattr(chunks, "CHUNK_BYTES", 2 * FRAME)


@pytest.mark.parametrize("lengths", [None, torch.tensor([5, 1, 3])])
@pytest.mark.parametrize("recompute", [None, Recompute(), Recompute(2)])
@pytest.mark.parametrize("autocast", [False, True])
def test_frames_in_chunks_give_what_all_of_them_give(in_pairs, lengths, recompute, autocast):
    steps = pack_steps(STEPS, SAMPLES, lengths, CPU)
    steps = PackedSteps(steps.counts, steps.order, recompute=recompute)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        want = learnt(pooled_network(), some_frames(steps), steps)
        in_pairs()
        network = pooled_network()
        sizes = Sizes(network[0])
        got = learnt(network, some_frames(steps), steps)
    assert len(sizes.frames) > 1
    assert max(sizes.frames) <= 2
    for name, value in want.items():
        assert torch.allclose(got[name], value, rtol=0.02 if autocast else 1e-5, atol=0.02 if autocast else 1e-5), name


def test_wide_convolutions_compute_in_another_layout_and_nobody_sees_it(monkeypatch):
    torch.manual_seed(0)
    steps = pack_steps(STEPS, SAMPLES, torch.tensor([5, 1, 3]), CPU)
    network = StepSequential(SpikeConv2d(2, WIDE, 3), MaxPool2d(2), Neuron(NeuronRule(threshold=0.3)))
    want = learnt(network, some_frames(steps), steps)
    network.zero_grad()
    monkeypatch.setattr(chunks, "CHUNK_BYTES", WIDE * 8 * 6 * 4 * 2)
    got = learnt(network, some_frames(steps), steps)
    assert all(torch.allclose(got[name], value, atol=1e-5) for name, value in want.items())
    assert chunks.through([network[0]], some_frames(steps), 2).is_contiguous()


def test_chunks_are_about_equal_and_the_same_every_time(in_pairs):
    in_pairs()
    steps = PackedSteps([3, 2], torch.arange(3))
    network = pooled_network()
    sizes = Sizes(network[1])
    first = learnt(network, some_frames(steps), steps)
    assert sizes.frames == [2, 2, 1]
    network.zero_grad()
    again = learnt(network, some_frames(steps), steps)
    assert all(torch.equal(value, again[name]) for name, value in first.items())


def test_a_still_image_goes_once_through_the_convolution_unless_hoisting_is_off(in_pairs):
    in_pairs()
    steps, network = pack_steps(STEPS, SAMPLES, None, CPU), pooled_network()
    sizes = Sizes(network[0])
    image = torch.rand(SAMPLES, 2, 8, 6, generator=torch.Generator().manual_seed(2))
    once = network(image, steps)
    assert sizes.frames == [SAMPLES]
    with unhoisted():
        assert torch.allclose(network(image, steps), once, atol=1e-5)


def test_whoever_listens_to_a_layer_hears_all_frames_at_once(in_pairs):
    in_pairs()
    steps, network = pack_steps(STEPS, SAMPLES, None, CPU), pooled_network()
    heard: list[int] = []
    network[0].register_forward_hook(lambda _module, _inputs, out: heard.append(len(out)))
    network(some_frames(steps), steps)
    assert heard == [STEPS * SAMPLES]


@pytest.mark.parametrize("between", [nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Dropout2d(0.5)])
def test_layers_that_tie_frames_together_see_all_of_them(in_pairs, between):
    in_pairs()
    steps = pack_steps(STEPS, SAMPLES, None, CPU)
    network = StepSequential(nn.Conv2d(2, 4, 3, padding=1), between, MaxPool2d(2), Neuron(NeuronRule()))
    sizes = [Sizes(module) for module in network[:2]]
    network(some_frames(steps), steps)
    assert [one.frames for one in sizes] == [[STEPS * SAMPLES]] * 2


def test_a_normalisation_by_what_was_learnt_ties_nothing_together(in_pairs):
    in_pairs()
    steps = pack_steps(STEPS, SAMPLES, None, CPU)
    network = StepSequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), MaxPool2d(2)).eval()
    sizes = Sizes(network[1])
    network(some_frames(steps), steps)
    assert max(sizes.frames) == 2


def test_layers_are_put_in_rows():
    network = pooled_network()
    kinds = [[type(module).__name__ for module in row] for row in chunks.rows(network)]
    assert kinds == [["Conv2d", "MaxPool2d"], ["Neuron"], ["Sequential", "AvgPool2d", "Flatten"], ["Linear"]]


def test_only_what_is_pooled_behind_a_convolution_is_worth_a_chunk():
    frames = torch.ones(10000, 2, 20, 25)
    convolution, pooling = nn.Conv2d(2, 8, 3), MaxPool2d(2)
    assert chunks.size_of([convolution, pooling], frames) == 4 * 2**20 // (8 * 20 * 25 * 4) == 262
    for row in ([convolution], [pooling, convolution], [pooling, nn.Flatten()]):
        assert chunks.size_of(row, frames) == len(frames)
    assert chunks.size_of([convolution, pooling], frames.to("meta")) == len(frames)
