"""Going on from a checkpoint of SpikingJelly's examples."""

from pathlib import Path
from typing import Any

import pytest
import torch

from difflogic_tonic.errors import ConfigError
from difflogic_tonic.runs.signals import StopRequest
from difflogic_tonic.train.fit import fit
from difflogic_tonic.train.foreign import go_on_from
from difflogic_tonic.train.saving import Saver

STEPS = 5


def foreign(state: Any, **changed: Any) -> dict[str, Any]:
    """What SpikingJelly's example would have saved of the same network, whose weights are 1 and moments count up."""
    net = {name.removeprefix("network."): torch.ones_like(value) for name, value in state.model.state_dict().items()}
    names = [name.removeprefix("network.") for name, _ in state.model.named_parameters()]
    moments = {place: {"momentum_buffer": torch.full_like(net[name], place)} for place, name in enumerate(names)}
    group = {"lr": 0.05, "momentum": 0.9, "initial_lr": 0.1, "params": list(range(len(names)))}
    return {
        "net": net,
        "optimizer": {"state": moments, "param_groups": [group]},
        "lr_scheduler": {"T_max": 64, "last_epoch": 2},
        "epoch": 1,
        "max_test_acc": 0.75,
    } | changed


@pytest.fixture
def started(workshop: Any) -> tuple[Any, Any]:
    config = workshop.config("SNN", epochs=4, optimizer="sgd")
    return workshop.state(config), config


def test_it_goes_on_behind_the_epoch_with_weights_and_moments(
    started: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state, config = started
    torch.save(foreign(state), tmp_path / "checkpoint_latest.pth")
    with caplog.at_level("INFO"):
        go_on_from(tmp_path / "checkpoint_latest.pth", state, config, STEPS)
    assert (state.progress.epoch, state.progress.step) == (2, 2 * STEPS)
    assert all(bool((value == 1).all()) for value in state.model.state_dict().values())
    for place, weight in enumerate(state.model.parameters()):
        assert bool((state.optimizer.state[weight]["momentum_buffer"] == place).all())
    assert "after epoch 2 of 4; its best test epoch had 75.00%" in caplog.text
    assert state.optimizer.param_groups[0]["lr"] == config.training.rate  # the schedule's, not the file's


def test_moments_follow_their_weights_whatever_the_order(started: Any, tmp_path: Path) -> None:
    state, config = started
    content = foreign(state)
    content["net"] = dict(reversed(content["net"].items()))
    places = len(list(state.model.parameters()))
    content["optimizer"]["state"] = {places - 1 - at: moments for at, moments in content["optimizer"]["state"].items()}
    torch.save(content, tmp_path / "c.pth")
    go_on_from(tmp_path / "c.pth", state, config, STEPS)
    for place, weight in enumerate(state.model.parameters()):
        assert bool((state.optimizer.state[weight]["momentum_buffer"] == place).all())


def test_a_run_goes_on_with_it(workshop: Any, started: Any, tmp_path: Path) -> None:
    state, config = started
    torch.save(foreign(state), tmp_path / "c.pth")
    with workshop.opened(config) as (fresh, plan, metrics, writer):
        go_on_from(tmp_path / "c.pth", fresh, config, plan.steps_per_epoch)
        assert fit(fresh, plan, metrics, Saver(fresh, metrics, writer, StopRequest(), 1e9))
        assert (fresh.progress.epoch, fresh.progress.step) == (4, 4 * plan.steps_per_epoch)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.pop("optimizer"), r"c\.pth has no optimizer; expected a checkpoint of SpikingJelly"),
        (lambda content: content.update(epoch=3), "is at the end of epoch 4, and train.epochs is 4; use more epochs"),
        (
            lambda content: content["optimizer"].update(state={0: {"exp_avg": torch.zeros(1)}}),
            "remembers exp_avg, train.optimizer: sgd momentum_buffer; use the one",
        ),
        (
            lambda content: content["optimizer"]["state"][0].update(momentum_buffer=torch.zeros(3, 3)),
            "momentum_buffer of weight 0 .* has another shape",
        ),
        (lambda content: content["optimizer"]["param_groups"][0].update(params=[0]), "has 1 weights, .* model 4"),
        (lambda content: content["net"].popitem(), r"does not fit the configured model: missing: network\."),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(started: Any, change: Any, message: str, tmp_path: Path) -> None:
    state, config = started
    content = foreign(state)
    change(content)
    torch.save(content, tmp_path / "c.pth")
    with pytest.raises(ConfigError, match=message) as caught:
        go_on_from(tmp_path / "c.pth", state, config, STEPS)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(started: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"train\.continue_from: .*c\.pth is not a file"):
        go_on_from(tmp_path / "c.pth", *started, STEPS)
