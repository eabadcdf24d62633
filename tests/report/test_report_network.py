"""A network asked again says what it said in its evaluation."""

import numpy as np
import pytest
import torch

from difflogic_tonic.config.networks import Model
from difflogic_tonic.data import Batch
from difflogic_tonic.models import build, logits
from difflogic_tonic.nets.spiking.spikes import SpikeCounts, counting
from difflogic_tonic.report.network import different_samples, input_pixels, only, trace_sample, wires_of

SHAPE = (2, 6, 8)


def sequences(n: int = 3, steps: int = 4) -> Batch:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randint(0, 9, (n, steps, 96), dtype=torch.uint8, generator=generator)
    lengths = torch.tensor([steps, *[steps - 1] * (n - 1)])
    inputs[1:, steps - 1] = 0
    return Batch(inputs, torch.arange(n) % 2, lengths, torch.arange(n), False, SHAPE, "sequence")


@pytest.mark.parametrize("readout", ["membrane", "current", "rate"])
def test_the_last_growing_score_decides_as_the_network_does(readout: str) -> None:
    model = build(Model(model_type="SNN", snn={"architecture": "4C3-MP2-FC2", "readout": readout}), SHAPE, 2, seed=1)
    batch = sequences()
    with torch.no_grad():
        whole = logits(model.eval(), batch).numpy()
    for place in range(len(batch)):
        trace = trace_sample(model, only(batch, place), with_layers=True)
        steps = int(batch.lengths[place])
        assert trace.growing.shape == trace.scores.shape == (steps, 2)
        said = trace.growing[-1] * (model.head.gain / steps if readout == "rate" else 1)
        np.testing.assert_allclose(said, whole[place], rtol=1e-5, atol=1e-6)
        assert ("spikes" in trace.unit) == (readout == "rate")


def test_traces_have_the_spikes_that_are_counted_and_membranes_in_thresholds() -> None:
    snn = {"architecture": "4C3-6C3-FC2", "threshold": 0.25}
    model = build(Model(model_type="SNN", snn=snn), SHAPE, 2, seed=1)
    sample = only(sequences(), 0)
    trace = trace_sample(model, sample, with_layers=True)
    counts = SpikeCounts()
    with counting(model, counts), torch.no_grad():
        logits(model, sample)
    assert {layer.name: int(layer.spikes.sum()) for layer in trace.layers} == counts.spikes
    assert sum(counts.spikes.values()) > 0
    for layer in trace.layers:
        assert np.prod(layer.shape) == layer.spikes.shape[1]
        assert ((layer.membranes >= 1) == layer.spikes).all()


def test_without_layers_only_the_first_is_traced() -> None:
    model = build(Model(model_type="SNN", snn={"architecture": "4C3-6C3-FC2"}), SHAPE, 2, seed=1)
    sample = only(sequences(), 0)
    short, whole = (trace_sample(model, sample, with_layers=flag) for flag in (False, True))
    assert [layer.name for layer in short.layers] == [whole.layers[0].name]
    assert len(whole.layers) == 2


class Source:
    """Batches as an evaluation has them."""

    def __init__(self, batches: list[Batch]) -> None:
        self.batches = batches

    def iterate(self, epoch: int, start: int = 0):
        yield from self.batches


def test_samples_are_the_first_of_different_classes() -> None:
    found = different_samples(Source([sequences(), sequences()]), most=5)
    assert [(int(one.labels[0]), int(one.rows[0]), len(one)) for one in found] == [(0, 0, 1), (1, 1, 1)]
    assert found[1].inputs.shape[1] == 3


def test_the_input_is_drawn_with_all_its_steps() -> None:
    batch = sequences()
    pixels = input_pixels(only(batch, 0))
    summed = batch.inputs[0].reshape(4, *SHAPE).float().sum((0, 1))
    assert pixels.shape == SHAPE[1:]
    np.testing.assert_array_equal(pixels, (255 * summed / summed.max()).round().numpy())


def test_wires_are_counted_by_pixel_and_measured_in_pixels() -> None:
    logic = {"num_neurons": 48, "num_layers": 2}
    model = build(Model(model_type="DiffLogic", difflogic=logic), (2, 2, 3), 2, seed=1)
    first, second = model.network.layers
    # the first neuron reads (y 0, x 0) of the first plane and (y 1, x 2) of the second, the others one pixel twice
    pairs = torch.full((2, 48), 4)
    pairs[:, 0] = torch.tensor([0, 6 + 5])
    first.wiring = pairs.int()
    second.wiring = torch.tensor([[0] * 48, [47] * 47 + [0]]).int()
    found = wires_of(model, (2, 2, 3))
    assert found is not None
    reads, distances, _, deeper = found
    assert reads.tolist() == [[1, 0, 0], [0, 94, 1]]
    assert distances.tolist() == [pytest.approx(5**0.5)] + [0] * 47
    assert deeper[0].tolist() == [1] * 47 + [0]


def test_trees_and_other_networks_have_no_wires_to_draw() -> None:
    assert wires_of(build(Model(model_type="MLP", mlp={"hidden": [4]}), SHAPE, 2, seed=1), SHAPE) is None
