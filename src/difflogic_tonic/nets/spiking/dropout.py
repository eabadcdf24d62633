"""Dropout over the steps of a sequence."""

from torch import Tensor, nn

from difflogic_tonic.nets.dropout import dropout_mask
from difflogic_tonic.nets.moment import now
from difflogic_tonic.nets.spiking.steps import PackedSteps
from difflogic_tonic.nets.spiking.stepwise import StepModule


class SequenceDropout(StepModule):
    """Dropout whose mask is drawn once per sample and kept over its steps: a unit is there or not for the sequence."""

    resumable = True

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor, steps: PackedSteps) -> Tensor:
        """Packed steps [sum(counts), ...] to the same."""
        if not self.training or self.probability == 0:
            return x
        mask = steps.recall(self)
        if mask is None:
            mask = self._drawn(x[: steps.counts[0]], steps)
        steps.keep(self, mask)
        return x * steps.repeat(mask)

    def _drawn(self, like: Tensor, steps: PackedSteps) -> Tensor:
        at = now()
        if at is None:
            return nn.functional.dropout(like.new_ones(like.shape), self.probability)
        return dropout_mask(like, self.probability, at.keys(self, like.device)[steps.order])
