"""Going on from a checkpoint of SpikingJelly's examples."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from difflogic_tonic import models
from difflogic_tonic.config import TrainConfig
from difflogic_tonic.data import Batch
from difflogic_tonic.errors import ConfigError
from difflogic_tonic.runs.signals import StopRequest
from difflogic_tonic.train.fit import fit
from difflogic_tonic.train.foreign import go_on_from
from difflogic_tonic.train.losses import training_loss
from difflogic_tonic.train.optimizer import build_optimizer
from difflogic_tonic.train.precision import Precision
from difflogic_tonic.train.saving import Saver
from difflogic_tonic.train.state import Identity, TrainingState
from difflogic_tonic.train.step import train_step

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


def test_it_goes_on_behind_the_epoch_with_weights_and_moments(started: Any, tmp_path: Path) -> None:
    state, config = started
    torch.save(foreign(state), tmp_path / "checkpoint_latest.pth")
    said = go_on_from(tmp_path / "checkpoint_latest.pth", state, config, STEPS)
    assert (state.progress.epoch, state.progress.step) == (2, 2 * STEPS)
    assert all(bool((value == 1).all()) for value in state.model.state_dict().values())
    for place, weight in enumerate(state.model.parameters()):
        assert bool((state.optimizer.state[weight]["momentum_buffer"] == place).all())
    assert "after epoch 2 of 4; its best test epoch had 75.00%" in said
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


def spikingjellys_csnn(channels: int) -> torch.nn.Module:
    pytest.importorskip("spikingjelly")
    from spikingjelly.activation_based import functional, layer, neuron, surrogate

    def spikes() -> torch.nn.Module:
        return neuron.IFNode(surrogate_function=surrogate.ATan())

    network = torch.nn.Module()
    network.conv_fc = torch.nn.Sequential(
        *(layer.Conv2d(1, channels, 3, padding=1, bias=False), layer.BatchNorm2d(channels), spikes()),
        *(layer.MaxPool2d(2, 2), layer.Conv2d(channels, channels, 3, padding=1, bias=False)),
        *(layer.BatchNorm2d(channels), spikes(), layer.MaxPool2d(2, 2), layer.Flatten()),
        *(layer.Linear(channels * 49, channels * 16, bias=False), spikes()),
        *(layer.Linear(channels * 16, 10, bias=False), spikes()),
    )
    functional.set_step_mode(network, "m")
    return network


def test_the_next_step_is_the_one_that_spikingjelly_takes(tmp_path: Path) -> None:
    torch.manual_seed(5)
    theirs = spikingjellys_csnn(channels=3)
    from spikingjelly.activation_based import functional

    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 64)
    batches = [(torch.randint(256, (6, 28, 28), dtype=torch.uint8), torch.randint(10, (6,))) for _ in range(3)]

    def their_step(images: torch.Tensor, labels: torch.Tensor) -> None:
        optimizer.zero_grad()
        rates = theirs.conv_fc((images / 255).view(1, 6, 1, 28, 28).expand(4, -1, -1, -1, -1)).mean(0)
        F.mse_loss(rates, F.one_hot(labels, 10).float()).backward()
        optimizer.step()
        functional.reset_net(theirs)

    for images, labels in batches[:2]:
        their_step(images, labels)
    saved = {
        "net": theirs.state_dict(),
        "optimizer": optimizer.state_dict(),
        "lr_scheduler": scheduler.state_dict(),
        "epoch": 0,
        "max_test_acc": 0.1,
    }
    torch.save(saved, tmp_path / "checkpoint_latest.pth")

    snn = {"architecture": "csnn", "channels": 3, "neuron": "if", "detach_reset": False, "readout": "rate", "steps": 4}
    config = TrainConfig.model_validate(
        {
            "data": {"name": "FASHIONMNIST"},
            "train": {"optimizer": "sgd", "learning_rate": 0.1, "loss": "mse", "amp": "off", "epochs": 2},
            "model": {"model_type": "SNN", "snn": snn},
        }
    )
    model = models.build(config.network, (1, 28, 28), 10, seed=1)
    identity = Identity(config.to_dict(), "f" * 64, list("abcdefghij"), (1, 28, 28), 1)
    precision = Precision("off", torch.device("cpu"))
    state = TrainingState(model, build_optimizer(config.training, model), precision, identity)
    go_on_from(tmp_path / "checkpoint_latest.pth", state, config, STEPS)
    images, labels = batches[2]
    their_step(images, labels)
    one = torch.ones(6, dtype=torch.int64)
    batch = Batch(images.view(6, 1, 784), labels, one, torch.arange(6), False, (1, 28, 28), "sequence")
    train_step(model, state.optimizer, [batch], precision, training_loss(config), config.training, 1)
    for (name, ours), weights in zip(model.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(ours, weights, atol=1e-5, rtol=1e-4, msg=name)
