"""One optimizer step."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from difflogic_tonic.config.training import Train
from difflogic_tonic.data import Batch
from difflogic_tonic.errors import TrainingDiverged
from difflogic_tonic.nets.moment import Moment, moment
from difflogic_tonic.train.gradients import add_gradients
from difflogic_tonic.train.losses import Loss
from difflogic_tonic.train.precision import Precision
from difflogic_tonic.train.probe import first_not_finite
from difflogic_tonic.train.ranks import Ranks

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


@dataclass(frozen=True)
class Seen:
    """One batch: its summed loss, right answers, the largest score, and the most that samples differ in one score."""

    loss: float
    n_correct: int
    largest: float
    spread: float


def train_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Sequence[Batch],
    precision: Precision,
    loss: Loss,
    config: Train,
    step: int,
    seed: int = 0,
    ranks: Ranks | None = None,
) -> StepResult:
    """Update `model` once with the mean loss over all samples of `batches` (more than one: accumulation).

    The mean is over samples, not over batches, so a short last batch weighs no more than its samples. A loss that is
    not finite raises `TrainingDiverged`, naming `step`, before anything is updated. `seed` and `step` decide chance.
    With `ranks`, `batches` are this process's parts of batches that all share; the result is that of the whole.
    """
    n_samples = sum(batch.place.total for batch in batches)
    parts: list[Tensor] = []
    optimizer.zero_grad(set_to_none=True)
    for number, batch in enumerate(batches):
        at = Moment(seed, step, number, batch.place.first, batch.place.own, ranks)
        if ranks is not None:  # modules of one's own draw from it, and only that of rank 0 is in a checkpoint
            torch.manual_seed(at.own_seed(ranks.rank))
        with moment(at):
            with precision.autocast():
                logits, loss_of_logits = loss.of_batch(model, batch)
            summed = loss_of_logits() if batch.place.own else 0 * loss_of_logits()
            told = _facts(summed, logits, batch)
            if ranks is None:  # the only point where the step waits for a GPU; of several, all learn it at the end
                told = told.cpu()
                if not math.isfinite(told[0]):
                    where = first_not_finite(model, batch, precision)
                    raise TrainingDiverged(_diverged(step, float(told[0]), where, config))
            parts.append(told)
            precision.backward(summed / n_samples)
    facts = torch.stack(parts).unsqueeze(0) if ranks is None else add_gradients(model, torch.stack(parts), ranks)
    seen = [_seen(of_batch) for of_batch in facts.transpose(0, 1).double()]
    for batch, one in zip(batches, seen, strict=True):
        if ranks is not None and not math.isfinite(one.loss):
            where = next(filter(None, ranks.collect(first_not_finite(model, batch, precision))), "")
            raise TrainingDiverged(_diverged(step, one.loss, where, config))
    stepped = precision.update(optimizer, config.gradient_clip, step)
    return _result(seen, n_samples, stepped, comparable=any(batch.place.total > 1 for batch in batches))


def _result(seen: Sequence[Seen], n_samples: int, stepped: bool, comparable: bool) -> StepResult:
    largest, spread = max(one.largest for one in seen), max(one.spread for one in seen)
    silent = largest == 0
    return StepResult(
        loss_sum=sum(one.loss for one in seen),
        n_correct=sum(one.n_correct for one in seen),
        n_samples=n_samples,
        stepped=stepped,
        says_nothing=silent or (comparable and spread <= _SAME * largest),
        silent=silent,
    )


def _facts(loss: Tensor, logits: Tensor, batch: Batch) -> Tensor:
    """f32[3 + 2 classes] on the device: loss, right answers, largest score, and of each class the most and least."""
    scores = logits.detach()[: batch.place.own]
    if not len(scores):  # what no other part can be larger or smaller than
        nothing = scores.new_zeros(3 + 2 * scores.shape[1])
        nothing[3:] = -torch.inf
        return nothing
    correct = (scores.argmax(1) == batch.labels[: len(scores)]).sum()
    numbers = [loss.detach(), correct, scores.abs().amax()]
    return torch.cat((torch.stack([number.float() for number in numbers]), scores.amax(0), -scores.amin(0)))


def _seen(parts: Tensor) -> Seen:
    """`_facts` of the parts of one batch, f64[parts, 3 + 2 classes], as one."""
    loss, correct, _ = parts[:, :3].sum(0).tolist()
    most, least = parts[:, 3:].amax(0).chunk(2)
    return Seen(loss, int(correct), float(parts[:, 2].amax()), float((most + least).amax()))


def _diverged(step: int, value: float, where: str, config: Train) -> str:
    return (
        f"step {step}: the loss is {value}; nothing was updated{where and f'. It begins at {where}'}. Try a smaller "
        f"train.learning_rate (now {config.rate:g}), train.gradient_clip or train.amp: off"
    )
