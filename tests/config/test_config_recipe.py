"""Defaults that depend on the model, and how the keys of a logic network fit together."""

import math
from typing import Any

import pytest
from pydantic import ValidationError

from difflogic_tonic.config.networks import DiffLogic, check_logic_sizes
from difflogic_tonic.config.train import TrainConfig


def config(model_type: str = "DiffLogic", data: str = "NMNIST", train: dict | None = None, **logic: Any) -> TrainConfig:
    content = {"data": {"name": data}, "train": train or {}, "model": {"model_type": model_type, "difflogic": logic}}
    return TrainConfig.model_validate(content)


@pytest.mark.parametrize(
    ("model_type", "logic", "rate"),
    [
        ("DiffLogic", {}, 0.05),
        ("DiffLogic", {"parametrization": "light"}, 0.1),
        ("DiffLogic", {"parametrization": "walsh"}, 0.05),
        ("DiffLogic", {"estimator": "hard"}, 0.05),
        ("DiffLogic", {"estimator": "gumbel"}, 0.5),
        ("DiffLogic", {"estimator": "gumbel", "parametrization": "walsh"}, 0.2),
        ("CNN", {}, 0.001),
        ("MLP", {}, 0.001),
        ("SNN", {}, 0.002),
    ],
)
def test_the_learning_rate_follows_the_model_where_the_config_has_none(
    model_type: str, logic: dict[str, Any], rate: float
) -> None:
    assert config(model_type, **logic).training.rate == rate
    assert config(model_type, train={"optimizer": "sgd"}, **logic).training.rate == 0.01
    assert config(model_type, train={"learning_rate": 0.3}, **logic).training.rate == 0.3


def test_the_learning_rate_and_the_loss_are_filled_in() -> None:
    made = config(train={"epochs": 3, "schedule": "cosine"})
    assert made.train.learning_rate is None
    assert made.training == made.train.model_copy(update={"learning_rate": 0.05, "loss": "cross_entropy"})


@pytest.mark.parametrize(
    ("logic", "levels"),
    [
        ({}, 1),
        ({"encoding": "thermometer"}, 3),
        ({"encoding": "distributive", "thermometer_levels": 5}, 5),
        ({"encoding": "thermometer", "thresholds": [1, 4]}, 2),
        ({"thresholds": [128]}, 1),
    ],
)
def test_a_pixel_is_as_many_bits_as_it_has_thresholds(logic: dict[str, Any], levels: int) -> None:
    assert DiffLogic.model_validate(logic).levels == levels


@pytest.mark.parametrize(
    ("logic", "message"),
    [
        ({"thresholds": [2, 2], "encoding": "thermometer"}, r"thresholds \[2, 2\] must be ascending"),
        ({"thresholds": [1, 2]}, "binary has one"),
        ({"thresholds": [1], "encoding": "distributive"}, "distributive finds its own"),
        ({"thresholds": [256]}, "less than or equal to 255"),
        ({"thresholds": []}, "at least 1 item"),
        ({"tau": math.inf}, "less than or equal to 1000000"),
        ({"temperature": 1e-42}, "greater than or equal to 0.001"),
        ({"temperature_end": 0.1}, "set both or neither"),
        ({"temperature_schedule": "linear"}, "set both or neither"),
        ({"backend": "difflogic", "parametrization": "walsh"}, "does not compute parametrization: walsh; use auto"),
        ({"backend": "difflogic", "estimator": "hard"}, "does not compute estimator: hard; use auto"),
        ({"backend": "difflogic", "wiring": "learnable"}, "does not compute wiring: learnable; use auto"),
        ({"backend": "triton", "wiring": "learnable"}, "triton has no learnable wiring; .*: use auto"),
        (
            {"thermometer_levels": 5},
            "thermometer_levels has no effect with encoding: binary; .* thermometer or distrib",
        ),
        ({"wiring_candidates": 4}, "wiring_candidates has no effect with wiring: unique; .* use wiring: learnable"),
        ({"storage": "float16", "backend": "eager"}, "storage has no effect with backend: eager; .* auto or cpu"),
        ({"storage": "float16", "backend": "triton"}, "storage has no effect with backend: triton"),
        ({"storage": "float16", "wiring": "learnable"}, "storage has no effect with wiring: learnable"),
        ({"storage": "float16", "architecture": "conv"}, "storage has no effect with architecture: conv; .* dense"),
        ({"conv": {"tree_depth": 2}}, "conv has no effect with architecture: dense; .* architecture: conv"),
        ({"recurrent": {"state": 9}}, "recurrent has no effect with architecture: dense; .* architecture: recurrent"),
        (
            {"encoding": "thermometer", "thresholds": [1, 2], "thermometer_levels": 5},
            r"thermometer_levels 5 has no effect beside thresholds \[1, 2\]",
        ),
    ],
)
def test_keys_that_do_not_fit_together_are_refused(logic: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DiffLogic.model_validate(logic)


@pytest.mark.parametrize("architecture", ["dense", "conv", "recurrent"])
def test_a_saved_config_holds_every_key_and_can_be_read_again(architecture: str) -> None:
    saved = DiffLogic.model_validate({"architecture": architecture}).to_dict()
    assert DiffLogic.model_validate(saved).to_dict() == saved


def check(**logic: Any) -> None:
    check_logic_sizes(DiffLogic.model_validate(logic), (1, 2, 5), 2)


def test_neurons_besides_the_state_have_to_reach_all_of_a_layer() -> None:
    """52 neurons read 10 pixels and 30 bits; then the 22 besides the state have 44 wires for 52 neurons."""
    logic = {"architecture": "recurrent", "wiring": "random", "recurrent": {"state": 30}}
    check(num_neurons=52, num_layers=1, **logic)
    with pytest.raises(ValueError, match=r"52 has 44 wires besides 30 of the state for 52 inputs, .* at least 60"):
        check(num_neurons=52, num_layers=3, **logic)
    check(num_neurons=60, num_layers=3, **logic)


@pytest.mark.parametrize("wiring", ["unique", "learnable"])
def test_wiring_without_equal_pairs_needs_as_many_pairs(wiring: str) -> None:
    """Ten pixels have 45 pairs."""
    check(num_neurons=44, wiring=wiring)
    with pytest.raises(ValueError, match=rf"wiring: {wiring} has 45 pairs of 10 inputs, too few for 46 .* use random"):
        check(num_neurons=46, wiring=wiring)
    check(num_neurons=46, wiring="random")


def test_every_level_of_every_pixel_needs_a_wire() -> None:
    """N-MNIST has 2,312 inputs, at three levels 6,936, so 3,468 neurons would do; 3,470 are ten equal classes."""
    config(num_neurons=3000)
    with pytest.raises(ValidationError, match=r"6000 wires for 6936 inputs, .* use at least 3470"):
        config(num_neurons=3000, encoding="thermometer")
    config(num_neurons=3470, encoding="thermometer")


def test_images_do_not_start_with_a_threshold_made_for_events() -> None:
    with pytest.raises(ValidationError, match=r"MNIST has pixels from 0 to 255; add .*thresholds: \[128\]"):
        config(data="MNIST")
    config(data="MNIST", thresholds=[128])
    config(data="MNIST", encoding="thermometer")
    config("MLP", data="MNIST")
