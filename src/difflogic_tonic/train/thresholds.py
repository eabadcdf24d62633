"""Thresholds of a logic network's inputs that come from the data: found once, before training starts.

They are a buffer of the network, so a checkpoint and a saved model bring them along; nothing finds them a second time.
"""

import itertools
from contextlib import closing

import torch
from torch import Tensor, nn

from difflogic_tonic import cache
from difflogic_tonic.config import TrainConfig
from difflogic_tonic.data import expand
from difflogic_tonic.errors import ConfigError
from difflogic_tonic.models.encoding import BinaryFrames
from difflogic_tonic.nets.logic import distributive_thresholds, even_thresholds
from difflogic_tonic.train.fit import BatchSource

SAMPLES = 4096
"""Training samples that are looked at: quantiles to a few thousandths, and a second of sorting."""


def check_counts(config: TrainConfig, manifest: cache.Manifest) -> None:
    """`ConfigError` if thresholds other than one event are asked of a variant that stores bits."""
    logic = config.model.difflogic
    if config.model.model_type != "DiffLogic" or manifest.storage == "u8":
        return
    if logic.levels > 1 or logic.thresholds not in (None, (1,)):
        instead = "use data.slice.frames: u8" if config.data.slice else "prepare one with data.frames: u8"
        asked = f"thresholds {list(logic.thresholds)}" if logic.thresholds else f"{logic.levels} levels"
        raise ConfigError(
            f"model.difflogic.encoding: {logic.encoding} with {asked} needs counts, and variant "
            f"{manifest.fingerprint[:12]} of {manifest.dataset} stores bits; {instead}, "
            f"or use encoding: binary"
        )


def fit_thresholds(model: nn.Module, config: TrainConfig, train: BatchSource) -> None:
    """Give the encoder of a new `model` the thresholds of `config` that are not written there, if there are any.

    `distributive`: quantiles over the first batches of the training order, a sample that the seed decides. `train`
    has no augmentation.
    """
    logic = config.model.difflogic
    if config.model.model_type != "DiffLogic" or logic.thresholds is not None or logic.encoding == "binary":
        return
    assert isinstance(model, BinaryFrames), type(model)
    assert model.encoder is not None
    if logic.encoding == "distributive":
        model.encoder.thresholds.copy_(distributive_thresholds(_sample(train), logic.levels))
    elif config.facts.kind == "images":
        model.encoder.thresholds.copy_(even_thresholds(logic.levels).unsqueeze(1))


def _sample(train: BatchSource) -> Tensor:
    """u8[at least SAMPLES if there are as many, features]; a sequence is as many samples as it has frames."""
    with closing(train.iterate(0)) as batches:
        few = list(itertools.islice(batches, -(-SAMPLES // train.batch_size)))
    frames = [expand(batch, torch.uint8) for batch in few]
    if few[0].view == "sequence":
        frames = [steps.flatten(0, 1) for steps in frames]
    return torch.cat([values.flatten(1) for values in frames])[:SAMPLES]
