"""The layers of the difflogic package (arXiv 2210.08277) on our weights and wiring: `backend: difflogic`.

A counterpart of cpu.py and gpu.py for those who want to train with the original, on CUDA by its kernels and on a CPU by
its implementation in Python. It knows the raw parametrization and the soft estimator. The package is no dependency:
its LogicLayer and GroupSum are looked for when they are asked for.
"""

import importlib
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from difflogic_tonic.data.batch import unpack_bits
from difflogic_tonic.nets.logic.gates import bilinear

COMPUTES = ("raw", "soft")
"""The parametrization and the estimator of difflogic's layers."""


def find_kernel(device: torch.device) -> ModuleType | str:
    """The package, or why it cannot be used."""
    try:
        return importlib.import_module("difflogic")
    except ImportError as error:
        return (
            f"the package difflogic cannot be imported ({error}); "
            f"`pip install difflogic` builds it where there is a CUDA toolkit"
        )


class Stack:
    """difflogic's layers with our wiring (per layer int32[2, n]); weights are handed to them call by call."""

    def __init__(
        self,
        kernel: ModuleType,
        in_features: int,
        wirings: list[Tensor],
        classes: int,
        tau: float,
        *,
        packed: bool = False,
    ) -> None:
        self.in_features = in_features
        self.packed = packed
        self.wirings = wirings
        inputs = [in_features, *(wiring.shape[1] for wiring in wirings[:-1])]
        self.layers = [_layer(kernel, before, wiring) for before, wiring in zip(inputs, wirings, strict=True)]
        self.head = kernel.GroupSum(classes, tau, device=wirings[0].device.type)

    def values(self, x: Tensor) -> Tensor:
        """The input as float32[batch, in_features]."""
        if self.packed:
            return unpack_bits(x, self.in_features, torch.float32)
        return x.to(torch.float32) if x.is_floating_point() else (x > 0).to(torch.float32)


def run_with_logits(stack: Stack, x: Tensor, weights: list[Tensor], temperature: float) -> Tensor:
    """Logits float32[batch, classes] from the sixteen gate logits float32[n, 16] of each layer."""
    with torch.autocast(x.device.type, enabled=False):
        values = stack.values(x)
        for layer, weight in zip(stack.layers, weights, strict=True):
            layer.weights = weight / temperature
            values = layer(values)
            layer.weights = None  # or it would keep the graph of this step alive
        logits: Tensor = stack.head(values)
    return logits


def run_with_coefficients(stack: Stack, x: Tensor, coefficients: Tensor) -> Tensor:
    """The same from coefficients [all neurons, 4], in plain torch: hard evaluation, which needs no kernel to train."""
    with torch.autocast(x.device.type, enabled=False):
        values = stack.values(x).t()
        parts = coefficients.split([wiring.shape[1] for wiring in stack.wirings])
        for (a, b), part in zip(stack.wirings, parts, strict=True):
            values = bilinear(part, values.index_select(0, a), values.index_select(0, b))
        logits: Tensor = stack.head(values.t())
    return logits


def _layer(kernel: ModuleType, in_features: int, wiring: Tensor) -> Any:
    """A LogicLayer whose wiring is ours, and whose own weights are gone."""
    device, neurons = wiring.device, wiring.shape[1]
    with torch.random.fork_rng([device] if device.type == "cuda" else []), torch.cuda.device_of(wiring):
        layer = kernel.LogicLayer(in_features, neurons, device=device.type)
    del layer.weights
    if layer.implementation == "python":
        layer.indices = (wiring[0], wiring[1])  # as int32: it prints a line for every call with int64
        return layer
    layer.indices = (wiring[0].long(), wiring[1].long())
    readers = wiring.t().flatten().long()  # input of every wire: a and b of neuron 0, of neuron 1, ...
    layer.given_x_indices_of_y = torch.argsort(readers, stable=True) // 2
    counts = torch.bincount(readers, minlength=in_features)
    layer.given_x_indices_of_y_start = torch.cat((counts.new_zeros(1), counts.cumsum(0)))
    return layer
