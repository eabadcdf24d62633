"""A run of any spiking network that was stopped and resumed ends as one that was not."""

from typing import Any

import pytest
import torch

from difflogic_tonic.config.train import TrainConfig

FAMILIES: dict[str, dict[str, Any]] = {
    "csnn": {"architecture": "csnn", "channels": 2, "neuron": "if", "readout": "rate"},
    "plif": {"architecture": "plif_nmnist", "channels": 2, "neuron": "plif", "readout": "rate"},
    "resnet": {"architecture": "spiking_resnet18", "channels": 2, "readout": "current"},
    "sew": {"architecture": "sew_resnet18", "channels": 2, "connect": "IAND", "neuron": "plif", "readout": "current"},
    "feedback": {"architecture": "feedback_net"},
    "synapse": {"architecture": "synapse_net", "neuron": "plif"},
    "pooled": {"architecture": "4C3P1-MP2-16C3P1-16C3P1-BN-FC9-FC3"},  # convolutions of kernels of their own
    "recurrent": {"architecture": "4C3P1-BN-MP2-ER-FC9-LR-SF2L-DP0.3-FC12-V4"},
}


def config_of(workshop: Any, family: str, **train: Any) -> TrainConfig:
    config = workshop.config("SNN", **train)
    snn = type(config.model.snn)(backend="reference", threshold=0.3, **FAMILIES[family])
    return config.model_copy(update={"model": config.model.model_copy(update={"snn": snn})})


def tensors(value: Any) -> list[torch.Tensor]:
    """All tensors in a state, however deep."""
    if isinstance(value, torch.Tensor):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return [tensor for part in parts for tensor in tensors(part)]


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_resumed_equals_uninterrupted(family: str, recompute: bool, workshop: Any, another_workshop: Any) -> None:
    config = config_of(workshop, family, recompute=recompute, batch_size=10)
    whole = workshop.train(config)
    assert whole.finished
    assert not another_workshop.train(config, stop_after=whole.looks // 2).finished
    torch.manual_seed(999)  # what a new process would start with
    resumed = another_workshop.train(config, resume=True)
    assert resumed.finished
    expected = tensors(whole.state.snapshot()["model"]) + tensors(whole.state.snapshot()["optimizer"])
    found = tensors(resumed.state.snapshot()["model"]) + tensors(resumed.state.snapshot()["optimizer"])
    assert len(found) == len(expected) > 8
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
