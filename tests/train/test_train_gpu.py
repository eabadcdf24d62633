"""What only a GPU can show: loss scaling, and a run that moves between devices."""

from typing import Any

import pytest
import torch

from difflogic_tonic.nets.spiking.inputs import poisson_spikes
from difflogic_tonic.train.inputs import choose_device
from difflogic_tonic.train.losses import Loss
from difflogic_tonic.train.optimizer import build_optimizer
from difflogic_tonic.train.precision import Precision
from difflogic_tonic.train.probe import refuse_fp16
from difflogic_tonic.train.state import TrainingState
from difflogic_tonic.train.step import train_step

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


@pytest.mark.parametrize("amp", ["off", "bf16", "fp16"])
@pytest.mark.parametrize("model_type", ["DiffLogic", "CNN", "MLP", "SNN"])
def test_the_loss_falls_on_a_gpu_in_every_precision(model_type: str, amp: str, workshop: Any) -> None:
    torch.set_deterministic_debug_mode("default")
    config = workshop.config(model_type, amp=amp)
    device = choose_device("auto")
    state = workshop.state(workshop.config(model_type))
    model = state.model.to(device)
    optimizer, precision = build_optimizer(config.train, model), Precision(config.train.amp, device)
    batch = next(workshop.plan(config, state).train.iterate(0)).to(device)
    losses = [
        train_step(model, optimizer, [batch], precision, Loss(), config.train, step).loss_sum for step in range(1, 41)
    ]
    assert losses[-1] < losses[0]
    assert (precision.scaler is not None) == (amp == "fp16")


def test_fp16_of_a_gpu_is_probed(workshop: Any) -> None:
    torch.set_deterministic_debug_mode("default")
    config, device = workshop.config("SNN"), torch.device("cuda")
    state = workshop.state(config)
    batch = next(workshop.plan(config, state).train.iterate(0)).to(device)
    assert refuse_fp16(state.model.to(device), batch, Precision("fp16", device), Loss()) is None


def test_random_spikes_are_those_of_a_cpu() -> None:
    brightness = torch.rand(3, 1, 4, 5, generator=torch.Generator().manual_seed(4))
    keys = torch.tensor([5, -6, 7])
    assert torch.equal(poisson_spikes(brightness, 9, keys), poisson_spikes(brightness.cuda(), 9, keys.cuda()).cpu())


def test_a_snapshot_of_a_gpu_goes_on_on_a_cpu(workshop: Any) -> None:
    torch.set_deterministic_debug_mode("default")
    config = workshop.config("MLP")
    cpu = workshop.state(config)
    model = workshop.state(config).model.to("cuda")
    optimizer = build_optimizer(config.train, model)
    there = TrainingState(model, optimizer, Precision("off", torch.device("cuda")), cpu.identity)
    batch = next(workshop.plan(config, cpu).train.iterate(0))
    train_step(model, optimizer, [batch.to("cuda")], there.precision, Loss(), config.train, 1)
    cpu.restore(there.snapshot())
    for name, weight in cpu.model.state_dict().items():
        assert torch.equal(weight, model.state_dict()[name].cpu())
    train_step(cpu.model, cpu.optimizer, [batch], cpu.precision, Loss(), config.train, 2)
