"""Convolutions over spikes by lookup: those of torch, up to rounding, and the same bits for any number of threads."""

import logging

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from difflogic_tonic.nets.logic.cpu_build import KernelUnavailable
from difflogic_tonic.nets.spiking import spike_conv_cpu
from difflogic_tonic.nets.spiking.conv import SpikeConv2d
from difflogic_tonic.nets.spiking.spike_conv_cpu import Kernel, convolve, find_kernel, pack_spikes

KERNEL = find_kernel()
needs_kernel = pytest.mark.skipif(isinstance(KERNEL, str), reason=f"no C kernel: {KERNEL}")


def some_spikes(shape: tuple[int, ...], density: float, seed: int = 0) -> Tensor:
    return (torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < density).float()


def variants() -> list[int]:
    return [] if isinstance(KERNEL, str) else list(range(KERNEL.best_variant + 1))


def gradients(y: Tensor, given: list[Tensor]) -> list[Tensor]:
    weights = torch.linspace(0.1, 1, y.numel()).to(y.dtype).view(y.shape)  # of one sign: nothing cancels out
    return list(torch.autograd.grad((y * weights).sum(), given))


def looked_up(kernel: Kernel, x: Tensor, weight: Tensor, bias: Tensor | None, padding: int) -> list[Tensor]:
    """The result and the gradients of x, weight and bias."""
    given = [tensor.clone().requires_grad_() for tensor in (x, weight, bias) if tensor is not None]
    spikes = pack_spikes(kernel, x, weight, padding)
    assert spikes is not None
    y = convolve(kernel, spikes, given[0], given[1], given[2] if bias is not None else None)
    return [y.detach(), *gradients(y, given)]


def exact(x: Tensor, weight: Tensor, bias: Tensor | None, padding: int) -> list[Tensor]:
    given = [tensor.double().requires_grad_() for tensor in (x, weight, bias) if tensor is not None]
    y = F.conv2d(given[0], given[1], given[2] if bias is not None else None, padding=padding)
    return [y.detach(), *gradients(y, given)]


@needs_kernel
@pytest.mark.parametrize("variant", variants())
@settings(max_examples=25, deadline=None)
@given(
    frames=st.integers(1, 3),
    channels=st.integers(1, 9),
    outputs=st.sampled_from([1, 12, 16, 33, 48, 70, 112]),
    height=st.integers(5, 9),
    width=st.integers(5, 21),
    rows=st.integers(1, 6),
    columns=st.integers(1, 5),
    padding=st.integers(0, 3),
    density=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    last=st.booleans(),
    biased=st.booleans(),
)
def test_results_and_gradients_are_those_of_float64(
    variant, frames, channels, outputs, height, width, rows, columns, padding, density, last, biased
):
    assert isinstance(KERNEL, Kernel)
    rows = min(rows, height + 2 * padding)
    x = some_spikes((frames, channels, height, width), density, seed=width)
    x = x.contiguous(memory_format=torch.channels_last) if last else x
    generator = torch.Generator().manual_seed(rows)
    weight = torch.randn(outputs, channels, rows, columns, generator=generator)
    bias = torch.randn(outputs, generator=generator) if biased else None
    got = looked_up(Kernel(KERNEL.library, variant), x, weight, bias, padding)
    for found, want in zip(got, exact(x, weight, bias, padding), strict=True):
        assert found.shape == want.shape
        assert float((found - want).abs().max()) <= 1e-5 * max(1.0, float(want.abs().max()))


@needs_kernel
def test_two_threads_compute_the_bits_of_one(two_threads):
    assert isinstance(KERNEL, Kernel)
    x, weight = some_spikes((9, 10, 14, 13), 0.3), torch.randn(80, 10, 3, 3)
    two = looked_up(KERNEL, x, weight, None, 1)
    torch.set_num_threads(1)
    one = looked_up(KERNEL, x, weight, None, 1)
    assert torch.equal(one[0], two[0])
    assert torch.equal(one[2], two[2])


@needs_kernel
@pytest.mark.parametrize("value", [2.0, 0.5, -1.0, float("nan")])
def test_anything_but_0_and_1_is_no_spike(value):
    assert isinstance(KERNEL, Kernel)
    x, weight = some_spikes((2, 3, 6, 7), 0.2), torch.randn(16, 3, 3, 3)
    assert pack_spikes(KERNEL, x, weight, 1) is not None
    x[1, 2, 5, 6] = value
    assert pack_spikes(KERNEL, x, weight, 1) is None


def count_lookups(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    called: list[int] = []

    def counted(*given):
        called.append(len(given))
        return convolve(*given)

    monkeypatch.setattr(spike_conv_cpu, "convolve", counted)
    return called


@needs_kernel
def test_the_layer_looks_spikes_up(monkeypatch):
    called = count_lookups(monkeypatch)
    layer, x = SpikeConv2d(5, 32, 3, padding=1), some_spikes((2, 5, 8, 9), 0.3)
    assert torch.allclose(layer(x), nn.Conv2d.forward(layer, x), atol=1e-5)
    assert called
    assert layer(x[:0]).shape == (0, 32, 8, 9)
    assert layer(x[0]).shape == (32, 8, 9)


@pytest.mark.parametrize(
    ("options", "scale"),
    [
        ({}, 0.5),
        ({"stride": 2}, 1.0),
        ({"dilation": 2}, 1.0),
        ({"groups": 2}, 1.0),
        ({"padding": "same"}, 1.0),
        ({"padding": (1, 0)}, 1.0),
        ({"padding": 1, "padding_mode": "circular"}, 1.0),
    ],
)
def test_what_the_lookup_does_not_take_is_torchs(monkeypatch, options, scale):
    called = count_lookups(monkeypatch)
    layer, x = SpikeConv2d(4, 16, 3, **options), scale * some_spikes((2, 4, 8, 9), 0.3)
    assert torch.allclose(layer(x), nn.Conv2d.forward(layer, x), atol=1e-5)
    assert called == []


def test_mixed_precision_is_torchs(monkeypatch):
    called = count_lookups(monkeypatch)
    layer, x = SpikeConv2d(4, 16, 3), some_spikes((2, 4, 8, 9), 0.3)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
    assert called == []


def test_without_the_kernel_the_layer_is_torchs_and_says_so_once(monkeypatch, caplog):
    def none_here() -> None:
        raise KernelUnavailable("there is no gcc or cc on the PATH")

    layer, x = SpikeConv2d(4, 16, 3), some_spikes((2, 4, 8, 9), 0.3)
    want = layer(x)
    monkeypatch.setattr(spike_conv_cpu, "load_library", none_here)
    find_kernel.cache_clear()
    try:
        with caplog.at_level(logging.WARNING):
            assert torch.allclose(layer(x), want, atol=1e-5)
            layer(x)
    finally:
        monkeypatch.undo()
        find_kernel.cache_clear()
    (record,) = caplog.records
    assert record.getMessage() == (
        "convolutions over spikes are torch's own, which are slower: there is no gcc or cc on the PATH"
    )


@needs_kernel
def test_only_a_byte_for_four_places_is_kept_for_the_backward_pass():
    layer, x = SpikeConv2d(16, 16, 3, padding=1), some_spikes((4, 16, 16, 16), 0.2)
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        layer(x)
    inputs = sum(tensor.numel() * tensor.element_size() for tensor in kept if tensor is not layer.weight)
    assert inputs == 4 * 18 * 4 * 16  # frames, padded rows, groups of four places, channels


def test_an_exported_graph_has_torchs_convolution(monkeypatch):
    called = count_lookups(monkeypatch)
    layer, x = SpikeConv2d(4, 16, 3).eval(), some_spikes((2, 4, 8, 9), 0.3)
    program = torch.export.export(layer, (x,))
    assert torch.allclose(program.module()(x), layer(x), atol=1e-5)
    assert len(called) <= 1  # by the layer itself
    assert any("conv2d" in str(node.target) for node in program.graph.nodes)
