"""The section `train` of a training config."""

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from difflogic_tonic.config.networks import Model
from difflogic_tonic.config.own_code import is_own_code
from difflogic_tonic.config.sections import Fraction, PathValue, Positive, Section, nearest

OPTIMIZERS = ("adam", "adamw", "sgd")

Rate = Annotated[float, Field(ge=0, le=1)]


class Dataloader(Section):
    batch_size: Positive = 64
    """Samples in a batch; that of all processes together, where several share it."""

    num_workers: Annotated[int, Field(ge=0, le=1024)] = 0
    """Threads that read ahead of training, in each process; 0 means one. Threads, since reading spends its time outside
    Python."""


class Train(Section):
    epochs: Positive = 10
    """Passes over the training samples."""

    learning_rate: Annotated[float, Field(gt=0, le=1e3)] | None = None
    """Step size of the optimizer at the start of the schedule. Default: DiffLogic 0.05 (`light` 0.1), with
    `estimator: gumbel` 0.5 (`walsh` 0.2); SNN 0.002, others 0.001; with `optimizer: sgd` 0.01."""

    device: str = "auto"
    """`auto`, `cpu`, `cuda` or `cuda:N`; `auto` takes the GPU if there is one."""

    checkpoint_interval_minutes: Annotated[float, Field(gt=0, le=1e6)] = 10.0
    """Longest time that a killed run loses."""

    grace_seconds: Annotated[float, Field(gt=0, le=1e6)] = 20.0
    """After a stop signal: if the step under way has not ended by then, the state before it is saved and the process
    ends. Less than the time to the kill (SLURM's KillWait, 30 s unless changed) by what writing a checkpoint takes."""

    optimizer: str = "adam"
    """Rule that turns gradients into steps: `adam`, `adamw`, `sgd`, or `module:function`, which is called with the
    weights, the learning rate and `weight_decay`, and returns a torch optimizer."""

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

    warmup_epochs: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    """Epochs, or a part of one, over which the learning rate rises in a line before `schedule` begins."""

    loss: Literal["auto", "cross_entropy", "mse", "spike_count", "tet"] = "auto"
    """What training makes small; `auto` is the cross-entropy. For `model_type: SNN` also the squared error of the class
    scores to 1 for the right class and 0 for the others (`mse`), that of the firing rates to `target_rates`
    (`spike_count`), and the cross-entropy of every step by itself (`tet`)."""

    target_rates: tuple[Rate, ...] = Field(default=(0.8, 0.2), min_length=2, max_length=2, strict=False)
    """Firing rates that `loss: spike_count` asks of the right class and of the others."""

    tet_weight: Fraction = 0.001
    """Share of the loss `tet` that keeps the scores of every step near 1."""

    gradient_clip: Annotated[float, Field(gt=0)] | None = None
    """Largest norm of the gradient; a longer one is scaled down to it."""

    accumulate: Positive = 1
    """Batches whose gradients are summed into one step: less memory for the same effective batch."""

    recompute: bool = False
    """Keep less of the forward pass and compute it again for the gradients: less memory for a third more time
    (`model_type: SNN`)."""

    recompute_steps: Positive | None = None
    """With `recompute`: compute again so many steps at a time, where no layer needs all of them (batch normalisation
    does). Without it all at once."""

    amp: Literal["auto", "off", "bf16", "fp16"] = "auto"
    """Mixed precision. `auto` is bf16 where the hardware is fast at it (a GPU with bf16, a CPU with AVX-512 BF16 or
    AMX), except for DiffLogic, and off elsewhere. `fp16` needs a GPU. Evaluations are in fp32."""

    label_smoothing: Fraction = 0.0
    """Part of the target that is spread over all classes."""

    continue_from: PathValue | None = None
    """Go on from a checkpoint of SpikingJelly's examples: its weights, the moments of its optimizer, its epoch."""

    measure_spikes: Annotated[int, Field(ge=0, le=2**31 - 1)] = 100
    """Count spikes and membranes in every so many steps of training, and with synaptic operations in every so many
    batches of an evaluation, beginning with the first of each; 0: never (`model_type: SNN`)."""

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

    @field_validator("optimizer")
    @classmethod
    def _known_optimizer(cls, optimizer: str) -> str:
        if optimizer not in OPTIMIZERS and not is_own_code(optimizer):
            raise ValueError(
                f"{optimizer!r} is not one of {', '.join(OPTIMIZERS)}, module:function{nearest(optimizer, OPTIMIZERS)}"
            )
        return optimizer

    @model_validator(mode="after")
    def _steps_for_step(self) -> "Train":
        if self.schedule == "step" and not self.step_epochs:
            raise ValueError("train.schedule: step needs train.step_epochs, e.g. [10, 15]")
        if list(self.step_epochs) != sorted(set(self.step_epochs)):
            raise ValueError(f"train.step_epochs {list(self.step_epochs)} must be ascending")
        return self

    @model_validator(mode="after")
    def _warmup_ends(self) -> "Train":
        if self.warmup_epochs >= self.epochs:
            raise ValueError(f"train.warmup_epochs {self.warmup_epochs:g} must be below train.epochs {self.epochs}")
        return self

    @model_validator(mode="after")
    def _targets_make_sense(self) -> "Train":
        right, others = self.target_rates
        if right <= others:
            raise ValueError(
                f"train.target_rates [{right:g}, {others:g}]: the first, of the right class, must be larger"
            )
        if self.label_smoothing and self.loss == "spike_count":
            raise ValueError(
                "train.label_smoothing has no effect with loss: spike_count; train.target_rates are its targets"
            )
        return self

    @model_validator(mode="after")
    def _every_key_counts(self) -> "Train":
        for key, chooser, choice in (
            ("momentum", "optimizer", "sgd"),
            ("step_epochs", "schedule", "step"),
            ("step_gamma", "schedule", "step"),
            ("target_rates", "loss", "spike_count"),
            ("tet_weight", "loss", "tet"),
            ("recompute_steps", "recompute", True),
        ):
            # the default is no sign of an intention: a saved config holds every key
            if getattr(self, key) != type(self).model_fields[key].default and getattr(self, chooser) != choice:
                raise ValueError(
                    f"train.{key} has no effect with {chooser}: {_written(getattr(self, chooser))}; "
                    f"leave it out, or use {chooser}: {_written(choice)}"
                )
        return self


def _written(value: str | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else value


def check_training(train: Train, model: Model) -> None:
    """Raise `ValueError` for what no training of `model` can do, or what would have no effect on it."""
    readout = model.snn.readout
    if model.model_type != "SNN":
        if train.loss not in ("auto", "cross_entropy"):
            raise ValueError(f"train.loss: {train.loss} is for model.model_type: SNN; use cross_entropy")
        if train.recompute:
            raise ValueError("train.recompute is for model.model_type: SNN; use train.accumulate and a smaller batch")
        for key in ("continue_from", "measure_spikes"):
            if getattr(train, key) != Train.model_fields[key].default:
                raise ValueError(f"train.{key} is for model.model_type: SNN; leave it out")
    elif train.continue_from is not None and model.weights is not None:
        raise ValueError("train.continue_from brings its weights; leave model.weights out")
    elif train.loss == "spike_count" and readout != "rate":
        raise ValueError(f"train.loss: spike_count needs model.snn.readout: rate, not {readout}, which has no rates")
    elif train.loss == "tet" and readout == "rate":
        raise ValueError(
            "train.loss: tet compares the scores of every step, and with model.snn.readout: rate they are spikes; "
            "use readout: current or membrane"
        )
