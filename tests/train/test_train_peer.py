"""A training of the Fashion-MNIST recipe against the loop of SpikingJelly's example: the same losses and weights."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from difflogic_tonic import models
from difflogic_tonic.config import TrainConfig
from difflogic_tonic.data import Batch
from difflogic_tonic.train.losses import training_loss
from difflogic_tonic.train.optimizer import build_optimizer, learning_rate_at, set_learning_rate
from difflogic_tonic.train.precision import Precision
from difflogic_tonic.train.step import train_step

neuron = pytest.importorskip("spikingjelly.activation_based.neuron")
from spikingjelly.activation_based import functional, layer, surrogate  # noqa: E402

CHANNELS, STEPS, SAMPLES, BATCHES = 2, 4, 6, 5


def recipe() -> TrainConfig:
    return TrainConfig.model_validate(
        {
            "data": {"name": "FASHIONMNIST"},
            "train": {
                "epochs": BATCHES,
                "optimizer": "sgd",
                "learning_rate": 0.1,
                "schedule": "cosine",
                "loss": "mse",
                "amp": "off",
            },
            "model": {
                "model_type": "SNN",
                "snn": {
                    "architecture": "csnn",
                    "channels": CHANNELS,
                    "steps": STEPS,
                    "neuron": "if",
                    "detach_reset": False,
                    "readout": "rate",
                },
            },
        }
    )


def their_network(state: dict[str, Tensor]) -> nn.Module:
    def fire() -> nn.Module:
        node: nn.Module = neuron.IFNode(surrogate_function=surrogate.ATan())
        return node

    layers = nn.Sequential(
        *(layer.Conv2d(1, CHANNELS, 3, padding=1, bias=False), layer.BatchNorm2d(CHANNELS), fire()),
        *(layer.MaxPool2d(2, 2), layer.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=False)),
        *(layer.BatchNorm2d(CHANNELS), fire(), layer.MaxPool2d(2, 2), layer.Flatten()),
        *(layer.Linear(CHANNELS * 49, CHANNELS * 16, bias=False), fire()),
        *(layer.Linear(CHANNELS * 16, 10, bias=False), fire()),
    )
    network = nn.ModuleDict({"conv_fc": layers})
    functional.set_step_mode(network, "m")
    network.load_state_dict(state)
    return network


def test_an_epoch_of_the_fashion_mnist_recipe_is_that_of_the_example() -> None:
    config = recipe()
    model = models.build(config.network, (1, 28, 28), 10, 5)
    with torch.no_grad():
        for norm in (module for module in model.modules() if isinstance(module, nn.BatchNorm2d)):
            norm.bias.fill_(0.7)  # so that every layer fires from the first step on
        for dense in (module for module in model.modules() if isinstance(module, nn.Linear)):
            dense.weight.mul_(4)
    theirs = their_network(model.network.state_dict())
    optimizer = build_optimizer(config.training, model)
    their_optimizer = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(their_optimizer, BATCHES)
    generator, before = torch.Generator().manual_seed(8), 1.0
    model.train()
    for step in range(BATCHES):
        images = torch.randint(0, 256, (SAMPLES, 784), generator=generator).to(torch.uint8)
        labels = torch.randint(0, 10, (SAMPLES,), generator=generator)
        ones = torch.ones_like(labels)
        batch = Batch(images.unsqueeze(1), labels, ones, torch.arange(SAMPLES), False, (1, 28, 28), "sequence")
        set_learning_rate(optimizer, learning_rate_at(config.training, step, 1))
        ours = train_step(
            model,
            optimizer,
            [batch],
            Precision("off", torch.device("cpu")),
            training_loss(config),
            config.training,
            step,
        )
        shown = (images.view(SAMPLES, 1, 28, 28) / 255).unsqueeze(0).repeat(STEPS, 1, 1, 1, 1)
        rates = theirs["conv_fc"](shown).mean(0)
        loss = F.mse_loss(rates, F.one_hot(labels, 10).float())
        their_optimizer.zero_grad()
        loss.backward()
        their_optimizer.step()
        schedule.step()
        functional.reset_net(theirs)
        assert ours.loss_sum / SAMPLES == pytest.approx(loss.item(), rel=1e-5)
        assert loss.item() != before
        before = loss.item()
    for name, value in theirs.state_dict().items():
        assert torch.allclose(model.network.state_dict()[name], value, rtol=1e-4, atol=1e-6), name
