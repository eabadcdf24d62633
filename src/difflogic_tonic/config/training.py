"""The section `train` of a training config."""

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from difflogic_tonic.config.sections import Fraction, Positive, Section


class Dataloader(Section):
    batch_size: Positive = 64
    """Samples in a batch."""

    num_workers: Annotated[int, Field(ge=0, le=1024)] = 0
    """Threads that read ahead of training; 0 means one. Threads, since reading spends its time outside Python."""


class Train(Section):
    epochs: Positive = 10
    """Passes over the training samples."""

    learning_rate: Annotated[float, Field(gt=0, le=1e3)] | None = None
    """Step size of the optimizer at the start of the schedule. Default: DiffLogic 0.05 (`light` 0.1), with
    `estimator: gumbel` 0.5 (`walsh` 0.2); CNN and MLP 0.001, SNN 0.002; with `optimizer: sgd` 0.01."""

    device: str = "auto"
    """`auto`, `cpu`, `cuda` or `cuda:N`; `auto` takes the GPU if there is one."""

    checkpoint_interval_minutes: Annotated[float, Field(gt=0, le=1e6)] = 10.0
    """Longest time that a killed run loses."""

    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    """Rule that turns gradients into steps."""

    momentum: Fraction = 0.9
    """Momentum of `sgd`."""

    weight_decay: Annotated[float, Field(ge=0, le=1e3)] = 0.0
    """Decay of the weights: decoupled in `adamw`, as an L2 term in the others."""

    schedule: Literal["none", "cosine", "step"] = "none"
    """Learning rate over the epochs: constant, half a cosine to zero, or times `step_gamma` at `step_epochs`."""

    step_epochs: tuple[Positive, ...] = Field(default=(), strict=False)
    """Epochs after which `schedule: step` lowers the learning rate, e.g. [10, 15]."""

    step_gamma: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Factor of `schedule: step`."""

    gradient_clip: Annotated[float, Field(gt=0)] | None = None
    """Largest norm of the gradient; a longer one is scaled down to it."""

    accumulate: Positive = 1
    """Batches whose gradients are summed into one step: less memory for the same effective batch."""

    amp: Literal["off", "bf16", "fp16"] = "off"
    """Mixed precision. `fp16` needs a GPU."""

    label_smoothing: Fraction = 0.0
    """Part of the target that is spread over all classes."""

    early_stopping: Positive | None = None
    """Stop after so many epochs without a better validation accuracy."""

    dataloader: Dataloader = Dataloader()

    @property
    def rate(self) -> float:
        """`learning_rate`, where it is known: `TrainConfig.training`."""
        assert self.learning_rate is not None, "the default depends on the model"
        return self.learning_rate

    @field_validator("device")
    @classmethod
    def _known_device(cls, device: str) -> str:
        if not re.fullmatch(r"auto|cpu|cuda(:[0-9]+)?", device):
            raise ValueError(f"{device!r} is not one of auto, cpu, cuda, cuda:0")
        return device

    @model_validator(mode="after")
    def _steps_for_step(self) -> "Train":
        if self.schedule == "step" and not self.step_epochs:
            raise ValueError("train.schedule: step needs train.step_epochs, e.g. [10, 15]")
        if list(self.step_epochs) != sorted(set(self.step_epochs)):
            raise ValueError(f"train.step_epochs {list(self.step_epochs)} must be ascending")
        return self

    @model_validator(mode="after")
    def _every_key_counts(self) -> "Train":
        for key, chooser, choice in (
            ("momentum", "optimizer", "sgd"),
            ("step_epochs", "schedule", "step"),
            ("step_gamma", "schedule", "step"),
        ):
            # the default is no sign of an intention: a saved config holds every key
            if getattr(self, key) != type(self).model_fields[key].default and getattr(self, chooser) != choice:
                raise ValueError(
                    f"train.{key} has no effect with {chooser}: {getattr(self, chooser)}; "
                    f"leave it out, or use {chooser}: {choice}"
                )
        return self
