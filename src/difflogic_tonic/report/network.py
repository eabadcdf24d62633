"""The network of a run asked again, for what only it can show: spikes, membranes, growing scores, wires."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from difflogic_tonic.data import Batch, expand
from difflogic_tonic.models import logits
from difflogic_tonic.models.encoding import BinaryFrames
from difflogic_tonic.nets.logic import ConvLogicNetwork, LogicLayer, LogicNetwork
from difflogic_tonic.nets.spiking.heads import keeping_steps
from difflogic_tonic.nets.spiking.hoist import unhoisted
from difflogic_tonic.nets.spiking.model import SpikingModel
from difflogic_tonic.nets.spiking.neurons import Neuron
from difflogic_tonic.nets.spiking.steps import PackedSteps
from difflogic_tonic.report.spikes import LayerTrace, SampleTrace
from difflogic_tonic.train.fit import BatchSource

SAMPLES = 5
"""Recordings, of different classes, whose scores are animated."""

LOOKED_AT = 50
"""Batches among which they are looked for: data sorted by class would otherwise be read to its end."""

Wires = tuple[np.ndarray, np.ndarray, np.ndarray, list[np.ndarray]]


def different_samples(batches: BatchSource, most: int = SAMPLES) -> list[Batch]:
    """The first samples of `most` different classes, each as a batch of its own; fewer where there are fewer."""
    found: dict[int, Batch] = {}
    with closing(batches.iterate(0)) as first:
        for _, batch in zip(range(LOOKED_AT), first, strict=False):
            for place, label in enumerate(batch.labels.tolist()):
                if label not in found and len(found) < most:
                    found[label] = only(batch, place)
            if len(found) == most:
                break
    return list(found.values())


def only(batch: Batch, place: int) -> Batch:
    """One sample of a batch as a batch, without the padding behind its own frames."""
    rows = slice(place, place + 1)
    inputs, length = batch.inputs[rows], int(batch.lengths[place])
    return replace(
        batch,
        inputs=inputs[:, :length] if batch.view == "sequence" else inputs,
        labels=batch.labels[rows],
        lengths=batch.lengths[rows],
        rows=batch.rows[rows],
        keys=None if batch.keys is None else batch.keys[rows],
    )


def input_pixels(sample: Batch) -> np.ndarray:
    """A sample, a batch of one, with all steps and polarities together: u8[H, W], or u8[H, W, 3] in colour."""
    frames = expand(sample).flatten(0, 1) if sample.view == "sequence" else expand(sample)
    summed = frames.sum(0)
    pixels = summed.permute(1, 2, 0) if len(summed) == 3 else summed.sum(0)
    scaled: np.ndarray = (255 * pixels / pixels.max().clamp(min=1)).round().byte().numpy()
    return scaled


@torch.no_grad()
def trace_sample(model: SpikingModel, sample: Batch, with_layers: bool) -> SampleTrace:
    """One sample, a batch of one, through a spiking network on the CPU; `with_layers`: all of them, else the first."""
    model.eval()
    neurons = [(name, module) for name, module in model.named_modules() if isinstance(module, Neuron)]
    with _recording(neurons if with_layers else neurons[:1]) as calls, keeping_steps(model) as said:
        logits(model, sample)
    scores = np.concatenate([one.values.float().numpy() for one in said])
    if model.head.readout == "rate":
        scores = scores / model.head.gain
        growing, unit = scores.cumsum(axis=0), "output spikes so far"
    else:
        growing = scores.cumsum(axis=0) / np.arange(1, len(scores) + 1)[:, None]
        unit = f"class score so far (mean {model.head.readout})"
    layers = [_layer(name, parts) for name, parts in calls.items()]
    return SampleTrace(int(sample.labels[0]), layers, scores, growing, unit)


Calls = dict[str, list[tuple[Tensor, Tensor]]]
"""Spikes and membranes [T, …] of each call of each layer: one for all steps, or one a step in a feedback loop."""


@contextmanager
def _recording(neurons: list[tuple[str, Neuron]]) -> Iterator[Calls]:
    calls: Calls = {}
    membranes: dict[str, Tensor] = {}

    def before(name: str, neuron: Neuron, inputs: tuple[Tensor, PackedSteps]) -> None:
        membranes[name] = neuron.membranes(*inputs) / neuron.rule.threshold

    def after(name: str, spikes: Tensor) -> None:
        calls.setdefault(name, []).append((spikes, membranes[name]))

    hooks: list[Any] = []
    for name, module in neurons:
        hooks.append(module.register_forward_pre_hook(lambda m, x, name=name: before(name, m, x)))
        hooks.append(module.register_forward_hook(lambda m, x, s, name=name: after(name, s)))
    try:
        with unhoisted():
            yield calls
    finally:
        for hook in hooks:
            hook.remove()


def _layer(name: str, calls: list[tuple[Tensor, Tensor]]) -> LayerTrace:
    spikes = torch.cat([spikes.flatten(1) for spikes, _ in calls]).numpy() > 0
    shape = tuple(calls[0][0].shape[1:])
    return LayerTrace(name, shape, spikes, torch.cat([membranes.flatten(1) for _, membranes in calls]).numpy())


def wires_of(model: nn.Module, frame_shape: tuple[int, int, int]) -> Wires | None:
    """What `gates.save_wiring` draws, of a logic network for frames [P, H, W]; None of a convolutional one or another.

    Inputs that are no pixel, such as a state, are left out of the first layer.
    """
    if not isinstance(model, BinaryFrames) or isinstance(model.network, ConvLogicNetwork):
        return None
    network = next(module for module in model.modules() if isinstance(module, LogicNetwork))
    layers = [layer for layer in network.layers if isinstance(layer, LogicLayer)]
    _, height, width = frame_shape
    levels = 1 if model.encoder is None else model.encoder.levels
    n_pixel_inputs = frame_shape[0] * levels * height * width
    first = layers[0].wiring.cpu().long().numpy()
    read = first[first < n_pixel_inputs] % (height * width)
    both = first[:, (first < n_pixel_inputs).all(axis=0)] % (height * width)
    shuffled = np.stack([both[0], np.random.default_rng(0).permutation(both[1])])
    reads = np.bincount(read, minlength=height * width).reshape(height, width)
    deeper = []
    for layer in layers[1:]:
        a, b = layer.wiring.cpu().long().numpy()
        deeper.append(np.abs(a - b) / max(1, layer.in_features - 1))
    return reads, _pixel_distances(both, width), _pixel_distances(shuffled, width), deeper


def _pixel_distances(pairs: np.ndarray, width: int) -> np.ndarray:
    """Distance in pixels between pairs[0] and pairs[1], pixel numbers i64[2, n] row by row."""
    rows, columns = np.divmod(pairs, width)
    distances: np.ndarray = np.hypot(rows[0] - rows[1], columns[0] - columns[1])
    return distances
