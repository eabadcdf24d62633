"""Mixed precision: autocast around the forward pass only, and loss scaling where fp16 gradients would underflow."""

import logging
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from difflogic_tonic.errors import ConfigError, TrainingDiverged

log = logging.getLogger(__name__)

Amp = Literal["off", "bf16", "fp16"]

WARN_SKIPPED = 20
STOP_SKIPPED = 50
"""Steps in a row that the loss scaler may skip. It halves its scale at each, and after about 165 the scale is zero and
the step after that writes NaN everywhere; one that recovers does so within a few."""

LEAST_SCALE = 1.0
"""A scale below one would make gradients smaller than they are, which is what it is there to prevent."""

FP16_HINT = "GeForce GTX 16xx cards are known to compute NaN in fp16 convolutions"

_BF16_FLAGS = {"avx512_bf16", "amx_bf16"}


class Precision:
    """How one run computes. `scaler` is None except for fp16; `skipped_in_a_row`: steps with infinite gradients."""

    def __init__(self, amp: Amp, device: torch.device) -> None:
        """Raises `ConfigError` for fp16 on a CPU, where it is several times slower than fp32."""
        if amp == "fp16" and device.type != "cuda":
            raise ConfigError(
                f"train.amp: fp16 needs a CUDA device, this is {device.type}, where fp16 is several times slower than "
                f"fp32; use bf16 or off"
            )
        self.amp = amp
        self.device = device.type
        self.dtype = {"off": None, "bf16": torch.bfloat16, "fp16": torch.float16}[amp]
        self.scaler = torch.amp.GradScaler(device.type) if amp == "fp16" else None
        self.skipped_in_a_row = 0

    def autocast(self) -> AbstractContextManager[object]:
        if self.dtype is None:
            return nullcontext()
        return torch.autocast(self.device, self.dtype)

    def backward(self, loss: Tensor) -> None:
        """Gradients of `loss`, multiplied by the scale if there is a scaler."""
        torch.autograd.backward(loss if self.scaler is None else self.scaler.scale(loss))

    def update(self, optimizer: torch.optim.Optimizer, gradient_clip: float | None, step: int) -> bool:
        """Clip the true gradients and update the weights: True; False if a gradient was infinite and nothing changed.

        Raises `TrainingDiverged` after `STOP_SKIPPED` such steps in a row.
        """
        if self.scaler is not None:
            self.scaler.unscale_(optimizer)
        if gradient_clip is not None:
            parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            torch.nn.utils.clip_grad_norm_(parameters, gradient_clip)
        if self.scaler is None:
            optimizer.step()
            return True
        scale = self.scaler.get_scale()
        self.scaler.step(optimizer)
        self.scaler.update()
        skipped = self.scaler.get_scale() < scale
        if self.scaler.get_scale() < LEAST_SCALE:
            self.scaler.update(LEAST_SCALE)
        self.skipped_in_a_row = self.skipped_in_a_row + 1 if skipped else 0
        if skipped:
            self._say_skipped(step)
        return not skipped

    def _say_skipped(self, step: int) -> None:
        in_a_row = self.skipped_in_a_row
        if in_a_row == WARN_SKIPPED:
            log.warning(
                "step %d: %d steps in a row had infinite gradients in fp16 (or NaN) and were skipped", step, in_a_row
            )
        if in_a_row >= STOP_SKIPPED:
            raise TrainingDiverged(
                f"step {step}: the last {in_a_row} steps were skipped for infinite or NaN gradients in fp16, so "
                f"nothing was learned and the loss stood still; use train.amp: bf16 or off ({FP16_HINT})"
            )


def choose_amp(wanted: str, model_type: str, device: torch.device, before: Amp | None = None) -> Amp:
    """What `train.amp` means on `device`; `before` is what it meant when a resumed run was last started.

    `auto` is bf16 where that is fast, except for logic networks, whose kernels have their own types. A run keeps what
    it began with, so that a resume computes the same; where bf16 is not fast it goes on in fp32, with a warning.
    """
    if wanted in ("off", "bf16", "fp16"):
        return wanted  # type: ignore[return-value]
    fast = model_type != "DiffLogic" and is_fast_at_bf16(device)
    if before == "off" and fast:
        log.info("train.amp: auto stays at fp32, which this run began with; train.amp: bf16 would be faster here")
        return "off"
    if before == "bf16" and not fast:
        log.warning(
            "train.amp: auto was bf16 when this run was last started, which is slow on this %s: it goes on in fp32, "
            "and its results are not those of a run without the move; train.amp: bf16 would keep them",
            device.type,
        )
    return "bf16" if fast else "off"


def is_fast_at_bf16(device: torch.device) -> bool:
    """Whether `device` has instructions for bf16, not an emulation."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and not _BF16_FLAGS.isdisjoint(_cpu_flags())


def _cpu_flags() -> set[str]:
    """What the kernel says that the processor can do; empty on systems that do not have this file."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return set()
    return next((set(line.partition(":")[2].split()) for line in lines if line.startswith("flags")), set())
