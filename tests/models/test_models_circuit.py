"""A circuit in the place of its network gives the same logits, to the bit."""

import numpy as np
import pytest
import torch

from difflogic_tonic.config.networks import Model
from difflogic_tonic.models import build
from difflogic_tonic.models.circuit import as_circuit
from difflogic_tonic.nets.logic import hard_mode

SHAPE = (2, 6, 5)

NETWORKS = {
    "dense": {"num_neurons": 60, "num_layers": 3},
    "thermometer": {"num_neurons": 90, "num_layers": 2, "encoding": "thermometer", "thermometer_levels": 2},
    "conv": {"architecture": "conv", "num_neurons": 60, "num_layers": 2, "conv": {"channels": [4], "padding": 1}},
}


def built(logic: dict) -> torch.nn.Module:
    return build(Model(model_type="DiffLogic", difflogic=logic), SHAPE, 10, seed=3).eval()


def counts(*shape: int) -> torch.Tensor:
    return torch.randint(0, 4, (*shape, *SHAPE), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


@pytest.mark.parametrize("name", NETWORKS)
def test_frames(name):
    model, frames = built(NETWORKS[name]), counts(70)
    with torch.no_grad(), hard_mode(model):
        expected = model(frames)
    assert torch.equal(as_circuit(model)(frames), expected)


def test_packed_frames():
    model, frames = built(NETWORKS["dense"]), counts(70)
    circuit = as_circuit(model)
    assert circuit.reads_packed
    bits = (frames > 0).flatten(1).numpy()
    packed = torch.from_numpy(np.packbits(bits, axis=1, bitorder="little"))
    assert torch.equal(circuit(packed, packed=True), circuit(frames))


@pytest.mark.parametrize("readout", ["mean", "last"])
def test_sequences_of_unequal_length(readout):
    logic = {
        "architecture": "recurrent",
        "num_neurons": 80,
        "num_layers": 2,
        "recurrent": {"state": 10, "readout": readout},
    }
    model, frames = built(logic), counts(7, 20)
    lengths = torch.arange(20) % 7 + 1
    with torch.no_grad(), hard_mode(model):
        expected = model(frames, lengths)
    circuit = as_circuit(model)
    assert not circuit.reads_packed
    assert torch.equal(circuit(frames, lengths), expected)
    assert torch.equal(circuit(frames[:3]), circuit(frames[:3], torch.full((20,), 3)))
