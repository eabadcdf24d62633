"""Sizes of convolutional logic networks: what does not fit is refused with numbers that do."""

from typing import Any

import pytest
from pydantic import ValidationError

from difflogic_tonic.config.networks import DiffLogic, check_logic_sizes
from difflogic_tonic.config.train import TrainConfig

NMNIST = (2, 34, 34)


def check(frame_shape: tuple[int, int, int] = NMNIST, num_neurons: int = 2000, encoding: str = "binary", **conv: Any):
    logic = DiffLogic.model_validate(
        {"architecture": "conv", "num_neurons": num_neurons, "encoding": encoding, "conv": conv}
    )
    check_logic_sizes(logic, frame_shape, 10)


def test_dense_layers_need_wires_for_what_the_trees_leave_not_for_the_frame():
    check(num_neurons=1030)  # 128 channels of 4 x 4 pixels
    with pytest.raises(ValueError, match=r"1020 has 2040 wires for 2048 inputs.*use at least 1030"):
        check(num_neurons=1020)
    check(num_neurons=1730, channels=[60], padding=0, kernel_size=20)  # 15 x 15, then 7 x 7 by pooling
    with pytest.raises(ValueError, match=r"1460 has 2920 wires for 2940 inputs.*use at least 1470"):
        check(num_neurons=1460, channels=[60], padding=0, kernel_size=20)


def test_frames_too_small_for_so_many_layers_are_refused():
    check((2, 16, 19), num_neurons=20, channels=[8, 8, 8, 8])  # 28 pairs of the 8 inputs that are left
    with pytest.raises(ValueError, match=r"1×1 pixels arrive at layer 5 of 5.*use 4 layers"):
        check((2, 16, 19), num_neurons=100, channels=[8, 8, 8, 8, 8])
    with pytest.raises(ValueError, match=r"3×9 pixels arrive at layer 1.*smaller kernel_size or more padding"):
        check((2, 3, 9), channels=[8], padding=0)


def test_every_channel_has_to_be_read_by_a_tree():
    with pytest.raises(ValueError, match=r"4 trees of layer 2 see 2 channels each, so some of 9.*use at least 5"):
        check(channels=[9, 4])
    check(channels=[9, 5])
    check(channels=[9, 4], tree_channels=3)
    with pytest.raises(ValueError, match=r"2 trees of layer 1 see 2 channels each, so some of 6 .*use at least 3"):
        check(channels=[2], encoding="thermometer", num_neurons=4000)


def test_padding_is_less_than_the_window():
    with pytest.raises(ValueError, match=r"padding 3 must be less than kernel_size 3; use 2 or less"):
        check(padding=3)


def test_a_train_config_is_checked_as_a_whole():
    content = {"data": {"name": "NMNIST"}, "model": {"model_type": "DiffLogic"}}
    logic = {"architecture": "conv", "num_neurons": 1000}
    with pytest.raises(ValidationError, match=r"1000 has 2000 wires for 2048 inputs"):
        TrainConfig.model_validate(content | {"model": {"model_type": "DiffLogic", "difflogic": logic}})
