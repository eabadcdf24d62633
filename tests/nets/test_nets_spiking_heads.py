"""From outputs at every step to class scores, by hand: two samples of two and one steps, two classes."""

import pytest
import torch

from difflogic_tonic.nets.spiking.heads import READOUTS, Head, keeping_steps
from difflogic_tonic.nets.spiking.steps import PackedSteps, pack_steps

OUTPUTS = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
"""Step 0 of the longer sample, step 0 of the other, step 1 of the longer."""


def steps() -> PackedSteps:
    """The shorter sample comes first in the batch."""
    return pack_steps(3, 2, torch.tensor([1, 2]), OUTPUTS.device)


@pytest.mark.parametrize(
    ("readout", "expected"),
    [
        ("rate", [[0, 10], [10, 5]]),  # ten times the rate
        ("current", [[0, 1], [1, 0.5]]),
        ("membrane", [[0, 0.5], [(0.5 + 0.75) / 2, (0 + 0.5) / 2]]),  # decay 1/2
    ],
)
def test_scores_are_means_over_the_true_steps_of_a_sample(readout: str, expected: list[list[float]]) -> None:
    assert Head(readout)(OUTPUTS, steps()).tolist() == expected


@pytest.mark.parametrize("readout", READOUTS)
def test_half_precision_is_summed_in_float32(readout: str) -> None:
    """2,049 steps of 1 are 2,048 in fp16 arithmetic, and 256 in bf16."""
    ones = torch.ones(2049, 1, dtype=torch.bfloat16)
    head = Head(readout)
    logits = head(ones, pack_steps(2049, 1, None, ones.device))
    assert logits.dtype == torch.float32
    assert logits.item() == pytest.approx(head.gain, rel=1e-3)


def test_what_is_said_at_every_step_can_be_kept() -> None:
    head = Head("rate")
    model = torch.nn.ModuleList([head])
    with keeping_steps(model) as kept:
        logits = head(OUTPUTS, steps())
    head(OUTPUTS, steps())
    (said,) = kept
    assert torch.equal(said.values, 10 * OUTPUTS)
    assert torch.equal(said.steps.sum(said.values) / torch.tensor([[1], [2]]), logits)


def test_an_unknown_readout_is_refused() -> None:
    with pytest.raises(ValueError, match="readout 'sum': expected one of membrane, current, rate"):
        Head("sum")
