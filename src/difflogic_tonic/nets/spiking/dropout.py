"""Dropout over the steps of a sequence."""

from torch import Tensor, nn

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
            mask = nn.functional.dropout(x.new_ones(x[: steps.counts[0]].shape), self.probability)
        steps.keep(self, mask)
        return x * steps.repeat(mask)
