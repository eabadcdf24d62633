import pytest
import torch

from difflogic_tonic.nets.spiking.steps import pack_steps

CPU = torch.device("cpu")


def numbered(n_steps: int, n_samples: int) -> torch.Tensor:
    """[T, B, 1]: 10 * sample + step."""
    return (10 * torch.arange(n_samples) + torch.arange(n_steps).unsqueeze(1)).unsqueeze(-1).float()


def test_samples_go_from_the_longest_to_the_shortest_step_by_step():
    steps = pack_steps(3, 3, torch.tensor([1, 3, 2]), CPU)
    assert steps.counts == [3, 2, 1]
    assert steps.pack(numbered(3, 3)).flatten().tolist() == [10, 20, 0, 11, 21, 12]


def test_equal_lengths_keep_the_order_of_the_batch():
    assert pack_steps(2, 3, torch.tensor([2, 2, 2]), CPU).order.tolist() == [0, 1, 2]


def test_without_lengths_every_step_is_true():
    steps = pack_steps(2, 2, None, CPU)
    assert steps.pack(numbered(2, 2)).flatten().tolist() == [0, 10, 1, 11]


def test_steps_beyond_the_longest_sample_are_left_out():
    assert pack_steps(5, 2, torch.tensor([1, 2]), CPU).counts == [2, 1]


def test_sums_come_back_in_the_order_of_the_batch():
    steps = pack_steps(3, 3, torch.tensor([1, 3, 2]), CPU)
    assert steps.sum(steps.pack(numbered(3, 3))).flatten().tolist() == [0, 10 + 11 + 12, 20 + 21]


def test_a_value_per_sample_is_repeated_over_its_steps():
    steps = pack_steps(3, 3, torch.tensor([1, 3, 2]), CPU)
    assert steps.repeat(torch.tensor([5, 6, 7])).tolist() == [5, 6, 7, 5, 6, 5]


@pytest.mark.parametrize("lengths", [[0, 2], [1, 4]])
def test_lengths_that_the_batch_cannot_have_are_refused(lengths):
    with pytest.raises(ValueError, match="in a batch of 3 steps"):
        pack_steps(3, 2, torch.tensor(lengths), CPU)
