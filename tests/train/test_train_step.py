"""One step: the mean over samples, accumulation, clipping, and a loss that is not finite."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from difflogic_tonic.config.training import Train
from difflogic_tonic.data import Batch
from difflogic_tonic.data.batch import Mixed
from difflogic_tonic.errors import TrainingDiverged
from difflogic_tonic.train.losses import Loss
from difflogic_tonic.train.optimizer import build_optimizer, learning_rate_at
from difflogic_tonic.train.precision import Precision
from difflogic_tonic.train.step import train_step

CPU = torch.device("cpu")


class Dense(nn.Module):
    """Two pixels to two classes."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[0.5, -0.25], [0.1, 0.2]]))

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        return x.flatten(1) @ self.weight.T


def batch(*samples: tuple[int, int, int]) -> Batch:
    """Samples (pixel 0, pixel 1, label) on a sensor of one row and two columns."""
    inputs = torch.tensor([sample[:2] for sample in samples], dtype=torch.uint8)
    labels = torch.tensor([sample[2] for sample in samples])
    rows = torch.arange(len(samples))
    return Batch(inputs, labels, torch.ones_like(rows), rows, False, (1, 1, 2), "frames")


def config(**values: Any) -> Train:
    return Train.model_validate({"optimizer": "sgd", "momentum": 0.0, "learning_rate": 0.1, **values})


def loss_of(settings: Train) -> Loss:
    return Loss(label_smoothing=settings.label_smoothing)


def stepped(*batches: Batch, **values: Any) -> tuple[nn.Module, Any]:
    model, settings = Dense(), config(**values)
    optimizer = build_optimizer(settings, model)
    result = train_step(model, optimizer, batches, Precision("off", CPU), loss_of(settings), settings, 1)
    return model, result


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_of_a_mixed_sample_is_that_of_both_labels_by_their_shares(smoothing: float) -> None:
    samples = batch((1, 0, 0), (2, 3, 1), (4, 1, 0))
    mixed = Mixed(torch.tensor([1, 0, 0]), torch.tensor([0.75, 0.5, 1.0]))
    _, result = stepped(replace(samples, mixed=mixed), label_smoothing=smoothing)
    logits = samples.inputs.float() @ Dense().weight.T
    own, other = (
        F.cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing)
        for labels in (samples.labels, mixed.labels)
    )
    assert result.loss_sum == pytest.approx((mixed.weights * own + (1 - mixed.weights) * other).sum().item())
    assert result.n_correct == int((logits.argmax(1) == samples.labels).sum())


def test_a_step_is_gradient_descent_on_the_mean_cross_entropy() -> None:
    samples = batch((1, 0, 0), (2, 3, 1))
    model, result = stepped(samples)
    expected = Dense()
    loss = F.cross_entropy(samples.inputs.float() @ expected.weight.T, samples.labels)
    (gradient,) = torch.autograd.grad(loss, [expected.weight])
    assert torch.allclose(model.weight, expected.weight - 0.1 * gradient)
    assert result.loss_sum == pytest.approx(2 * loss.item())
    assert (result.n_correct, result.n_samples) == (2, 2)


def test_accumulated_batches_weigh_by_their_samples() -> None:
    """One batch of four and one of one are one batch of five, not two halves."""
    samples = [(1, 0, 0), (2, 3, 1), (0, 1, 0), (5, 1, 1), (1, 1, 0)]
    together, _ = stepped(batch(*samples))
    apart, result = stepped(batch(*samples[:4]), batch(samples[4]))
    assert torch.allclose(together.weight, apart.weight, atol=1e-7)
    assert result.n_samples == 5


def test_gradients_are_clipped_to_their_norm() -> None:
    model, _ = stepped(batch((200, 0, 1)), gradient_clip=0.01)
    assert (model.weight - Dense().weight).norm().item() == pytest.approx(0.1 * 0.01, rel=1e-4)


def test_label_smoothing_is_that_of_torch() -> None:
    samples = batch((1, 0, 0))
    _, result = stepped(samples, label_smoothing=0.2)
    logits = samples.inputs.float() @ Dense().weight.T
    assert result.loss_sum == pytest.approx(F.cross_entropy(logits, samples.labels, label_smoothing=0.2).item())


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_before_the_update_and_names_the_step(bad: float) -> None:
    model, settings = Dense(), config()
    with torch.no_grad():
        model.weight[0, 0] = bad
    before = model.weight.clone()
    optimizer = build_optimizer(settings, model)
    with pytest.raises(TrainingDiverged, match="step 17: the loss is nan"):
        train_step(model, optimizer, [batch((1, 0, 0))], Precision("off", CPU), Loss(), settings, 17)
    assert torch.equal(model.weight.nan_to_num(7.0), before.nan_to_num(7.0))


def test_bf16_computes_the_forward_pass_in_bf16_and_keeps_weights_in_fp32() -> None:
    seen: list[torch.dtype] = []

    class Watched(Dense):
        def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
            logits = super().forward(x)
            seen.append(logits.dtype)
            return logits

    model, settings = Watched(), config(amp="bf16")
    result = train_step(
        model, build_optimizer(settings, model), [batch((1, 0, 0))], Precision("bf16", CPU), Loss(), settings, 1
    )
    assert seen == [torch.bfloat16]
    assert model.weight.dtype == torch.float32
    assert result.loss_sum == pytest.approx(0.513, abs=0.01)  # -log(e^0.5 / (e^0.5 + e^0.1))


@pytest.mark.parametrize(
    ("name", "kind"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD)]
)
def test_optimizers_are_fused(name: str, kind: type[torch.optim.Optimizer]) -> None:
    optimizer = build_optimizer(config(optimizer=name, weight_decay=0.5, momentum=0.9), Dense())
    assert isinstance(optimizer, kind)
    group = optimizer.param_groups[0]
    assert (group["fused"], group["weight_decay"], group["lr"]) == (True, 0.5, 0.1)
    assert group.get("momentum", 0.9) == 0.9


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ({"schedule": "none"}, {0: 0.1, 39: 0.1}),
        ({"schedule": "cosine"}, {0: 0.1, 10: 0.1 * (1 + math.sqrt(0.5)) / 2, 20: 0.05, 40: 0.0, 99: 0.0}),
        (
            {"schedule": "cosine", "warmup_epochs": 0.5},
            {0: 0.1 / 6, 4: 0.5 / 6, 5: 0.1, 22: 0.1 * (1 + math.cos(math.pi * 17 / 35)) / 2, 40: 0.0},
        ),
        (
            {"schedule": "step", "step_epochs": [2], "warmup_epochs": 1.0},
            {0: 0.1 / 11, 9: 1.0 / 11, 10: 0.1, 19: 0.1, 20: 0.01},
        ),
        ({"schedule": "step", "step_epochs": [1, 3], "step_gamma": 0.5}, {9: 0.1, 10: 0.05, 29: 0.05, 30: 0.025}),
    ],
)
def test_learning_rates_of_four_epochs_of_ten_steps(schedule: dict[str, Any], rates: dict[int, float]) -> None:
    settings = config(epochs=4, **schedule)
    for step, rate in rates.items():
        assert learning_rate_at(settings, step, 10) == pytest.approx(rate, abs=1e-15)
