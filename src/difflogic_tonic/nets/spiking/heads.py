"""From what the last layer says at every step to one score per class.

A head reads the steps out one by one (`step_outputs`) and takes the mean over the steps of each sample, in float32
whatever the network computes in: a sum over many steps loses its end in half precision.

rate      the last layer spikes; its firing rate, times `RATE_GAIN`
membrane  the last layer's currents charge a leaky membrane without a threshold
current   the last layer's currents themselves
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from difflogic_tonic.nets.spiking.neurons import LeakyMembrane
from difflogic_tonic.nets.spiking.steps import PackedSteps
from difflogic_tonic.nets.spiking.stepwise import StepModule

READOUTS = ("membrane", "current", "rate")

RATE_GAIN = 10.0
"""Rates lie in [0, 1]; as logits they could not express a probability above 0.23 among ten classes."""


@dataclass(frozen=True)
class StepOutputs:
    """Class scores f32[sum(counts), classes] of every step, packed as `steps` say."""

    values: Tensor
    steps: PackedSteps


class Head(StepModule):
    """The readout of a spiking network; no parameters. `decay` is that of the membrane of readout `membrane`.

    Of a network with readout `rate` the last layer is one of neurons (or of votes over neurons), of the others it is
    one without. Raises `ValueError` for an unknown readout.
    """

    def __init__(self, readout: str = "membrane", decay: float = 0.5) -> None:
        super().__init__()
        if readout not in READOUTS:
            raise ValueError(f"readout {readout!r}: expected one of {', '.join(READOUTS)}")
        self.readout = readout
        self.membrane = LeakyMembrane(decay) if readout == "membrane" else None
        self._kept: list[StepOutputs] | None = None

    @property
    def gain(self) -> float:
        """What logits are multiples of: divided by it, those of `rate` are firing rates."""
        return RATE_GAIN if self.readout == "rate" else 1.0

    def step_outputs(self, x: Tensor, steps: PackedSteps) -> Tensor:
        """Outputs of the last layer [sum(counts), classes] to class scores f32 of each step."""
        if self.membrane is not None:
            membranes: Tensor = self.membrane(x, steps)
            return membranes
        return self.gain * x.to(torch.float32)

    def forward(self, x: Tensor, steps: PackedSteps) -> Tensor:
        """Outputs of the last layer [sum(counts), classes] to logits f32[B, classes], in the order of the batch.

        With a memory they are those of all steps since it was begun.
        """
        outputs = self.step_outputs(x, steps)
        if self._kept is not None:
            self._kept.append(StepOutputs(outputs, steps))
        if steps.memory is None:
            return mean_over_steps(outputs, steps)
        everyone = torch.arange(steps.counts[0], device=x.device)
        sums = steps.sum(torch.cat((outputs, outputs.new_ones(len(outputs), 1)), dim=1))
        before = steps.memory.recall(self, everyone)
        sums = sums if before is None else sums + before
        steps.memory.keep(self, sums, everyone)
        return sums[:, :-1] / sums[:, -1:]

    def extra_repr(self) -> str:
        return f"readout={self.readout!r}"


def mean_over_steps(values: Tensor, steps: PackedSteps) -> Tensor:
    """[sum(counts), N] to the mean over each sample's own steps, [B, N], in the order of the batch."""
    return steps.sum(values) / steps.sum(values.new_ones(len(values), 1))


@contextmanager
def keeping_steps(model: nn.Module) -> Iterator[list[StepOutputs]]:
    """Inside, the one head in `model` appends what it says at every step of each call to the list."""
    (head,) = (module for module in model.modules() if isinstance(module, Head))
    kept: list[StepOutputs] = []
    head._kept = kept
    try:
        yield kept
    finally:
        head._kept = None
