"""A loss that stands still because the class scores tell no samples apart: found, and named."""

import logging
import math

from difflogic_tonic.train.losses import Loss
from difflogic_tonic.train.state import Progress
from difflogic_tonic.train.step import StepResult

FLAT_STEPS = 50
"""Steps in a row before it is said: networks that start silent and recover do so within a few tens."""

log = logging.getLogger(__name__)


def count_flat_steps(progress: Progress, result: StepResult, loss: Loss, classes: int) -> None:
    """Count a step whose scores were the same for every sample, and warn once there were `FLAT_STEPS` in a row."""
    progress.flat = progress.flat + 1 if result.says_nothing else 0
    if progress.flat == FLAT_STEPS:
        log.warning("step %d: %s", progress.step, _cause(result, loss, classes))


def _cause(result: StepResult, loss: Loss, classes: int) -> str:
    mean = f"the loss stands at {result.loss_sum / result.n_samples:.4g}"
    if loss.kind in ("cross_entropy", "tet"):
        mean += f" (guessing is ln {classes} = {math.log(classes):.4g})"
    elif loss.kind == "mse":
        mean += f" (silence is 1/{classes} = {1 / classes:.4g})"
    if result.silent:
        return (
            f"the output layer has been silent for {FLAT_STEPS} steps, and {mean}: its neurons never reach their "
            f"threshold; lower model.snn.threshold, put BN in front of the neurons, raise train.learning_rate, or use "
            f"model.snn.readout: membrane"
        )
    return (
        f"the class scores have been the same for every sample for {FLAT_STEPS} steps, and {mean}: a layer passes "
        f"nothing on; in a spiking network lower model.snn.threshold or put BN in front of the neurons, in others "
        f"try a smaller train.learning_rate"
    )
