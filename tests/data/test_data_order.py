import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from difflogic_tonic.data.order import bucketed_order, choose_recordings, epoch_order, permutation
from difflogic_tonic.errors import ConfigError


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 300), st.integers(0, 2**63 - 1), st.integers(0, 1000))
def test_an_order_holds_every_sample_once(n, seed, epoch):
    assert sorted(epoch_order(n, seed, epoch, shuffle=True).tolist()) == list(range(n))


def test_the_order_is_this_one_for_ever():
    """A resumed run must find the order of the run it goes on with, after any update of this package or of numpy."""
    assert epoch_order(8, seed=42, epoch=0, shuffle=True).tolist() == [0, 6, 7, 5, 3, 2, 4, 1]
    assert epoch_order(8, seed=42, epoch=1, shuffle=True).tolist() == [2, 7, 0, 5, 3, 4, 1, 6]


def test_seed_and_epoch_both_change_the_order():
    orders = {tuple(epoch_order(50, seed, epoch, shuffle=True)) for seed in (1, 2) for epoch in (1, 2)}
    assert len(orders) == 4


def test_without_shuffling_samples_come_in_their_own_order():
    assert epoch_order(4, seed=1, epoch=3, shuffle=False).tolist() == [0, 1, 2, 3]


def test_the_global_generator_neither_matters_nor_moves():
    np.random.seed(0)
    first = permutation(20, 7)
    after = np.random.random()
    np.random.seed(0)
    assert after == np.random.random()
    assert (first == permutation(20, 7)).all()


LABELS = np.array([0] * 6 + [1] * 3 + [2] * 1)


def test_a_fraction_keeps_the_shares_of_the_classes():
    labels = np.repeat([0, 1, 2], [60, 30, 10])
    assert np.bincount(labels[choose_recordings(labels, 0.1, seed=5)]).tolist() == [6, 3, 1]


def test_a_number_is_met_exactly_and_what_rounding_leaves_goes_to_the_largest_remainder():
    # shares of 5 in 10: 3, 1.5 and 0.5; the two halves tie, and the lower class gets the one that is left
    assert np.bincount(LABELS[choose_recordings(LABELS, 5, seed=1)], minlength=3).tolist() == [3, 2, 0]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.data())
def test_a_subset_has_the_asked_size_and_no_row_twice(labels, data):
    wanted = data.draw(st.integers(1, len(labels)))
    rows = choose_recordings(np.array(labels), wanted, seed=3)
    assert len(rows) == wanted
    assert (np.diff(rows) > 0).all()


def test_the_seed_decides_which_recordings():
    labels = np.zeros(100, np.int64)
    assert (choose_recordings(labels, 10, seed=1) == choose_recordings(labels, 10, seed=1)).all()
    assert (choose_recordings(labels, 10, seed=1) != choose_recordings(labels, 10, seed=2)).any()


def test_no_subset_and_the_whole_are_all_recordings():
    for everything in (None, 1.0, 10):
        assert choose_recordings(LABELS, everything, seed=0).tolist() == list(range(10))


@pytest.mark.parametrize("subset", [11, 0.01])
def test_a_subset_larger_than_the_set_or_empty_is_refused_with_the_limits(subset):
    with pytest.raises(ConfigError, match=r"data\.subset: .* of 10 training recordings.* from 1 to 10"):
        choose_recordings(LABELS, subset, seed=0)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 200), st.integers(1, 9), st.integers(0, 5))
def test_bucketed_order_has_every_sample_once(n, batch_size, epoch):
    lengths = permutation(n, 7) % 11
    order = bucketed_order(lengths, batch_size, 3, epoch)
    assert sorted(order.tolist()) == list(range(n))
    assert (order == bucketed_order(lengths, batch_size, 3, epoch)).all()


def test_bucketed_batches_need_less_padding_and_differ_between_epochs():
    lengths = 1 + permutation(640, 1) % 40

    def padded(order):
        return sum(int(lengths[batch].max()) * len(batch) for batch in np.split(order, range(8, 640, 8)))

    of_epoch = [bucketed_order(lengths, 8, 3, epoch) for epoch in range(2)]
    assert lengths.sum() <= padded(of_epoch[0]) < 1.1 * lengths.sum()
    assert padded(epoch_order(640, 3, 0, True)) > 1.5 * lengths.sum()
    batches = [{frozenset(batch.tolist()) for batch in np.split(order, range(8, 640, 8))} for order in of_epoch]
    assert len(batches[0] & batches[1]) == 0
    longest = [int(lengths[batch].max()) for batch in np.split(of_epoch[0], range(8, 640, 8))]
    assert longest != sorted(longest)
