"""Mixed precision: autocast around forward and loss only, and loss scaling where fp16 gradients would underflow."""

import logging
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
from torch import Tensor

from difflogic_tonic.errors import ConfigError, TrainingDiverged

log = logging.getLogger(__name__)

WARN_SKIPPED = 20
STOP_SKIPPED = 50
"""Steps in a row that the loss scaler may skip. It halves its scale at each, and after about 165 the scale is zero and
the step after that writes NaN everywhere; one that recovers does so within a few."""


class Precision:
    """How one run computes. `scaler` is None except for fp16; `skipped_in_a_row`: steps with infinite gradients."""

    def __init__(self, amp: Literal["off", "bf16", "fp16"], device: torch.device) -> None:
        """Raises `ConfigError` for fp16 on a CPU, where it is several times slower than fp32 and never scaled."""
        if amp == "fp16" and device.type != "cuda":
            raise ConfigError(f"train.amp: fp16 needs a CUDA device, this is {device.type}; use bf16 or off")
        self._device = device.type
        self._dtype = {"off": None, "bf16": torch.bfloat16, "fp16": torch.float16}[amp]
        self.scaler = torch.amp.GradScaler(device.type) if amp == "fp16" else None
        self.skipped_in_a_row = 0

    def autocast(self) -> AbstractContextManager[object]:
        if self._dtype is None:
            return nullcontext()
        return torch.autocast(self._device, self._dtype)

    def backward(self, loss: Tensor) -> None:
        """Gradients of `loss`, multiplied by the scale if there is a scaler."""
        torch.autograd.backward(loss if self.scaler is None else self.scaler.scale(loss))

    def update(self, optimizer: torch.optim.Optimizer, gradient_clip: float | None, step: int) -> None:
        """Clip the true gradients and update the weights, unless scaling made a gradient infinite.

        Raises `TrainingDiverged` after `STOP_SKIPPED` such steps in a row.
        """
        if self.scaler is not None:
            self.scaler.unscale_(optimizer)
        if gradient_clip is not None:
            parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            torch.nn.utils.clip_grad_norm_(parameters, gradient_clip)
        if self.scaler is None:
            optimizer.step()
            return
        scale = self.scaler.get_scale()
        self.scaler.step(optimizer)
        self.scaler.update()
        skipped = self.scaler.get_scale() < scale
        self.skipped_in_a_row = self.skipped_in_a_row + 1 if skipped else 0
        if self.skipped_in_a_row == WARN_SKIPPED:
            log.warning("step %d: %d steps in a row had infinite gradients in fp16", step, WARN_SKIPPED)
        if self.skipped_in_a_row >= STOP_SKIPPED:
            raise TrainingDiverged(
                f"step {step}: {STOP_SKIPPED} steps in a row had infinite gradients in fp16; use train.amp: bf16 or off"
            )
