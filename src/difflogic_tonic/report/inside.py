"""Pictures for which the saved network is asked again: spikes and membranes, growing scores, wires."""

from functools import partial

import numpy as np

from difflogic_tonic.nets.spiking.model import SpikingModel
from difflogic_tonic.report import gates, spikes
from difflogic_tonic.report.gallery import Gallery
from difflogic_tonic.report.network import different_samples, input_pixels, trace_sample, wires_of
from difflogic_tonic.train.opened import OpenedRun

MOST_LAYERS = 8
"""Layers of neurons in a picture; of a deeper network, so many evenly spaced."""


def draw_wiring(opened: OpenedRun, gallery: Gallery, title: str) -> None:
    """Where the wires of a logic network go."""
    wires = wires_of(opened.model, opened.frame_shape)
    if wires is None:
        gallery.lacks("wiring", "trees of a convolutional network read neighbouring pixels by design")
        return
    gallery.add(
        "wiring.png",
        "Which pixels the first layer reads, and how far apart the two inputs of a neuron are.",
        lambda path: gates.save_wiring(path, title, *wires),
    )


def draw_spiking(opened: OpenedRun, gallery: Gallery, title: str) -> None:
    """One sample in full, and the class scores and the encoder's spikes of a few."""
    model = opened.model
    assert isinstance(model, SpikingModel), type(model)
    split = "test" if "test" in opened.inputs.evaluated else "train"
    samples = different_samples(opened.inputs.evaluated.get("test", opened.inputs.plain_train))
    classes = opened.saved.classes
    first = trace_sample(model, samples[0], with_layers=True)
    head = f"{title}\n{split} recording {int(samples[0].rows[0])}, class {classes[first.label]}"
    layers = [first.layers[k] for k in _evenly(len(first.layers))]
    gallery.add(
        "raster.png",
        "The spikes of one sample: neurons upwards (of a large layer some, evenly spaced), steps to the right.",
        lambda path: spikes.save_raster(path, head, layers),
    )
    gallery.add(
        "membranes.png",
        "Membranes of the liveliest neurons of each layer for the same sample, before the reset; triangles are spikes, "
        "the dashed line is the threshold.",
        lambda path: spikes.save_membranes(path, head, layers),
    )
    for number, sample in enumerate(samples):
        trace = trace_sample(model, sample, with_layers=False)
        name = f"spike_bar_{number}_target{_in_name(classes[trace.label])}.gif"
        row = f"{split} recording {int(sample.rows[0])}"
        gallery.add(
            name,
            f"Step by step, {trace.unit} of each class, for {row}; the true class is orange.",
            partial(spikes.save_score_animation, title=row, trace=trace, classes=classes),
        )
        encoder = trace.layers[0]
        above = f"{row}, class {classes[trace.label]}: spikes of {encoder.name}"
        gallery.add(
            f"encoder_{number}.png",
            f"Spikes of the first layer for {row} at each step, a square for each channel, beside the input; also as "
            "PDF and SVG.",
            partial(spikes.save_encoder, title=above, pixels=input_pixels(sample), layer=encoder),
        )


def _evenly(n: int) -> list[int]:
    return np.unique(np.linspace(0, n - 1, min(n, MOST_LAYERS)).astype(int)).tolist()


def _in_name(text: str) -> str:
    """A class name as part of a file name."""
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in text)
