"""A stream of event frames through a whole model, piece by piece, against all of it at once."""

import pytest
import torch

from difflogic_tonic.nets.spiking.heads import READOUTS, Head
from difflogic_tonic.nets.spiking.inputs import Inputs
from difflogic_tonic.nets.spiking.model import SpikingModel
from difflogic_tonic.nets.spiking.neurons import Neuron
from difflogic_tonic.nets.spiking.rule import NeuronRule
from difflogic_tonic.nets.spiking.steps import Memory
from difflogic_tonic.nets.spiking.string_network import string_network

FRAMES = torch.randint(0, 4, (6, 3, 2, 7, 6), generator=torch.Generator().manual_seed(0)).float()


def make_model(readout: str, encoding: str = "direct") -> SpikingModel:
    torch.manual_seed(0)
    rule = NeuronRule(threshold=0.3)
    network = string_network("6C3-BN-MP2-DP0.3-FC4", (2, 7, 6), 4, lambda: Neuron(rule), spiking=readout == "rate")
    return SpikingModel(Inputs(None, encoding), network, Head(readout, rule.decay)).eval()


@pytest.mark.parametrize("encoding", ["direct", "delta"])
@pytest.mark.parametrize("readout", READOUTS)
def test_scores_after_each_piece_are_those_of_all_frames_so_far(readout: str, encoding: str) -> None:
    model, memory = make_model(readout, encoding), Memory()
    with torch.no_grad():
        for begin, end in ((0, 1), (1, 4), (4, 6)):
            found = model(FRAMES[begin:end], memory=memory)
            assert torch.allclose(found, model(FRAMES[:end]), atol=1e-6)


@pytest.mark.parametrize("encoding", ["direct", "delta"])
def test_streams_of_unequal_length_go_on_where_each_ended(encoding: str) -> None:
    model, memory = make_model("membrane", encoding), Memory()
    lengths = torch.tensor([[1, 3, 2], [3, 1, 2]])
    with torch.no_grad():
        for call in range(2):
            found = model(FRAMES[3 * call :][:3], lengths[call], memory=memory)
        for stream in range(3):
            whole = torch.cat([FRAMES[3 * call :][: lengths[call, stream], stream] for call in range(2)])
            assert torch.allclose(found[stream], model(whole.unsqueeze(1))[0], atol=1e-6)


def test_calls_without_a_memory_are_alone() -> None:
    model = make_model("membrane")
    with torch.no_grad():
        first = model(FRAMES[:2])
        model(FRAMES[2:])
        assert torch.equal(model(FRAMES[:2]), first)


def test_images_have_no_memory() -> None:
    with pytest.raises(ValueError, match="not for images"):
        Inputs(4)(FRAMES[:1], memory=Memory())
