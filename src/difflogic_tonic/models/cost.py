"""What a network costs: counts that follow from its shape, before any data is seen."""

import copy

import torch
from torch import Tensor, nn

from difflogic_tonic.nets.logic import LogicNeurons


def describe(model: nn.Module, frame_shape: tuple[int, int, int]) -> dict[str, int]:
    """Counts for a built model; a count that the model does not have is absent, not zero.

    `parameters` (trainable); `macs`, multiply-accumulates of convolutions and dense layers for one frame (in a spiking
    network: for one step, as if every neuron fired); `gates` of a logic network before any simplification.
    """
    counts = {"parameters": sum(p.numel() for p in model.parameters() if p.requires_grad)}
    macs = _macs(model, frame_shape)
    if macs:
        counts["macs"] = macs
    gates = sum(module.circuit_gates for module in model.modules() if isinstance(module, LogicNeurons))
    if gates:
        counts["gates"] = gates
    return counts


def _macs(model: nn.Module, frame_shape: tuple[int, int, int]) -> int:
    if not any(isinstance(module, nn.Conv2d | nn.Linear) for module in model.modules()):
        return 0
    macs: dict[nn.Module, int] = {}

    def count(module: nn.Conv2d | nn.Linear, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        # not added up: a layer in a feedback loop is called once for each step
        macs[module] = output[0].numel() * module.weight[0].numel()

    # A copy, so that neither hooks nor batch statistics nor the training flag of the model itself are touched.
    probe = copy.deepcopy(model).cpu().eval()
    for module in probe.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(count)
    steps = (1,) if getattr(model, "view", "frames") == "sequence" else ()
    with torch.no_grad():
        probe(torch.zeros(*steps, 1, *frame_shape))
    return sum(macs.values())
