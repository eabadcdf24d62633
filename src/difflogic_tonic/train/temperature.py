"""The temperature of a logic network, as a pure function of the position, so that a resume needs no state of it."""

from torch import nn

from difflogic_tonic.config import TrainConfig
from difflogic_tonic.config.networks import DiffLogic
from difflogic_tonic.nets.logic import set_temperature


def temperature_at(config: DiffLogic, step: int, steps: int) -> float:
    """Temperature of optimizer step `step` (from 0) of a run of `steps`.

    none         temperature
    linear       temperature + (temperature_end - temperature) · step / steps
    exponential  temperature · (temperature_end / temperature)^(step / steps)
    """
    start, end, done = config.temperature, config.temperature_end, min(1.0, step / steps)
    if end is None:
        return start
    return start + (end - start) * done if config.temperature_schedule == "linear" else start * (end / start) ** done


def steps_of(config: TrainConfig, batches: int) -> int:
    """Optimizer steps of a run with so many batches in an epoch; the last of an epoch may accumulate fewer."""
    return config.train.epochs * -(-batches // config.train.accumulate)


def set_temperature_after(model: nn.Module, config: TrainConfig, step: int, batches: int) -> None:
    """What a soft evaluation after `step` optimizer steps computes with: the temperature of the last of them."""
    if config.model.model_type == "DiffLogic":
        set_temperature(model, temperature_at(config.model.difflogic, max(0, step - 1), steps_of(config, batches)))
