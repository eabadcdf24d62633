import math

import pytest
import torch

from difflogic_tonic.nets.cnn import ConvNet
from difflogic_tonic.nets.initial import compress_counts, seeded
from difflogic_tonic.nets.mlp import Perceptron

FRAME = (2, 9, 6)

NETS = [
    lambda seed: ConvNet(FRAME, 4, hidden=8, seed=seed),
    lambda seed: Perceptron(FRAME, 4, hidden=[8, 5], seed=seed),
]


def equal_weights(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_counts_are_compressed_and_zero_stays_zero():
    assert compress_counts(torch.tensor([0.0, 1.0, 9.0])).tolist() == pytest.approx([0, math.log(2), math.log(10)])


@pytest.mark.parametrize("make", NETS)
def test_logits_are_float32_one_row_per_frame(make):
    x = torch.ones(3, *FRAME)
    with torch.autocast("cpu", torch.bfloat16):
        logits = make(0)(x)
    assert logits.shape == (3, 4)
    assert logits.dtype == torch.float32


@pytest.mark.parametrize("make", NETS)
def test_weights_depend_on_the_seed_and_on_nothing_else(make):
    torch.manual_seed(1)
    first = make(7)
    torch.manual_seed(2)
    assert equal_weights(first, make(7))
    assert not equal_weights(first, make(8))


@pytest.mark.parametrize("make", NETS)
def test_building_does_not_move_the_global_generator(make):
    torch.manual_seed(3)
    make(0)
    after = torch.rand(1)
    torch.manual_seed(3)
    assert after == torch.rand(1)


def test_the_generator_is_put_back_after_an_error_too():
    torch.manual_seed(3)
    with pytest.raises(RuntimeError, match="shape"), seeded(0):
        torch.rand(5).view(4)
    after = torch.rand(1)
    torch.manual_seed(3)
    assert after == torch.rand(1)


def test_the_cnn_has_the_documented_parameters():
    # conv 5×5 and 3×3 with biases, 64 maps of 2×1 after two poolings of 9×6, then 8 and 4
    expected = (2 * 25 * 32 + 32) + (32 * 9 * 64 + 64) + (64 * 2 * 1 * 8 + 8) + (8 * 4 + 4)
    assert sum(p.numel() for p in ConvNet(FRAME, 4, hidden=8, seed=0).parameters()) == expected


def test_frames_too_small_for_two_poolings_are_refused():
    with pytest.raises(ValueError, match="frames of 3×6 are too small for two poolings; expected at least 4×4"):
        ConvNet((2, 3, 6), 4, seed=0)


def test_an_mlp_without_hidden_layers_is_a_linear_classifier():
    net = Perceptron(FRAME, 4, hidden=[], seed=0)
    x = torch.rand(2, *FRAME)
    linear = net.layers[-1]
    assert torch.allclose(net(x), torch.log1p(x).flatten(1) @ linear.weight.t() + linear.bias)


def test_dropout_is_off_in_evaluation():
    net = Perceptron(FRAME, 4, hidden=[50], dropout=0.5, seed=0)
    x = torch.rand(2, *FRAME)
    assert not torch.equal(net(x), net(x))
    net.eval()
    assert torch.equal(net(x), net(x))
