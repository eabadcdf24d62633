"""The networks that `snn_train` times, and what they are fed."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from difflogic_tonic import models
from difflogic_tonic.config.networks import Model
from difflogic_tonic.config.sections import build_section


@dataclass(frozen=True)
class Case:
    """One network on one kind of input. `tau` None: neurons that do not leak."""

    frame_shape: tuple[int, int, int]
    steps: int
    batch: int
    snn: dict[str, Any]
    classes: int = 10
    tau: float | None = None
    images: bool = True
    spiking: bool = True
    """Whether the last layer spikes."""


CSNN: dict[str, Any] = {"architecture": "12C5-MP2-64C5-MP2-FC10", "neuron": "lif", "tau": 2.0, "readout": "rate"}
CASES = {
    "fmnist32": Case(
        (1, 28, 28), 4, 64, {"architecture": "csnn", "channels": 32, "neuron": "if", "readout": "rate", "steps": 4}
    ),
    "fmnist128": Case(
        (1, 28, 28), 4, 64, {"architecture": "csnn", "channels": 128, "neuron": "if", "readout": "rate", "steps": 4}
    ),
    "mnist": Case((1, 28, 28), 25, 64, CSNN | {"steps": 25}, tau=2.0),
    "nmnist": Case((2, 34, 34), 25, 64, CSNN, tau=2.0, images=False),
    "resnet18": Case(
        (3, 32, 32),
        4,
        8,
        {"architecture": "spiking_resnet18", "stem": "small", "neuron": "if", "readout": "current", "steps": 4},
        spiking=False,
    ),
}


def our_network(case: Case) -> nn.Module:
    model = build_section(Model, {"model_type": "SNN", "snn": case.snn}, "the benchmark")
    return models.build(model, case.frame_shape, case.classes, seed=1)


def batch_of(case: Case, device: torch.device) -> tuple[Tensor, Tensor]:
    """Bytes as numbers [1, B, P, H, W] for an image, else counts of 0 and 1 [T, B, P, H, W]; labels i64[B]."""
    generator = torch.Generator().manual_seed(3)
    shape = (1 if case.images else case.steps, case.batch, *case.frame_shape)
    if case.images:
        x = torch.randint(256, shape, generator=generator).float()
    else:
        x = (torch.rand(shape, generator=generator) < 0.05).float()
    return x.to(device), torch.randint(case.classes, (case.batch,), generator=generator).to(device)


def as_frames(case: Case, x: Tensor) -> Tensor:
    """What our networks see of a batch, [T, B, P, H, W]."""
    return (x / 255).expand(case.steps, *x.shape[1:]) if case.images else torch.log1p(x)
