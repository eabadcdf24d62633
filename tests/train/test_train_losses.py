"""Losses by hand, and against the library that they are named after. Two samples of two and one steps, two classes."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from difflogic_tonic.config import TrainConfig
from difflogic_tonic.data import Batch
from difflogic_tonic.nets.spiking.heads import Head
from difflogic_tonic.nets.spiking.inputs import Inputs
from difflogic_tonic.nets.spiking.model import SpikingModel
from difflogic_tonic.nets.spiking.stepwise import StepSequential
from difflogic_tonic.train.losses import Loss, evaluation_loss, training_loss

RATES = torch.tensor([[1.0, 0.0], [0.5, 0.25]])
LOGITS = 10 * RATES  # as readout `rate` gives them
LABELS = torch.tensor([0, 1])


def config(readout: str = "membrane", **train: Any) -> TrainConfig:
    return TrainConfig.model_validate({"model": {"model_type": "SNN", "snn": {"readout": readout}}, "train": train})


def test_squared_errors_of_rates_to_one_and_zero() -> None:
    """Sample 1: right. Sample 2: 0.5² and 0.75², halved by two classes."""
    loss = training_loss(config("rate", loss="mse"))
    assert loss(LOGITS, LABELS).item() == pytest.approx((0.25 + 0.5625) / 2)


def test_a_silent_network_has_a_loss_of_one_over_the_classes() -> None:
    assert Loss("mse", gain=10.0)(torch.zeros(3, 8), torch.tensor([1, 2, 7])).item() == pytest.approx(3 / 8)


def test_label_smoothing_moves_the_targets_of_squared_errors() -> None:
    """Targets 0.9 and 0.1 for two classes."""
    loss = training_loss(config("rate", loss="mse", label_smoothing=0.2))
    assert loss(LOGITS[:1], LABELS[:1]).item() == pytest.approx((0.01 + 0.01) / 2)


def test_spike_counts_have_targets_of_their_own() -> None:
    loss = training_loss(config("rate", loss="spike_count", target_rates=[0.75, 0.25]))
    assert loss(LOGITS, LABELS).item() == pytest.approx((0.0625 + 0.0625 + 0.0625 + 0.25) / 2)


def test_spike_counts_are_those_of_snntorch() -> None:
    functional = pytest.importorskip("snntorch.functional")
    spikes = (torch.rand(5, 3, 4, generator=torch.Generator().manual_seed(2)) < 0.4).float()  # [T, B, classes]
    labels = torch.tensor([0, 3, 1])
    theirs = functional.mse_count_loss(correct_rate=0.8, incorrect_rate=0.2)(spikes, labels)
    ours = training_loss(config("rate", loss="spike_count"))(10 * spikes.mean(0), labels) / 3
    assert ours.item() * 5 == pytest.approx(theirs.item(), rel=1e-5)


@pytest.mark.parametrize("kind", ["mse", "spike_count"])
def test_mixed_samples_have_the_targets_of_their_shares(kind: str) -> None:
    loss = training_loss(config("rate", loss=kind))
    shares = torch.tensor([[0.75, 0.25]])
    right, others = loss.target_rates
    target = others + (right - others) * shares
    assert loss(LOGITS[:1], shares).item() == pytest.approx((RATES[:1] - target).square().mean().item())


class Said(nn.Module):
    """Says the same scores at every step that it is given frames."""

    def __init__(self, scores: Tensor) -> None:
        super().__init__()
        self.scores = nn.Parameter(scores)

    def forward(self, x: Tensor) -> Tensor:
        return self.scores * torch.ones(len(x), 1)


STEPS = torch.tensor([[2.0, 1.0], [0.5, 0.0], [1.0, 3.0]])
"""Step 0 of the longer sample (label 1), step 0 of the shorter (label 0), step 1 of the longer."""


def recordings() -> Batch:
    """The shorter one, of one frame, first."""
    inputs = torch.zeros(2, 2, 6, dtype=torch.uint8)
    return Batch(inputs, torch.tensor([0, 1]), torch.tensor([1, 2]), torch.arange(2), False, (1, 2, 3), "sequence")


def test_every_true_step_has_its_own_cross_entropy_and_samples_weigh_the_same() -> None:
    model = SpikingModel(Inputs(), StepSequential(Said(STEPS)), Head("current"))
    weight = 0.25
    logits, loss = training_loss(config("current", loss="tet", tet_weight=weight)).of_batch(model, recordings())
    assert torch.equal(logits, torch.stack([STEPS[1], (STEPS[0] + STEPS[2]) / 2]))
    entropies = F.cross_entropy(STEPS, torch.tensor([1, 0, 1]), reduction="none")
    held = ((STEPS - 1) ** 2).mean(1)
    of_steps = (1 - weight) * entropies + weight * held
    assert loss().item() == pytest.approx((of_steps[1] + (of_steps[0] + of_steps[2]) / 2).item())


def test_mixed_samples_train_step_by_step() -> None:
    from dataclasses import replace

    from difflogic_tonic.data.batch import Mixed

    model = SpikingModel(Inputs(), StepSequential(Said(STEPS)), Head("current"))
    mixed = replace(recordings(), mixed=Mixed(torch.tensor([1, 0]), torch.tensor([0.75, 1.0])))
    _, loss = training_loss(config("current", loss="tet", tet_weight=0.0)).of_batch(model, mixed)
    soft = torch.tensor([[0.0, 1.0], [0.75, 0.25], [0.0, 1.0]])
    entropies = F.cross_entropy(STEPS, soft, reduction="none")
    assert loss().item() == pytest.approx((entropies[1] + (entropies[0] + entropies[2]) / 2).item())


@pytest.mark.parametrize(
    ("train", "readout", "kind"),
    [
        ({}, "membrane", "cross_entropy"),
        ({"loss": "mse", "label_smoothing": 0.2}, "rate", "mse"),
        ({"loss": "tet"}, "current", "tet"),
    ],
)
def test_evaluations_have_the_loss_of_training_without_its_smoothing(
    train: dict[str, Any], readout: str, kind: str
) -> None:
    loss = evaluation_loss(config(readout, **train))
    assert (loss.kind, loss.label_smoothing) == (kind, 0.0)
    logits = torch.tensor([[1.0, 2.0]], dtype=torch.float64)
    expected = (0.1**2 + 0.8**2) / 2 if kind == "mse" else math.log(1 + math.e**-1)
    assert loss(logits, torch.tensor([1])).item() == pytest.approx(expected)
    assert loss(logits, torch.tensor([1])).dtype == torch.float64
