"""Gradients of inputs by Winograd's algorithm: those of float64 up to rounding, the same bits with any threads."""

import ctypes

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from difflogic_tonic.nets.spiking import winograd_cpu
from difflogic_tonic.nets.spiking.conv import SpikeConv2d
from difflogic_tonic.nets.spiking.spike_conv_cpu import find_kernel
from difflogic_tonic.nets.spiking.winograd_cpu import gradient_of_input, takes

KERNEL = find_kernel()
needs_kernel = pytest.mark.skipif(isinstance(KERNEL, str), reason=f"no C kernel: {KERNEL}")


def variants() -> list[int]:
    return [] if isinstance(KERNEL, str) else list(range(KERNEL.best_variant + 1))


def some_gradient(frames: int, outputs: int, rows: int, columns: int) -> Tensor:
    """Channels of a pixel side by side."""
    return torch.randn(frames, rows, columns, outputs, generator=torch.Generator().manual_seed(rows))


def some_weights(outputs: int, channels: int) -> Tensor:
    return torch.randn(outputs, channels, 3, 3, generator=torch.Generator().manual_seed(channels))


def exact(grad: Tensor, weight: Tensor, padding: int, frames: torch.Size) -> Tensor:
    options = [1, 1], [padding, padding], [1, 1], False, [0, 0], 1, [True, False, False]
    x, grad = torch.zeros(frames, dtype=torch.float64), grad.permute(0, 3, 1, 2).double()
    found: Tensor = torch.ops.aten.convolution_backward(grad, x, weight.double(), None, *options)[0]
    return found


@needs_kernel
@pytest.mark.parametrize("variant", variants())
@settings(max_examples=25, deadline=None)
@given(
    frames=st.integers(1, 4),
    channels=st.sampled_from([32, 64, 96]),
    outputs=st.sampled_from([16, 48, 64]),
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    padding=st.integers(0, 2),
)
def test_gradients_are_those_of_float64(variant, frames, channels, outputs, height, width, padding):
    height, width = (max(side, 3 - 2 * padding) for side in (height, width))
    shape = torch.Size((frames, channels, height, width))
    grad = some_gradient(frames, outputs, height + 2 * padding - 2, width + 2 * padding - 2)
    weight = some_weights(outputs, channels)
    found = gradient_of_input(KERNEL.library, variant, grad, weight, padding, shape)
    want = exact(grad, weight, padding, shape)
    assert found.shape == want.shape
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert float((found - want).abs().max()) <= 2e-6 * float(want.abs().max())


@needs_kernel
def test_threads_and_other_frames_change_no_bit(two_threads):
    shape = torch.Size((7, 64, 9, 11))
    grad, weight = some_gradient(7, 32, 9, 11), some_weights(32, 64)

    def found(grad: Tensor, threads: int) -> Tensor:
        torch.set_num_threads(threads)
        frames = torch.Size((len(grad), *shape[1:]))
        return gradient_of_input(KERNEL.library, KERNEL.best_variant, grad, weight, 1, frames)

    one = found(grad, 1)
    assert torch.equal(one, found(grad, 2))
    assert torch.equal(one, torch.cat([found(grad[frame : frame + 1], 1) for frame in range(7)]))


@needs_kernel
@pytest.mark.parametrize(
    ("weight", "padding", "frames", "taken"),
    [
        ((32, 64, 3, 3), 1, (3, 64, 8, 8), True),
        ((32, 64, 3, 3), 1, (2, 64, 8, 8), False),  # 32 tiles
        ((32, 64, 3, 3), 1, (3, 64, 7, 7), True),  # the last tiles of a row are half empty
        ((32, 36, 3, 3), 1, (3, 36, 8, 8), False),
        ((24, 64, 3, 3), 1, (3, 64, 8, 8), False),
        ((32, 64, 3, 5), 1, (3, 64, 8, 8), False),
        ((32, 64, 3, 3), 3, (3, 64, 8, 8), False),
    ],
)
def test_what_it_is_for(weight, padding, frames, taken):
    assert takes(KERNEL.library, KERNEL.best_variant, torch.empty(weight), padding, torch.Size(frames)) is taken


@needs_kernel
@pytest.mark.parametrize("frames", [1, 12])
def test_a_layer_over_spikes_learns_with_it(frames, monkeypatch):
    called = []

    def counted(*given):
        called.append(given)
        return gradient_of_input(*given)

    monkeypatch.setattr(winograd_cpu, "gradient_of_input", counted)
    layer = SpikeConv2d(32, 48, 3, padding=1, bias=False)
    x = (torch.rand(frames, 32, 5, 6) < 0.3).float().requires_grad_()
    y = layer(x)
    grad = torch.randn_like(y)
    (found,) = torch.autograd.grad(y, [x], grad)
    want = exact(grad.permute(0, 2, 3, 1), layer.weight.detach(), 1, x.shape)
    assert float((found - want).abs().max()) <= 2e-6 * float(want.abs().max())
    assert bool(called) == (frames == 12)


@needs_kernel
def test_both_sides_agree_on_the_plan():
    assert KERNEL.library.winograd_plan_size() == ctypes.sizeof(winograd_cpu._Plan)
