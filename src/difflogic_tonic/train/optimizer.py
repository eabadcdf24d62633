"""Optimizers and learning rates. A rate is a pure function of the position, so a resume needs no state of it."""

import math

import torch
from torch import nn

from difflogic_tonic.config.own_code import load_own_function
from difflogic_tonic.config.training import Train
from difflogic_tonic.errors import ConfigError


def build_optimizer(config: Train, model: nn.Module) -> torch.optim.Optimizer:
    """The optimizer of `config` over all trainable parameters, as one fused kernel where every parameter allows it."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    fused = bool(parameters) and all(
        parameter.device.type in ("cpu", "cuda") and parameter.is_floating_point() for parameter in parameters
    )
    rate, decay = config.rate, config.weight_decay
    match config.optimizer:
        case "adam":
            return torch.optim.Adam(parameters, lr=rate, weight_decay=decay, fused=fused)
        case "adamw":
            return torch.optim.AdamW(parameters, lr=rate, weight_decay=decay, fused=fused)
        case "sgd":
            return torch.optim.SGD(parameters, lr=rate, momentum=config.momentum, weight_decay=decay, fused=fused)
    return _own_optimizer(config.optimizer, parameters, rate, decay)


def _own_optimizer(name: str, parameters: list[nn.Parameter], rate: float, decay: float) -> torch.optim.Optimizer:
    """What the function `name` makes of weights, learning rate and weight decay. `ConfigError` if that is none.

    Also for one with a rate of its own.
    """
    made = load_own_function("train.optimizer", name, "parameters", "learning_rate", "weight_decay")(
        parameters, rate, decay
    )
    if not isinstance(made, torch.optim.Optimizer):
        raise ConfigError(
            f"train.optimizer: {name} returned {type(made).__name__}; expected an instance of torch.optim.Optimizer"
        )
    others = sorted({float(group["lr"]) for group in made.param_groups} - {rate})
    if others:  # the schedule would write over them at the first step
        raise ConfigError(
            f"train.optimizer: {name} takes the learning rate {others[0]:g} and not the {rate:g} that it is given; set "
            "train.learning_rate, which with train.schedule is that of all weights"
        )
    return made


def learning_rate_at(config: Train, step: int, steps_per_epoch: int) -> float:
    """Learning rate of optimizer step `step` (from 0).

    none    learning_rate
    cosine  learning_rate · (1 + cos(π · step / last step of the run)) / 2, per step, counted from the warm-up's end
    step    learning_rate · step_gamma^(number of step_epochs that are over), per epoch

    In a warm-up of w steps: learning_rate · (step + 1) / (w + 1). A resume with other epochs or another learning rate
    continues on the curve of the new values.
    """
    warmup = round(config.warmup_epochs * steps_per_epoch)
    if step < warmup:
        return config.rate * (step + 1) / (warmup + 1)
    match config.schedule:
        case "none":
            return config.rate
        case "cosine":
            done = min(1.0, (step - warmup) / (config.epochs * steps_per_epoch - warmup))
            return config.rate * 0.5 * (1 + math.cos(math.pi * done))
        case "step":
            epoch = step // steps_per_epoch
            return config.rate * config.step_gamma ** sum(epoch >= after for after in config.step_epochs)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
