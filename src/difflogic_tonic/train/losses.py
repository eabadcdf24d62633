"""What training makes small, as a sum over samples; always in float32.

cross_entropy  of the logits (means over the steps, in a spiking network)
mse            mean over the classes of (score - target)², target 1 for the right class and 0 for the others
spike_count    the same of firing rates, with targets of one's own. Times the number of steps it is the mean squared
               error of the spike counts (snnTorch's mse_count_loss over that number)
tet            (1 - w) · cross-entropy of each step + w · (score - 1)² of each step, means over the steps
               (temporal efficient training: Deng et al. 2022)

Scores of readout `rate` are firing rates; of the others, the logits themselves. An evaluation has the same kind of
loss without label smoothing, so that both can be compared; that of `tet` is the cross-entropy of the logits.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from difflogic_tonic.config import TrainConfig
from difflogic_tonic.data import Batch
from difflogic_tonic.models import logits as logits_of
from difflogic_tonic.nets.spiking.heads import RATE_GAIN, StepOutputs, keeping_steps, mean_over_steps

LossSum = Callable[[Tensor, Tensor], Tensor]
"""Logits [B, classes] and labels i64[B] to the loss summed over the samples."""

Kind = Literal["cross_entropy", "mse", "spike_count", "tet"]


@dataclass(frozen=True)
class Loss:
    """A loss with its settings, those of `train`. `gain`: scores are logits divided by it."""

    kind: Kind = "cross_entropy"
    label_smoothing: float = 0.0
    target_rates: tuple[float, float] = (1.0, 0.0)
    """What `mse` and `spike_count` ask of the right class and of the others."""

    tet_weight: float = 0.0
    gain: float = 1.0

    def of_batch(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Callable[[], Tensor]]:
        """Call `model`. Logits f32[B, classes], and what gives their loss: to be called outside of autocast."""
        if self.kind != "tet":
            logits = logits_of(model, batch).float()
            return logits, lambda: self(logits, batch.targets(logits.shape[1]))
        with keeping_steps(model) as kept:
            logits = logits_of(model, batch).float()
        (said,) = kept
        return logits, lambda: self._of_steps(said, batch.targets(logits.shape[1]))

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Sum over the samples: logits [B, classes], labels i64[B] or shares of the classes [B, classes]."""
        if self.kind in ("cross_entropy", "tet"):
            return F.cross_entropy(logits, targets, label_smoothing=self.label_smoothing, reduction="sum")
        classes = logits.shape[1]
        shares = F.one_hot(targets, classes) if targets.dim() == 1 else targets
        shares = (1 - self.label_smoothing) * shares + self.label_smoothing / classes
        right, others = self.target_rates
        return (logits / self.gain - (others + (right - others) * shares)).square().mean(1).sum()

    def _of_steps(self, said: StepOutputs, targets: Tensor) -> Tensor:
        steps, scores = said.steps, said.values
        at_steps = steps.repeat(targets[steps.order])
        entropy = F.cross_entropy(scores, at_steps, label_smoothing=self.label_smoothing, reduction="none")
        held = (scores - 1).square().mean(1)
        loss = (1 - self.tet_weight) * entropy + self.tet_weight * held
        return mean_over_steps(loss.unsqueeze(1), steps).sum()


def training_loss(config: TrainConfig) -> Loss:
    """The loss of `config`, `auto` resolved."""
    train, snn = config.training, config.model.snn
    assert train.loss != "auto", train
    right, others = train.target_rates if train.loss == "spike_count" else (1.0, 0.0)
    rates = config.model.model_type == "SNN" and snn.readout == "rate"
    return Loss(train.loss, train.label_smoothing, (right, others), train.tet_weight, RATE_GAIN if rates else 1.0)


def evaluation_loss(config: TrainConfig) -> Loss:
    """What evaluations of `config` report: its loss without label smoothing."""
    loss = training_loss(config)
    return Loss(loss.kind, 0.0, loss.target_rates, 0.0, loss.gain)
