"""A convolution and its pooling in one: the values and gradients of the two, of which most gradients are never made."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from difflogic_tonic.nets.spiking import chunks, pooled_conv
from difflogic_tonic.nets.spiking.conv import SpikeConv2d
from difflogic_tonic.nets.spiking.neurons import Neuron
from difflogic_tonic.nets.spiking.pooled_conv import PooledConv, joined
from difflogic_tonic.nets.spiking.pooling import MaxPool2d
from difflogic_tonic.nets.spiking.rule import NeuronRule
from difflogic_tonic.nets.spiking.spike_conv_cpu import Kernel, find_kernel
from difflogic_tonic.nets.spiking.steps import PackedSteps, pack_steps
from difflogic_tonic.nets.spiking.stepwise import StepSequential

KERNEL = find_kernel()
needs_kernel = pytest.mark.skipif(isinstance(KERNEL, str), reason=f"no C kernel: {KERNEL}")


def variants() -> list[int]:
    return [] if isinstance(KERNEL, str) else list(range(KERNEL.best_variant + 1))


def whole_numbers(shape: tuple[int, ...], low: int, high: int, seed: int) -> Tensor:
    return torch.randint(low, high + 1, shape, generator=torch.Generator().manual_seed(seed)).float()


def gradients(y: Tensor, given: list[Tensor]) -> list[Tensor]:
    """Those of a sum in which results count from -2 to 2 times, a fifth of them not at all."""
    counted = whole_numbers(tuple(y.shape), -2, 2, seed=y.numel()).to(y.dtype)
    return list(torch.autograd.grad((y * counted).sum(), given))


def in_one(pooled: PooledConv, x: Tensor) -> list[Tensor]:
    """The result and the gradients of x and of the parameters."""
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    y = pooled(x)
    return [y.detach(), *gradients(y, [x, *pooled.convolution.parameters()])]


def in_two(pooled: PooledConv, x: Tensor) -> list[Tensor]:
    """The same by torch, in float64."""
    given = [tensor.detach().double().requires_grad_() for tensor in (x, *pooled.convolution.parameters())]
    y = F.max_pool2d(F.conv2d(*given, padding=pooled.convolution.pad), 2)
    return [y.detach(), *gradients(y, given)]


def layers(channels: int, outputs: int, size: int | tuple[int, int], padding: int = 0, bias: bool = True) -> PooledConv:
    """Weights are whole numbers: sums are exact in any order, and windows have equal pixels."""
    convolution = SpikeConv2d(channels, outputs, size, padding=padding, bias=bias)
    with torch.no_grad():
        for parameter in convolution.parameters():
            parameter.copy_(whole_numbers(tuple(parameter.shape), -3, 3, seed=outputs))
    return PooledConv(convolution, MaxPool2d(2))


@needs_kernel
@pytest.mark.parametrize("variant", variants())
@settings(max_examples=30, deadline=None)
@given(
    frames=st.integers(1, 11),
    channels=st.sampled_from([1, 2, 3, 8, 12, 17, 40]),
    outputs=st.sampled_from([1, 3, 12, 16, 33]),
    height=st.integers(7, 11),
    width=st.integers(7, 15),
    rows=st.integers(1, 6),
    columns=st.integers(1, 6),
    padding=st.integers(0, 2),
    largest=st.sampled_from([1, 2]),
    last=st.booleans(),
    biased=st.booleans(),
)
def test_values_and_gradients_are_exact_where_arithmetic_is(
    variant, frames, channels, outputs, height, width, rows, columns, padding, largest, last, biased
):
    assert isinstance(KERNEL, Kernel)
    pooled = layers(channels, outputs, (rows, columns), padding, biased)
    x = whole_numbers((frames, channels, height, width), 0, largest, seed=width)  # spikes, or events of a frame
    x = x.contiguous(memory_format=torch.channels_last) if last else x
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pooled_conv, "find_kernel", lambda: Kernel(KERNEL.library, variant))
        patch.setattr(pooled_conv, "AT_ONCE", 3 * 4 * outputs * height * width)  # three frames
        found = in_one(pooled, x)
    for one, two in zip(found, in_two(pooled, x), strict=True):
        assert torch.equal(one, two.float())


@needs_kernel
def test_two_threads_compute_the_bits_of_one(two_threads):
    pooled = PooledConv(SpikeConv2d(10, 20, 3, padding=1), MaxPool2d(2))
    x = (torch.rand(19, 10, 14, 13, generator=torch.Generator().manual_seed(0)) < 0.3).float()
    two = in_one(pooled, x)
    torch.set_num_threads(1)
    for one, other in zip(in_one(pooled, x), two, strict=True):
        assert torch.equal(one, other)


@needs_kernel
@pytest.mark.parametrize("outputs", [3, 16])
def test_what_is_not_a_number_shows(outputs):
    pooled, x = layers(2, outputs, 3), torch.ones(1, 2, 8, 8)
    x[0, 1, 6, 6] = torch.nan
    y = pooled(x)
    assert y[0, :, 2, 2].isnan().all()
    assert not y[0, :, 0, 0].isnan().any()


@needs_kernel
def test_spikes_are_kept_packed_and_the_convolution_not_at_all():
    pooled, x = layers(16, 16, 3, padding=1), whole_numbers((4, 16, 16, 16), 0, 1, seed=1)
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        pooled(x)
    sizes = {tensor.numel() * tensor.element_size() for tensor in kept if tensor is not pooled.convolution.weight}
    # frames, padded rows, groups of four places, channels; and which pixel of a window is the largest
    assert sizes == {4 * 18 * 4 * 16, 4 * 16 * 8 * 8}


def count_joined(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    called: list[int] = []
    convolve_and_pool = pooled_conv.convolve_and_pool

    def counted(kernel, x, *given, **named):
        called.append(len(x))
        return convolve_and_pool(kernel, x, *given, **named)

    monkeypatch.setattr(pooled_conv, "convolve_and_pool", counted)
    return called


def network() -> StepSequential:
    torch.manual_seed(0)
    return StepSequential(
        SpikeConv2d(2, 4, 3), MaxPool2d(2), Neuron(NeuronRule(threshold=0.3)), nn.Flatten(), nn.Linear(36, 3)
    )


def some_steps() -> tuple[Tensor, PackedSteps]:
    steps = pack_steps(5, 3, torch.tensor([5, 1, 3]), torch.device("cpu"))
    return torch.rand(sum(steps.counts), 2, 8, 8, generator=torch.Generator().manual_seed(1)), steps


def learnt(make: Callable[[], StepSequential]) -> list[Tensor]:
    made = make()
    out = made(*some_steps())
    (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
    return [out.detach(), *(parameter.grad for parameter in made.parameters())]


@needs_kernel
def test_a_network_that_learns_has_them_in_one_with_all_frames(monkeypatch):
    called = count_joined(monkeypatch)
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 1)
    got = learnt(network)
    assert called == [9]
    monkeypatch.setattr(pooled_conv, "find_kernel", lambda: "none")
    for one, other in zip(got, learnt(network), strict=True):
        assert torch.allclose(one, other, atol=1e-6)
    assert called == [9]


@needs_kernel
def test_a_network_that_does_not_learn_has_them_in_two(monkeypatch):
    called = count_joined(monkeypatch)
    with torch.no_grad():
        network()(*some_steps())
    assert called == []


@needs_kernel
def test_mixed_precision_and_frames_that_nothing_is_pooled_of_are_torchs(monkeypatch):
    called = count_joined(monkeypatch)
    pooled = layers(2, 4, 3)
    with torch.autocast("cpu", torch.bfloat16):
        assert pooled(torch.ones(1, 2, 8, 8)).dtype == torch.bfloat16
    with pytest.raises(RuntimeError, match="too small"):
        pooled(torch.ones(1, 2, 3, 9))
    assert called == []


def test_modules_are_joined_unless_somebody_listens():
    def kinds(*modules: nn.Module) -> list[str]:
        return [type(module).__name__ for module in joined(modules)]

    convolution, pooling = SpikeConv2d(2, 4, 3), MaxPool2d(2)
    assert kinds(convolution, pooling, nn.Flatten()) == ["PooledConv", "Flatten"]
    assert kinds(convolution, convolution, pooling) == ["SpikeConv2d", "PooledConv"]
    assert kinds(convolution, MaxPool2d(3)) == ["SpikeConv2d", "MaxPool2d"]
    assert kinds(convolution, nn.BatchNorm2d(4), pooling) == ["SpikeConv2d", "BatchNorm2d", "MaxPool2d"]
    assert kinds(nn.Conv2d(2, 4, 3), pooling) == ["Conv2d", "MaxPool2d"]
    assert kinds(convolution) == ["SpikeConv2d"]
    hook = pooling.register_forward_hook(lambda *_: None)
    assert kinds(convolution, pooling) == ["SpikeConv2d", "MaxPool2d"]
    hook.remove()
    convolution.register_full_backward_hook(lambda *_: None)
    assert kinds(convolution, pooling) == ["SpikeConv2d", "MaxPool2d"]
