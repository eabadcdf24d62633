"""Pictures of what the encoder of a spiking network says."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from difflogic_tonic.data import Batch
from difflogic_tonic.errors import ConfigError
from difflogic_tonic.nets.spiking.neurons import Neuron
from difflogic_tonic.nets.spiking.rule import NeuronRule
from difflogic_tonic.nets.spiking.steps import pack_steps
from difflogic_tonic.train.encoder_pictures import channel_maps, save_encoder_spikes

PIXELS = 2 * 3


class Encoder(nn.Module):
    """Neurons that spike where a pixel had an event."""

    def __init__(self) -> None:
        super().__init__()
        self.neuron = Neuron(NeuronRule(tau=1.0))

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        steps = pack_steps(x.shape[0], x.shape[1], lengths, x.device)
        return steps.sum(self.neuron(steps.pack(x), steps).flatten(1))


def two_recordings() -> Batch:
    """One of two steps and one of three, 1 × 2 × 3 pixels; every step of a recording has one event more."""
    frames = torch.zeros(2, 3, PIXELS, dtype=torch.uint8)
    for recording, length in enumerate((2, 3)):
        for t in range(length):
            frames[recording, t, : t + 1] = 1
    lengths = torch.tensor([2, 3])
    return Batch(frames, torch.tensor([0, 1]), lengths, torch.tensor([0, 1]), False, (1, 2, 3), "sequence")


def test_every_true_step_of_a_recording_is_a_picture_in_three_formats(tmp_path: Path):
    folder = save_encoder_spikes(Encoder(), two_recordings(), tmp_path, samples=2)
    assert folder == tmp_path / "visualization"
    found = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.*"))
    steps = {"0": 2, "1": 3}
    assert found == sorted(
        [f"{i}/input.png" for i in steps]
        + [f"{i}/s_{t}.{form}" for i, n in steps.items() for t in range(n) for form in ("png", "pdf", "svg")]
    )
    with Image.open(folder / "1" / "s_2.png") as image:
        assert image.width == 800
    # the events of both steps, four times as large: the first pixel had the most
    with Image.open(folder / "0" / "input.png") as image:
        shown = np.asarray(image)
    assert shown.shape == (8, 12)
    assert shown[0, 0] == 255
    assert shown[-1, -1] == 0


def test_only_as_many_as_asked_for(tmp_path: Path):
    folder = save_encoder_spikes(Encoder(), two_recordings(), tmp_path, samples=1)
    assert [path.name for path in folder.iterdir()] == ["0"]


def test_the_channels_lie_side_by_side_with_a_line_between():
    spikes = torch.zeros(9, 2, 3)
    spikes[1, 0, 2] = 1  # the second square of the first row
    spikes[8, 1, 0] = 1  # the first one of the second
    picture = channel_maps(spikes)
    assert picture.shape == (5, 31)
    assert np.argwhere(picture == 1).tolist() == [[0, 6], [4, 0]]
    assert (picture[2] == 0.5).all()
    assert channel_maps(torch.ones(7)).shape == (1, 7)


def test_a_network_without_neurons_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="pictures of spikes: the network has no spiking neurons"):
        save_encoder_spikes(nn.Linear(2, 2), two_recordings(), tmp_path, samples=1)
