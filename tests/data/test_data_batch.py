from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from difflogic_tonic.data import Batch, expand
from difflogic_tonic.data.batch import Mixed, unpack_bits

SHAPE = (2, 1, 3)  # P, H, W: six values, so that packed frames end inside a byte


def make_batch(inputs: list, view: str, packed: bool = False) -> Batch:
    tensor = torch.tensor(inputs, dtype=torch.uint8)
    n = torch.arange(len(tensor))
    return Batch(tensor, n, torch.ones_like(n), n, packed, SHAPE, view)


def test_a_frame_of_counts_keeps_its_numbers_and_its_places():
    x = expand(make_batch([[0, 1, 2, 3, 4, 255]], "frames"))
    assert x.dtype == torch.float32
    assert x.tolist() == [[[[0, 1, 2]], [[3, 4, 255]]]]


def test_a_sequence_has_time_first():
    x = expand(make_batch([[[1] * 6, [2] * 6], [[3] * 6, [4] * 6]], "sequence"))
    assert x.shape == (2, 2, *SHAPE)
    assert x[:, :, 0, 0, 0].tolist() == [[1, 3], [2, 4]]  # [T, B]


def test_stacked_frames_become_channels_in_time_order():
    x = expand(make_batch([[[1, 1, 1, 2, 2, 2], [3, 3, 3, 4, 4, 4]]], "stacked"))
    assert x.shape == (1, 4, 1, 3)
    assert x[0, :, 0, 0].tolist() == [1, 2, 3, 4]


def test_bits_are_unpacked_from_the_lowest_on():
    assert expand(make_batch([[0b100011]], "frames", packed=True)).flatten().tolist() == [1, 1, 0, 0, 0, 1]


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_unpacking_undoes_numpys_packing_for_any_shape(data):
    shape = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    n = data.draw(st.integers(1, 40))
    bits = np.random.default_rng(n).integers(0, 2, (*shape, n)).astype(np.uint8)
    packed = torch.from_numpy(np.packbits(bits, axis=-1, bitorder="little"))
    assert (unpack_bits(packed, n, torch.float32).numpy() == bits).all()


@pytest.mark.parametrize("view", ["sequence", "stacked"])
def test_packed_and_counted_frames_of_ones_and_zeros_expand_alike(view):
    counts = np.random.default_rng(0).integers(0, 2, (3, 4, 6)).astype(np.uint8)
    packed = np.packbits(counts, axis=-1, bitorder="little")
    assert torch.equal(
        expand(make_batch(counts.tolist(), view)), expand(make_batch(packed.tolist(), view, packed=True))
    )


def test_other_float_types_can_be_asked_for():
    assert expand(make_batch([[1] * 6], "frames"), torch.bfloat16).dtype == torch.bfloat16


def test_moving_a_batch_keeps_everything_else():
    batch = make_batch([[[1]]], "sequence", packed=True).to("cpu")
    assert (batch.frame_shape, batch.packed, batch.view, len(batch)) == (SHAPE, True, "sequence", 1)


def test_the_mask_says_which_frames_are_a_recordings_own():
    batch = replace(make_batch([[[1] * 6] * 3] * 2, "sequence"), lengths=torch.tensor([1, 3]))
    assert batch.mask().tolist() == [[True, True], [False, True], [False, True]]  # [T, B]
    assert make_batch([[1] * 6], "frames").mask().tolist() == [[True]]


def test_targets_of_mixed_samples_share_one_between_two_labels():
    batch = make_batch([[1] * 6] * 3, "frames")  # labels 0, 1, 2
    assert batch.targets(4) is batch.labels
    mixed = replace(batch, mixed=Mixed(torch.tensor([1, 3, 2]), torch.tensor([0.75, 0.5, 0.625])))
    assert mixed.targets(4).tolist() == [[0.75, 0.25, 0, 0], [0, 0.5, 0, 0.5], [0, 0, 1, 0]]
    assert torch.equal(mixed.to("cpu").targets(4), mixed.targets(4))
