"""What a config means on this machine."""

import pytest
import torch

from difflogic_tonic.errors import ConfigError
from difflogic_tonic.train.inputs import choose_device


def test_auto_takes_what_there_is() -> None:
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_a_device_that_is_not_there_is_an_error_that_says_what_to_use() -> None:
    with pytest.raises(ConfigError, match=r"train.device: cuda:99, but \d+ CUDA devices .* use auto or cpu"):
        choose_device("cuda:99")
