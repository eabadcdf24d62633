"""The gradient of weights as one product: torch's, whatever the stride, the padding and the layout of memory."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from difflogic_tonic.nets.spiking import conv_columns
from difflogic_tonic.nets.spiking.conv import SpikeConv2d


def learnt(y: Tensor, given: list[Tensor]) -> list[Tensor]:
    counted = torch.randint(-2, 3, y.shape, generator=torch.Generator().manual_seed(y.numel())).to(y.dtype)
    return [y.detach(), *torch.autograd.grad((y * counted).sum(), given)]


@settings(max_examples=40, deadline=None)
@given(
    frames=st.integers(1, 5),
    channels=st.integers(1, 9),
    outputs=st.integers(1, 20),
    height=st.integers(5, 9),
    width=st.integers(5, 9),
    rows=st.integers(1, 5),
    columns=st.integers(1, 5),
    padding=st.integers(0, 2),
    stride=st.integers(1, 3),
    last=st.booleans(),
    biased=st.booleans(),
)
def test_gradients_are_exact_where_arithmetic_is(
    frames, channels, outputs, height, width, rows, columns, padding, stride, last, biased
):
    generator = torch.Generator().manual_seed(width)
    shapes = (frames, channels, height, width), (outputs, channels, rows, columns), *((outputs,) for _ in range(biased))
    given = [torch.randint(-2, 3, shape, generator=generator).float() for shape in shapes]
    given[0] = given[0].contiguous(memory_format=torch.channels_last) if last else given[0]
    doubled = [tensor.double().requires_grad_() for tensor in given]
    given = [tensor.requires_grad_() for tensor in given]
    bias = given[2] if biased else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conv_columns, "COLUMNS", 2 * 4 * 9 * 9 * rows * columns * channels)  # two frames or a few
        found = learnt(conv_columns.convolve(given[0], given[1], bias, stride, padding), given)
    wanted = learnt(F.conv2d(*doubled, stride=stride, padding=padding), doubled)
    for one, other in zip(found, wanted, strict=True):
        assert torch.equal(one, other.float())


@pytest.mark.parametrize(
    ("layer", "side", "taken"),
    [
        (SpikeConv2d(4, 16, 3, padding=1), 4, True),
        (SpikeConv2d(4, 16, 3, padding=1), 5, False),
        (SpikeConv2d(4, 16, 3, stride=2, padding=1), 16, True),
        (SpikeConv2d(4, 16, 3, stride=2, padding=1), 18, False),
        (SpikeConv2d(4, 16, 1), 4, False),
        (SpikeConv2d(4, 8, 3, padding=1), 4, False),
        (SpikeConv2d(4, 16, 3, padding=1, groups=2), 4, False),
        (SpikeConv2d(4, 16, 3, stride=(1, 2), padding=1), 4, False),
        (SpikeConv2d(4, 16, 3, padding="same"), 4, False),
    ],
)
def test_the_layer_uses_it_where_frames_have_few_places(monkeypatch, layer, side, taken):
    called: list[int] = []
    convolve = conv_columns.convolve

    def counted(x, *given):
        called.append(len(x))
        return convolve(x, *given)

    monkeypatch.setattr(conv_columns, "convolve", counted)
    x = torch.rand(2, 4, side, side, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(layer(x), nn.Conv2d.forward(layer, x), atol=1e-5)
    assert bool(called) == taken
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
    assert len(called) == int(taken)
