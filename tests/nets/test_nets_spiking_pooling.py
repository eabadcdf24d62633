import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from difflogic_tonic.nets.spiking import neuron_cpu
from difflogic_tonic.nets.spiking.pooling import MaxPool2d


def pooled(module: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    x = x.clone().requires_grad_()
    out = module(x)
    (out * torch.linspace(-1, 2, out.numel(), dtype=x.dtype).view_as(out)).sum().backward()
    return out.detach(), x.grad


def assert_like_torch(x: Tensor, *sizes: int) -> None:
    got, want = pooled(MaxPool2d(*sizes), x), pooled(nn.MaxPool2d(*sizes), x)
    assert torch.equal(got[0], want[0])
    assert torch.equal(got[1], want[1])


def test_the_first_of_equal_pixels_gets_the_gradient():
    x = torch.tensor([[0.0, 1.0, 5.0], [1.0, 1.0, 5.0]]).view(1, 1, 2, 3).requires_grad_()
    out = MaxPool2d(2)(x)
    out.backward(torch.tensor([[[[3.0]]]]))
    assert out.item() == 1
    assert x.grad.flatten().tolist() == [0, 3, 0, 0, 0, 0]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 3), st.integers(1, 4), st.integers(2, 19), st.integers(2, 37), st.booleans(), st.booleans())
def test_it_is_torchs_for_spikes_and_numbers_of_any_size(samples, channels, height, width, spikes, half):
    x = torch.randn(samples, channels, height, width, generator=torch.Generator().manual_seed(width))
    x = (x > 0.5).float() if spikes else x
    assert_like_torch(x.to(torch.bfloat16) if half else x, 2)


@pytest.mark.parametrize("sizes", [(3,), (2, 1), (3, 2, 1)])
def test_other_windows_are_torchs(sizes):
    assert_like_torch(torch.randn(2, 3, 9, 8), *sizes)


def test_what_is_not_a_number_shows():
    x = torch.tensor([[1.0, torch.nan, 2.0, 3.0], [2.0, 0.0, 4.0, torch.inf]]).view(1, 1, 2, 4)
    assert MaxPool2d(2)(x)[0, 0, 0].isnan().tolist() == [True, False]
    assert MaxPool2d(2)(x)[0, 0, 0, 1] == torch.inf


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_threads_change_nothing(monkeypatch, layout):
    x = torch.randn(3, 5, 14, 15).to(memory_format=layout)
    alone = pooled(MaxPool2d(2), x)
    monkeypatch.setattr(neuron_cpu, "_SINGLE_THREADED", 0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert all(torch.equal(one, other) for one, other in zip(alone, pooled(MaxPool2d(2), x), strict=True))


def test_images_too_small_for_a_window_are_refused_as_by_torch():
    with pytest.raises(RuntimeError):
        MaxPool2d(2)(torch.ones(1, 1, 1, 5))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("sides", [(6, 8), (7, 5), (2, 3)])
@pytest.mark.parametrize("channels", [3, 20])
def test_a_layout_of_channels_last_is_read_right_and_kept(channels, sides, dtype):
    x = torch.randn(2, channels, *sides, generator=torch.Generator().manual_seed(5)).round(decimals=1)  # some are equal
    x = x.to(dtype).to(memory_format=torch.channels_last)
    assert_like_torch(x, 2)
    assert MaxPool2d(2)(x).is_contiguous(memory_format=torch.channels_last)


def test_what_is_not_a_number_shows_in_a_layout_of_channels_last():
    x = torch.tensor([[1.0, torch.nan, 2.0, 3.0], [2.0, 0.0, 4.0, torch.inf]]).view(1, 1, 2, 4).repeat(1, 3, 1, 1)
    pooled = MaxPool2d(2)(x.to(memory_format=torch.channels_last))
    assert pooled[0, :, 0, 0].isnan().all()
    assert (pooled[0, :, 0, 1] == torch.inf).all()
