"""Chance in a training step is a function of seed, step, layer and sample."""

import torch
from torch import nn

from difflogic_tonic.nets.dropout import Dropout, dropout_mask
from difflogic_tonic.nets.logic.parametrization import PARAMETRIZATIONS
from difflogic_tonic.nets.moment import Moment, moment, now
from difflogic_tonic.nets.spiking.dropout import SequenceDropout
from difflogic_tonic.nets.spiking.steps import pack_steps


def dropped(layer: nn.Module, at: Moment, n_samples: int, features: int = 50) -> torch.Tensor:
    with moment(at):
        found: torch.Tensor = layer(torch.ones(n_samples, features))
    return found


def test_parts_of_a_batch_draw_what_the_whole_draws():
    layer = Dropout(0.5)
    whole = dropped(layer, Moment(1, 2, own=7), 7)
    parts = [dropped(layer, Moment(1, 2, first=0, own=3), 3), dropped(layer, Moment(1, 2, first=3, own=4), 4)]
    assert torch.equal(torch.cat(parts), whole)


def test_seed_step_batch_and_layer_decide_and_nothing_else_does():
    first, second = Dropout(0.5), Dropout(0.5)
    found = dropped(first, Moment(1, 2, own=3), 3)
    torch.manual_seed(5)
    assert torch.equal(dropped(first, Moment(1, 2, own=3), 3), found)
    for other in (Moment(2, 2, own=3), Moment(1, 3, own=3), Moment(1, 2, 1, own=3)):
        assert not torch.equal(dropped(first, other, 3), found)
    at = Moment(1, 2, own=3)
    assert torch.equal(dropped(first, at, 3), found)
    assert not torch.equal(dropped(second, at, 3), found)
    assert torch.equal(dropped(first, at, 3), found)  # computed again for the gradients


def test_the_mean_stays_and_the_share_is_the_probability():
    for probability in (0.1, 0.5, 0.8):
        mask = dropout_mask(torch.ones(64, 1001), probability, torch.arange(64))
        assert abs(float((mask == 0).float().mean()) - probability) < 0.01
        assert abs(float(mask.mean()) - 1) < 0.02
        assert len(mask.unique()) == 2
    assert not dropout_mask(torch.ones(2, 3), 1.0, torch.arange(2)).any()


def test_a_mask_has_the_dtype_and_shape_of_its_values():
    like = torch.ones(3, 2, 5, dtype=torch.bfloat16)
    mask = dropout_mask(like, 0.5, torch.arange(3))
    assert mask.dtype == torch.bfloat16
    assert mask.shape == like.shape


def test_a_sequence_keeps_its_mask_wherever_its_length_sorts_it():
    layer = SequenceDropout(0.5)
    x = torch.ones(3, 2, 40)  # steps, samples
    with moment(Moment(1, 2, own=2)):
        steps = pack_steps(3, 2, torch.tensor([1, 3]), x.device)
        packed = layer(steps.pack(x), steps)
    with moment(Moment(1, 2, first=1, own=1)):
        steps = pack_steps(3, 1, torch.tensor([3]), x.device)
        alone = layer(steps.pack(x[:, 1:]), steps)
    assert torch.equal(packed[[0, 2, 3]], alone)  # the longer one comes first in every step
    assert torch.equal(alone[0], alone[2])


def test_noise_of_gates_is_the_same_in_every_part_and_another_at_every_call():
    noise = PARAMETRIZATIONS["raw"].noise
    logits = torch.zeros(20, 16)
    with moment(Moment(1, 2, first=0, own=3)):
        found, another = noise(logits), noise(logits)
    with moment(Moment(1, 2, first=3, own=1)):
        assert torch.equal(noise(logits), found)
    assert not torch.equal(found, another)


def test_outside_of_a_step_layers_draw_as_torch_does():
    assert now() is None
    torch.manual_seed(3)
    ours = Dropout(0.5)(torch.ones(4, 5))
    torch.manual_seed(3)
    assert torch.equal(ours, nn.Dropout(0.5)(torch.ones(4, 5)))
    with moment(Moment(1, 2, own=4)):
        assert torch.equal(Dropout(0.5).eval()(torch.ones(4, 5)), torch.ones(4, 5))
