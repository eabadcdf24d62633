"""The networks of `snn_cases` in SpikingJelly and snnTorch."""

import sys
import types
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from snn_cases import Case, as_frames, our_network

Network = tuple[nn.Module, Callable[[Tensor], Tensor]]


class Unavailable(Exception):
    """A variant that cannot be had here; the message is the note to print."""


def build_spikingjelly(case: Case, device: torch.device, mode: str = "m") -> Network:
    """SpikingJelly's network with our weights; `mode`: all steps at once, or one after the other."""
    layer, neuron, surrogate, functional = spikingjelly()
    network = _spikingjelly_network(case, layer, neuron, surrogate).to(device).train()
    copy_weights(our_network(case), network)
    functional.set_step_mode(network, mode)

    def forward(x: Tensor) -> Tensor:
        frames = as_frames(case, x)
        functional.reset_net(network)
        if mode == "m":
            return network(frames).mean(0)
        return torch.stack([network(frame) for frame in frames]).mean(0)

    return network, forward


def spikingjelly() -> tuple[Any, Any, Any, Any]:
    try:
        from spikingjelly.activation_based import functional, layer, neuron, surrogate
    except ImportError as error:
        raise Unavailable(f"spikingjelly does not import: {error}") from error
    return layer, neuron, surrogate, functional


def _spikingjelly_network(case: Case, layer: Any, neuron: Any, surrogate: Any) -> nn.Module:
    def spike() -> nn.Module:
        options = {"surrogate_function": surrogate.ATan(), "detach_reset": True}
        return neuron.IFNode(**options) if case.tau is None else neuron.LIFNode(tau=case.tau, **options)

    if case.snn["architecture"] == "spiking_resnet18":
        return _spikingjelly_resnet(case, neuron, surrogate, layer)
    channels, height, _ = case.frame_shape
    if case.snn["architecture"] == "csnn":
        c = case.snn["channels"]
        return nn.Sequential(
            *(
                layer.Conv2d(channels, c, 3, padding=1, bias=False),
                layer.BatchNorm2d(c),
                spike(),
                layer.MaxPool2d(2, 2),
            ),
            *(layer.Conv2d(c, c, 3, padding=1, bias=False), layer.BatchNorm2d(c), spike(), layer.MaxPool2d(2, 2)),
            *(layer.Flatten(), layer.Linear(c * 49, c * 16, bias=False), spike()),
            *(layer.Linear(c * 16, case.classes, bias=False), spike()),
        )
    side = ((height - 4) // 2 - 4) // 2
    return nn.Sequential(
        *(layer.Conv2d(channels, 12, 5), layer.MaxPool2d(2, 2), spike()),
        *(layer.Conv2d(12, 64, 5), layer.MaxPool2d(2, 2), spike()),
        *(layer.Flatten(), layer.Linear(64 * side * side, case.classes), spike()),
    )


def _spikingjelly_resnet(case: Case, neuron: Any, surrogate: Any, layer: Any) -> nn.Module:
    for name in ("torchvision", "torchvision.models", "torchvision.models.utils"):
        if name not in sys.modules:
            sys.modules[name] = types.ModuleType(name)
    sys.modules["torchvision.models.utils"].load_state_dict_from_url = None  # type: ignore[attr-defined]
    from spikingjelly.activation_based.model import spiking_resnet

    network = spiking_resnet.spiking_resnet18(
        spiking_neuron=neuron.IFNode,
        surrogate_function=surrogate.ATan(),
        detach_reset=True,
        num_classes=case.classes,
    )
    network.conv1 = layer.Conv2d(case.frame_shape[0], 64, 3, padding=1, bias=False)
    network.maxpool = nn.Identity()
    return network


def build_snntorch(case: Case, device: torch.device) -> Network:
    """snnTorch's loop over the steps. Its Leaky resets one step later: the same network, not the same numbers."""
    try:
        import snntorch
        from snntorch import surrogate, utils
    except ImportError as error:
        raise Unavailable(f"snntorch does not import: {error}") from error
    if case.snn["architecture"] == "spiking_resnet18":
        raise Unavailable("snntorch has no ResNet")
    beta = 1.0 if case.tau is None else 1 - 1 / case.tau

    def spike() -> nn.Module:
        return snntorch.Leaky(beta=beta, spike_grad=surrogate.atan(), init_hidden=True, reset_mechanism="zero")

    layers: list[nn.Module] = []
    for module in our_network(case).modules():
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d | nn.MaxPool2d | nn.Flatten | nn.Linear):
            layers.append(module)
        elif type(module).__name__ == "Neuron":
            layers.append(spike())
    network = nn.Sequential(*layers).to(device).train()

    def forward(x: Tensor) -> Tensor:
        utils.reset(network)
        return torch.stack([network(frame) for frame in as_frames(case, x)]).mean(0)

    return network, forward


def copy_weights(source: nn.Module, target: nn.Module) -> None:
    """By order: both have the same layers."""
    ours, theirs = list(source.parameters()), list(target.parameters())
    with torch.no_grad():
        for a, b in zip(ours, theirs, strict=True):
            b.copy_(a)
