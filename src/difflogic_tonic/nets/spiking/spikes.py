"""What a spiking network does, counted: spikes, synaptic operations, membranes.

    rate              spikes / (neurons · steps · samples), of a layer or of the whole network
    spikes per sample spikes of all layers / samples
    SynOps            for every spike that a layer with weights receives, the weights it meets: what is added up by
                      hardware that computes on spikes only. Layers that receive anything but 0 and 1 (the first one
                      on images, what follows an average pooling) multiply instead: they count as MACs
    near threshold    share of membranes, after the charge and before the reset, within 0.1 thresholds of it; of some
                      samples of each batch, as is their histogram

Everything is in whole numbers, so that counts of spikes and operations do not depend on the order or the size of
batches. It costs a multiple of the forward pass and happens only inside `counting`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from difflogic_tonic.nets.spiking.hoist import unhoisted
from difflogic_tonic.nets.spiking.neurons import Neuron
from difflogic_tonic.nets.spiking.recompute import recomputing
from difflogic_tonic.nets.spiking.steps import PackedSteps

NEAR = 0.1
"""Of the threshold: how far a membrane may be from it to be near."""

HISTOGRAM = (-2.0, 2.0, 40)
"""First and last edge in thresholds, and bins of the membrane histogram; what lies outside is in the outer bins."""

MEMBRANE_SAMPLES = 16
"""Of a batch, evenly spread, at most: membranes are computed again for statistics, which costs more than a layer."""

BUSY = 0.3
"""Spikes per neuron and step above which a layer is no longer sparse."""

SPARSE = 0.1
"""Up to which it is, as hardware that computes on spikes only wants it: 0.05 to 0.10 is usual."""


@dataclass
class SpikeCounts:
    """Sums over `n_samples` samples; names are those of `named_modules`.

    `spikes`, `places` (neurons · steps · samples), `near` and `histogram` by layer of neurons, `synops` and `macs` by
    layer with weights.
    """

    n_samples: int = 0
    spikes: dict[str, int] = field(default_factory=dict)
    places: dict[str, int] = field(default_factory=dict)
    near: dict[str, int] = field(default_factory=dict)
    histogram: dict[str, list[int]] = field(default_factory=dict)
    synops: dict[str, int] = field(default_factory=dict)
    macs: dict[str, int] = field(default_factory=dict)

    def add(self, other: "SpikeCounts") -> None:
        """Add what was counted of other samples."""
        self.n_samples += other.n_samples
        for name in ("spikes", "places", "near", "synops", "macs"):
            for layer, n in getattr(other, name).items():
                _add(getattr(self, name), layer, n)
        for layer, bins in other.histogram.items():
            before = self.histogram.get(layer, [0] * len(bins))
            self.histogram[layer] = [old + new for old, new in zip(before, bins, strict=True)]

    def rates(self) -> dict[str, float]:
        """Spikes per neuron and step of each layer."""
        return {name: spikes / self.places[name] for name, spikes in self.spikes.items()}

    @property
    def global_rate(self) -> float:
        """That of all neurons together; not the mean of the layers' rates."""
        return sum(self.spikes.values()) / sum(self.places.values())

    def metrics(self) -> dict[str, Any]:
        """All of it as plain data, ready for a file; empty where nothing was counted."""
        if not (self.n_samples and self.places):
            return {}
        found: dict[str, Any] = {
            "spikes_samples": self.n_samples,
            "spikes_global_rate": self.global_rate,
            "spikes_per_sample": sum(self.spikes.values()) / self.n_samples,
        }
        if self.synops or self.macs:
            found["synops_per_sample"] = sum(self.synops.values()) / self.n_samples
            found["macs_per_sample"] = sum(self.macs.values()) / self.n_samples
        found |= {f"spikes_rate_{name}": rate for name, rate in self.rates().items()}
        found |= {f"spikes_near_threshold_{name}": near / sum(self.histogram[name]) for name, near in self.near.items()}
        found["spikes_histogram"] = {name: list(bins) for name, bins in self.histogram.items()}
        return found


@contextmanager
def counting(model: nn.Module, counts: SpikeCounts, together: int | None = None) -> Iterator[None]:
    """Inside, every call of `model` adds to `counts`; the caller adds to `counts.n_samples`.

    Layers are counted at every step, also where a still image would let them be computed once. `together`: samples that
    come in several calls, of which only some have their membranes looked at.
    """
    hooks = _listen_to_weights(model, counts)
    try:
        with unhoisted(), counting_spikes(model, counts, together):
            yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def counting_spikes(model: nn.Module, counts: SpikeCounts, together: int | None = None) -> Iterator[None]:
    """`counting` without SynOps and MACs. It changes nothing of what the network computes, so training may be inside.

    What is computed again in a backward pass counts once.
    """
    hooks = []
    for name, module in model.named_modules():
        if isinstance(module, Neuron):
            # Before the call: after it, neurons that remember would begin where they have just ended.
            hooks.append(module.register_forward_pre_hook(partial(_count_membranes, counts, name, together)))
            hooks.append(module.register_forward_hook(partial(_count_spikes, counts, name)))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _listen_to_weights(model: nn.Module, counts: SpikeCounts) -> list[RemovableHandle]:
    return [
        module.register_forward_hook(partial(_count_operations, counts, name))
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    ]


@torch.no_grad()
def _count_spikes(counts: SpikeCounts, name: str, neuron: Neuron, inputs: tuple[Any, ...], spikes: Tensor) -> None:
    if recomputing():
        return
    _add(counts.spikes, name, int(spikes.sum(dtype=torch.float64)))
    _add(counts.places, name, spikes.numel())


@torch.no_grad()
def _count_membranes(
    counts: SpikeCounts, name: str, together: int | None, neuron: Neuron, inputs: tuple[Tensor, PackedSteps]
) -> None:
    if recomputing():
        return
    x, steps = inputs
    low, high, bins = HISTOGRAM
    near = torch.zeros((), dtype=torch.int64, device=x.device)
    found = torch.zeros(bins, dtype=torch.int64, device=x.device)
    every = -(-(together or steps.counts[0]) // MEMBRANE_SAMPLES)
    for membranes in neuron.membranes_by_step(x, steps, every):
        relative = membranes / neuron.rule.threshold
        near += ((relative - 1).abs() < NEAR).sum()
        found += torch.histc(relative.clamp(low, high), bins, low, high).to(torch.int64)
    _add(counts.near, name, int(near))
    before = counts.histogram.get(name, [0] * bins)
    counts.histogram[name] = [old + new for old, new in zip(before, found.tolist(), strict=True)]


@torch.no_grad()
def _count_operations(
    counts: SpikeCounts, name: str, layer: nn.Conv2d | nn.Linear, inputs: tuple[Tensor], outputs: Tensor
) -> None:
    (x,) = inputs
    if not bool(((x == 0) | (x == 1)).all()):
        _add(counts.macs, name, outputs.numel() * layer.weight[0].numel())
        return
    if isinstance(layer, nn.Linear):
        _add(counts.synops, name, int(x.sum(dtype=torch.float64)) * layer.out_features)
        return
    at = x.sum((0, 1), dtype=torch.float64)
    reached = int((at * _windows_over(layer, at.shape, outputs.shape[2:])).sum())
    _add(counts.synops, name, reached * (layer.out_channels // layer.groups))


def _windows_over(layer: nn.Conv2d, image: torch.Size, places: torch.Size) -> Tensor:
    """How many places of the output read each pixel, f64[H, W]: fewer at the border, and with a stride."""
    assert not isinstance(layer.padding, str), "padding is given in pixels here"
    ones = layer.weight.new_ones(1, 1, *places, dtype=torch.float64)
    kernel = layer.weight.new_ones(1, 1, *layer.kernel_size, dtype=torch.float64)
    left_over = [
        side - ((n - 1) * stride - 2 * padding + dilation * (size - 1) + 1)
        for side, n, stride, padding, dilation, size in zip(
            image, places, layer.stride, layer.padding, layer.dilation, layer.kernel_size, strict=True
        )
    ]
    read = F.conv_transpose2d(
        ones,
        kernel,
        stride=layer.stride,
        padding=layer.padding,
        dilation=layer.dilation,
        output_padding=left_over,
    )
    return read[0, 0]


def _add(counts: dict[str, int], name: str, n: int) -> None:
    counts[name] = counts.get(name, 0) + n


@contextmanager
def first_spikes(model: nn.Module) -> Iterator[list[tuple[Tensor, PackedSteps]]]:
    """Inside, each call of `model` appends what its encoder, the first layer of neurons, says: packed, with its steps.

    Raises `ValueError` for a network without neurons.
    """
    encoder = next((module for module in model.modules() if isinstance(module, Neuron)), None)
    if encoder is None:
        raise ValueError("the network has no spiking neurons")
    found: list[tuple[Tensor, PackedSteps]] = []
    hook = encoder.register_forward_hook(lambda module, inputs, spikes: found.append((spikes, inputs[1])))
    try:
        yield found
    finally:
        hook.remove()
