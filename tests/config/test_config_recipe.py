"""Defaults that depend on the model, and how the keys of a logic network fit together."""

from typing import Any

import pytest
from pydantic import ValidationError

from difflogic_tonic.config.networks import DiffLogic
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


def test_only_the_learning_rate_is_filled_in() -> None:
    made = config(train={"epochs": 3, "schedule": "cosine"})
    assert made.train.learning_rate is None
    assert made.training == made.train.model_copy(update={"learning_rate": 0.05})


@pytest.mark.parametrize(
    ("logic", "levels"),
    [
        ({}, 1),
        ({"thermometer_levels": 5}, 1),
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
        ({"temperature_end": 0.1}, "set both or neither"),
        ({"temperature_schedule": "linear"}, "set both or neither"),
        ({"backend": "difflogic", "parametrization": "walsh"}, "does not compute parametrization: walsh; use auto"),
        ({"backend": "difflogic", "estimator": "hard"}, "does not compute estimator: hard; use auto"),
        ({"backend": "difflogic", "wiring": "learnable"}, "does not compute wiring: learnable; use auto"),
    ],
)
def test_keys_that_do_not_fit_together_are_refused(logic: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DiffLogic.model_validate(logic)


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
