import torch
from hypothesis import given
from hypothesis import strategies as st

from difflogic_tonic.nets.logic import LogicNetwork, encoders
from difflogic_tonic.nets.logic.encoders import (
    Thermometer,
    distributive_thresholds,
    even_thresholds,
    fixed_thresholds,
    listed_thresholds,
)


def test_fixed_thresholds_count_up_from_one_event():
    counts = torch.tensor([[[0, 1, 2], [3, 9, 0]]], dtype=torch.uint8)  # one sample, 2 x 3
    bits = Thermometer(fixed_thresholds(3))(counts)
    assert bits.dtype == torch.bool
    assert bits.int().reshape(3, 6).tolist() == [[0, 1, 1, 1, 1, 0], [0, 0, 1, 1, 1, 0], [0, 0, 0, 1, 1, 0]]


def test_distributive_thresholds_split_the_positive_counts_of_each_feature():
    counts = torch.tensor([[0, 0, 5], [1, 0, 5], [2, 0, 5], [3, 0, 0], [8, 0, 5]])
    # feature 0: 1 2 3 8, half of them from 3 on; feature 1 never fires; feature 2 is 5 or nothing
    assert distributive_thresholds(counts, 2).tolist() == [[1, 1, 5], [3, 2, 6]]


def test_distributive_thresholds_do_not_depend_on_how_many_features_are_sorted_at_once(monkeypatch):
    counts = torch.poisson(torch.full((20, 11), 1.5), torch.Generator().manual_seed(0)).to(torch.uint8)
    whole = distributive_thresholds(counts, 3)
    for at_once in (1, 59, 60):
        monkeypatch.setattr(encoders, "SORTED_AT_ONCE", at_once)
        assert torch.equal(distributive_thresholds(counts, 3), whole)


@given(seed=st.integers(0, 1000), levels=st.integers(1, 5), samples=st.integers(1, 30))
def test_codes_are_thermometers_without_repeated_levels(seed, levels, samples):
    generator = torch.Generator().manual_seed(seed)
    counts = torch.poisson(torch.full((samples, 7), 1.5), generator)
    thresholds = distributive_thresholds(counts, levels)
    assert bool((thresholds.diff(dim=0) >= 1).all())
    assert bool((thresholds >= 1).all())
    bits = Thermometer(thresholds)(counts).reshape(samples, levels, 7)
    assert bool((bits[:, 1:] <= bits[:, :-1]).all())
    assert torch.equal(bits[:, 0], counts >= thresholds[0])


def test_the_first_bit_of_either_code_is_that_something_fired_in_the_sample_seen():
    counts = torch.poisson(torch.full((20, 5), 0.7), torch.Generator().manual_seed(0))
    for thresholds in (fixed_thresholds(2), distributive_thresholds(counts, 2)):
        assert torch.equal(Thermometer(thresholds)(counts)[:, :5], counts > 0)


def test_thresholds_travel_with_the_weights_and_feed_a_logic_network():
    one, other = Thermometer(fixed_thresholds(2)), Thermometer(torch.tensor([7.0, 8.0]))
    other.load_state_dict(one.state_dict())
    counts = torch.randint(4, (6, 2, 3, 2), generator=torch.Generator().manual_seed(1))
    assert torch.equal(other(counts), one(counts))
    assert LogicNetwork(24, 30, 2, 3)(one(counts)).shape == (6, 3)


def test_even_thresholds_cut_the_range_of_a_pixel_into_equal_parts():
    assert even_thresholds(1).tolist() == [128]
    assert even_thresholds(3).tolist() == [64, 128, 192]
    assert even_thresholds(2).tolist() == [86, 171]  # 85 and a third, 170 and two thirds


@given(seed=st.integers(0, 1000), levels=st.integers(1, 4))
def test_bytes_are_compared_as_the_numbers_they_are(seed, levels):
    generator = torch.Generator().manual_seed(seed)
    thresholds = torch.rand(levels, 5, generator=generator) * 260 + 0.01  # some beyond what a byte can be
    thresholds[0, :3] = torch.tensor([1.0, 255.0, 256.0])
    counts = torch.randint(256, (9, 5), generator=generator).to(torch.uint8)
    counts[0], counts[1] = 0, 255
    encoder = Thermometer(thresholds)
    assert torch.equal(encoder(counts), encoder(counts.float()))


def test_listed_thresholds_are_taken_as_they_are():
    bits = Thermometer(listed_thresholds([2, 7]))(torch.tensor([[1, 2, 7]], dtype=torch.uint8))
    assert bits.int().tolist() == [[0, 1, 1, 0, 0, 1]]
