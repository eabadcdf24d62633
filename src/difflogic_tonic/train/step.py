"""One optimizer step."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from difflogic_tonic.config.training import Train
from difflogic_tonic.data import Batch
from difflogic_tonic.errors import TrainingDiverged
from difflogic_tonic.models import logits as logits_of
from difflogic_tonic.train.precision import Precision


@dataclass(frozen=True)
class StepResult:
    """What one step saw, before its update: the summed loss and the number of right answers of `n_samples` samples."""

    loss_sum: float
    n_correct: int
    n_samples: int


def train_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Sequence[Batch],
    precision: Precision,
    config: Train,
    step: int,
) -> StepResult:
    """Update `model` once with the mean cross-entropy over all samples of `batches` (more than one: accumulation).

    The mean is over samples, not over batches, so a short last batch weighs no more than its samples. A loss that is
    not finite raises `TrainingDiverged`, naming `step`, before anything is updated.
    """
    n_samples = sum(len(batch) for batch in batches)
    loss_sum, n_correct = 0.0, 0
    optimizer.zero_grad(set_to_none=True)
    for batch in batches:
        with precision.autocast():
            logits = logits_of(model, batch).float()
            targets = batch.targets(logits.shape[1])
            loss = F.cross_entropy(logits, targets, label_smoothing=config.label_smoothing, reduction="sum")
        value, correct = _to_host(loss, logits, batch)
        if not math.isfinite(value):
            raise TrainingDiverged(
                f"step {step}: the loss is {value}; nothing was updated. Try a smaller train.learning_rate "
                f"(now {config.rate:g}), train.gradient_clip or train.amp: off"
            )
        precision.backward(loss / n_samples)
        loss_sum += value
        n_correct += correct
    precision.update(optimizer, config.gradient_clip, step)
    return StepResult(loss_sum, n_correct, n_samples)


def _to_host(loss: torch.Tensor, logits: torch.Tensor, batch: Batch) -> tuple[float, int]:
    """Loss and right answers in one transfer: the only point where the step waits for a GPU."""
    correct = (logits.detach().argmax(1) == batch.labels).sum()
    value, count = torch.stack([loss.detach().double(), correct.double()]).tolist()
    return value, int(count)
