"""One optimizer step."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from difflogic_tonic.config.training import Train
from difflogic_tonic.data import Batch
from difflogic_tonic.errors import TrainingDiverged
from difflogic_tonic.train.losses import Loss
from difflogic_tonic.train.precision import Precision
from difflogic_tonic.train.probe import first_not_finite

_SAME = 1e-6
"""Scores that differ by less, relative to the largest, are the same but for rounding."""


@dataclass(frozen=True)
class StepResult:
    """What one step saw, before its update: the summed loss and the number of right answers of `n_samples` samples.

    `stepped`: whether the weights were updated; fp16 skips steps with infinite gradients. `says_nothing`: the class
    scores were the same for every sample. `silent`: they were all zero.
    """

    loss_sum: float
    n_correct: int
    n_samples: int
    stepped: bool
    says_nothing: bool
    silent: bool


def train_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Sequence[Batch],
    precision: Precision,
    loss: Loss,
    config: Train,
    step: int,
) -> StepResult:
    """Update `model` once with the mean loss over all samples of `batches` (more than one: accumulation).

    The mean is over samples, not over batches, so a short last batch weighs no more than its samples. A loss that is
    not finite raises `TrainingDiverged`, naming `step`, before anything is updated.
    """
    n_samples = sum(len(batch) for batch in batches)
    loss_sum, n_correct, spread, largest = 0.0, 0, 0.0, 0.0
    optimizer.zero_grad(set_to_none=True)
    for batch in batches:
        with precision.autocast():
            logits, loss_of_logits = loss.of_batch(model, batch)
        summed = loss_of_logits()
        value, correct, apart, most = _to_host(summed, logits, batch)
        if not math.isfinite(value):
            raise TrainingDiverged(_not_finite(model, batch, precision, config, step, value))
        precision.backward(summed / n_samples)
        loss_sum += value
        n_correct += int(correct)
        spread, largest = max(spread, apart), max(largest, most)
    stepped = precision.update(optimizer, config.gradient_clip, step)
    silent = largest == 0
    comparable = any(len(batch) > 1 for batch in batches)
    says_nothing = silent or (comparable and spread <= _SAME * largest)
    return StepResult(loss_sum, n_correct, n_samples, stepped, says_nothing, silent)


def _to_host(loss: Tensor, logits: Tensor, batch: Batch) -> tuple[float, float, float, float]:
    """Loss, right answers, the most that samples differ by in a score, and the largest score, in one transfer.

    The only point where the step waits for a GPU.
    """
    scores = logits.detach()
    correct = (scores.argmax(1) == batch.labels).sum()
    apart = (scores.amax(0) - scores.amin(0)).amax()
    numbers = [loss.detach(), correct, apart, scores.abs().amax()]
    value, count, spread, largest = torch.stack([number.double() for number in numbers]).tolist()
    return value, count, spread, largest


def _not_finite(model: nn.Module, batch: Batch, precision: Precision, config: Train, step: int, value: float) -> str:
    where = first_not_finite(model, batch, precision)
    return (
        f"step {step}: the loss is {value}; nothing was updated{where and f'. It begins at {where}'}. Try a smaller "
        f"train.learning_rate (now {config.rate:g}), train.gradient_clip or train.amp: off"
    )
