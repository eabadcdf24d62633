"""What a config means on this machine."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from difflogic_tonic.config import load_train_config
from difflogic_tonic.errors import ConfigError
from difflogic_tonic.train.inputs import check_last_batch, choose_device


def test_auto_takes_what_there_is() -> None:
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_a_device_that_is_not_there_is_an_error_that_says_what_to_use() -> None:
    with pytest.raises(ConfigError, match=r"train.device: cuda:99, but \d+ CUDA devices .* use auto or cpu"):
        choose_device("cuda:99")


def inputs_of(n_samples: int, batch_size: int) -> Any:
    return SimpleNamespace(train=SimpleNamespace(n_samples=n_samples, batch_size=batch_size))


def test_a_last_batch_of_one_sample_is_refused_where_batch_normalisation_cannot_take_it(repository: Path) -> None:
    frames = load_train_config(repository / "configs" / "digits_mlp.yaml")
    normalised = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    with pytest.raises(ConfigError, match=r"batch_size: 8 leaves one of 1,081 training samples .* use 11"):
        check_last_batch(normalised, frames, inputs_of(1081, 8))
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        normalised(torch.zeros(1081 % 8, 4))  # what would have come at the end of the epoch
    for divisor in (9, 10):  # 9 leaves one as well, 10 too: why 11 is said
        assert 1081 % divisor == 1
    check_last_batch(normalised, frames, inputs_of(1081, 11))
    check_last_batch(nn.Sequential(nn.Linear(4, 3)), frames, inputs_of(1081, 8))
    sequences = load_train_config(repository / "configs" / "digits_snn.yaml")
    check_last_batch(normalised, sequences, inputs_of(1081, 8))  # a recording has several frames
