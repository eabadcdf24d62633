"""What a logic network starts from and how it is led: thresholds found in the data, and the temperature."""

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from difflogic_tonic import models
from difflogic_tonic.config.networks import ConvTrees, DiffLogic, Recurrent
from difflogic_tonic.config.train import TrainConfig
from difflogic_tonic.errors import ConfigError
from difflogic_tonic.nets.logic import LogicLayer, distributive_thresholds
from difflogic_tonic.train import thresholds
from difflogic_tonic.train.temperature import set_temperature_after, temperature_at
from difflogic_tonic.train.thresholds import check_counts, fit_thresholds


def with_logic(config: TrainConfig, **logic: Any) -> TrainConfig:
    """`config` with other values in the section of the logic network, which are not checked."""
    section = config.model.difflogic.model_copy(update=logic)
    return config.model_copy(update={"model": config.model.model_copy(update={"difflogic": section})})


def without_timings(row: dict[str, Any]) -> dict[str, Any]:
    """`row` without what depends on the machine."""
    return {key: value for key, value in row.items() if "second" not in key and "memory" not in key and key != "time"}


@pytest.mark.parametrize(
    ("schedule", "temperatures"),
    [
        ({}, {0: 2.0, 5: 2.0, 10: 2.0}),
        ({"temperature_schedule": "linear", "temperature_end": 0.5}, {0: 2.0, 4: 1.4, 10: 0.5, 15: 0.5}),
        ({"temperature_schedule": "exponential", "temperature_end": 0.5}, {0: 2.0, 5: 1.0, 10: 0.5, 15: 0.5}),
    ],
)
def test_temperatures_of_a_run_of_ten_steps(schedule: dict[str, Any], temperatures: dict[int, float]) -> None:
    logic = DiffLogic.model_validate({"temperature": 2.0, **schedule})
    for step, temperature in temperatures.items():
        assert temperature_at(logic, step, 10) == pytest.approx(temperature, abs=1e-12)


@pytest.mark.parametrize("estimator", ["soft", "gumbel"])
def test_a_run_with_a_temperature_schedule_resumes_to_the_bit(
    estimator: str, workshop: Any, another_workshop: Any
) -> None:
    changing = {"temperature": 2.0, "temperature_end": 0.2, "temperature_schedule": "exponential"}
    config = with_logic(workshop.config("DiffLogic"), estimator=estimator, **changing)
    whole = workshop.train(config)
    for stop_after in range(1, whole.looks + 1, 3):  # in training, and in soft and hard evaluations
        another = type(workshop)(another_workshop.root / str(stop_after))
        another.train(config, stop_after)
        resumed = another.train(config, resume=True)
        weights = resumed.state.model.state_dict()
        assert all(torch.equal(weights[key], value) for key, value in whole.state.model.state_dict().items())
        assert [without_timings(row) for row in resumed.rows] == [without_timings(row) for row in whole.rows]
    steps = [row["temperature"] for row in whole.rows if row["kind"] == "step"]
    assert steps == pytest.approx([2.0 * 0.1 ** (step / len(steps)) for step in range(len(steps))])


@pytest.mark.parametrize(
    "logic",
    [
        {"wiring": "learnable", "estimator": "gumbel"},
        {"architecture": "conv", "conv": ConvTrees(channels=(4, 5), tree_depth=2), "wiring": "learnable"},
        {"architecture": "conv", "conv": ConvTrees(channels=(4,)), "wiring": "learnable", "backend": "eager"},
        {"architecture": "conv", "conv": ConvTrees(channels=(4, 5)), "estimator": "gumbel", "parametrization": "walsh"},
        {"architecture": "recurrent", "recurrent": Recurrent(state=9), "estimator": "gumbel", "num_neurons": 120},
        {"encoding": "distributive", "thermometer_levels": 2, "estimator": "hard", "num_neurons": 210},
        {"storage": "float16", "estimator": "gumbel"},
    ],
    ids=lambda logic: "-".join(str(value) for value in logic.values() if isinstance(value, str)),
)
def test_every_kind_of_logic_network_resumes_to_the_bit(
    logic: dict[str, Any], workshop: Any, another_workshop: Any
) -> None:
    config = with_logic(workshop.config("DiffLogic"), **logic)
    whole = workshop.train(config)
    another_workshop.train(config, whole.looks // 3)
    resumed = another_workshop.train(config, resume=True)
    weights = resumed.state.model.state_dict()
    assert all(torch.equal(weights[key], value) for key, value in whole.state.model.state_dict().items())
    assert [without_timings(row) for row in resumed.rows] == [without_timings(row) for row in whole.rows]


def test_a_soft_evaluation_has_the_temperature_of_the_last_step(workshop: Any) -> None:
    config = with_logic(workshop.config("DiffLogic"), temperature_end=0.5, temperature_schedule="linear")
    trained = workshop.train(config)
    layers = [layer for layer in trained.state.model.modules() if isinstance(layer, LogicLayer)]
    n_steps = trained.state.progress.step
    assert {layer.temperature for layer in layers} == {1.0 - 0.5 * (n_steps - 1) / n_steps}
    again = workshop.state(config).model
    set_temperature_after(again, config, n_steps, n_steps // config.train.epochs)
    assert {layer.temperature for layer in again.modules() if isinstance(layer, LogicLayer)} == {
        layer.temperature for layer in layers
    }


def test_a_constant_temperature_is_used_from_the_first_step_and_is_not_a_curve(workshop: Any) -> None:
    config = with_logic(workshop.config("DiffLogic", epochs=1), temperature=0.3)
    trained = workshop.train(config)
    assert {layer.temperature for layer in trained.state.model.modules() if isinstance(layer, LogicLayer)} == {0.3}
    assert not any("temperature" in row for row in trained.rows)


def test_distributive_thresholds_are_found_in_the_first_training_batches(
    workshop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thresholds, "SAMPLES", 14)
    config = with_logic(workshop.config("DiffLogic"), encoding="distributive", thermometer_levels=2, num_neurons=240)
    state = workshop.state(config)
    train = workshop.plan(config, state).train
    train.frames *= torch.randint(1, 9, train.frames.shape, generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    fit_thresholds(state.model, config, train)
    first = torch.cat([batch.inputs for batch, _ in zip(train.iterate(0), range(2), strict=False)])
    assert torch.equal(state.model.encoder.thresholds, distributive_thresholds(first, 2))
    assert state.model.encoder.thresholds.max() > 2


def test_thresholds_that_are_written_down_are_left_alone(workshop: Any) -> None:
    for logic in ({"encoding": "thermometer"}, {"encoding": "thermometer", "thresholds": (1, 9)}):
        config = with_logic(workshop.config("DiffLogic"), num_neurons=300, **logic)
        model = workshop.state(config).model
        before = model.encoder.thresholds.clone()
        fit_thresholds(model, config, workshop.plan(config, workshop.state(config)).train)
        assert torch.equal(model.encoder.thresholds, before)


def test_a_thermometer_for_pixels_divides_their_range() -> None:
    logic = {"encoding": "thermometer", "num_neurons": 1180}
    content = {"data": {"name": "MNIST"}, "model": {"model_type": "DiffLogic", "difflogic": logic}}
    config = TrainConfig.model_validate(content)
    model = models.build(config.model, (1, 28, 28), 10, 0)
    fit_thresholds(model, config, SimpleNamespace())
    assert model.encoder.thresholds.flatten().tolist() == [64, 128, 192]


@pytest.mark.parametrize(
    ("logic", "refused"),
    [
        ({"encoding": "thermometer"}, "3 levels"),
        ({"thresholds": (2,)}, r"thresholds \[2\]"),
        ({"encoding": "distributive", "thermometer_levels": 2}, "2 levels"),
        ({"thresholds": (1,)}, None),
        ({}, None),
    ],
)
def test_counts_are_not_asked_of_a_variant_that_stores_bits(
    logic: dict[str, Any], refused: str | None, workshop: Any
) -> None:
    config = with_logic(workshop.config("DiffLogic"), **logic)
    manifest = SimpleNamespace(storage="bits", fingerprint="0123456789abcdef", dataset="NMNIST")
    check_counts(config, SimpleNamespace(**vars(manifest) | {"storage": "u8"}))
    if refused is None:
        check_counts(config, manifest)
    else:
        with pytest.raises(ConfigError, match=f"with {refused} needs counts, and variant 0123456789ab of NMNIST"):
            check_counts(config, manifest)


def test_the_message_of_a_run_that_diverges_names_the_rate_in_use(workshop: Any) -> None:
    config = workshop.config("DiffLogic", learning_rate=None)
    state = workshop.state(config)
    plan = workshop.plan(config, state)
    assert plan.config.rate == 0.05
    assert plan.rate_at(0) == 0.05
    assert dataclasses.replace(plan, config=config.train.model_copy(update={"learning_rate": 0.5})).rate_at(0) == 0.5
