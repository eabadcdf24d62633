"""The bits that a logic network sees, and the forms in which it takes a batch."""

from typing import Any

import numpy as np
import pytest
import torch

from difflogic_tonic import models
from difflogic_tonic.config.networks import Model
from difflogic_tonic.data import Batch, expand
from difflogic_tonic.models.encoding import BinaryFrames, build_encoder

FRAME = (2, 3, 5)  # 30 values: a frame of bits does not end with a byte
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "dense": {},
    "conv": {"conv": {"channels": [4], "tree_depth": 1, "kernel_size": 2}},
    "recurrent": {"recurrent": {"state": 4}},
}


def build(frame_shape: tuple[int, int, int] = FRAME, **logic: Any) -> BinaryFrames:
    section = Model.model_validate(
        {"model_type": "DiffLogic", "difflogic": {"num_neurons": 64, "num_layers": 2, **logic}}
    )
    model = models.build(section, frame_shape, 4, 0)
    assert isinstance(model, BinaryFrames)
    return model


def batch(view: str, packed: bool = False, frame_shape: tuple[int, int, int] = FRAME) -> Batch:
    """Three samples: a frame each, or two."""
    n = int(np.prod(frame_shape))
    shape = (3, n) if view == "frames" else (3, 2, n)
    counts = torch.poisson(torch.full(shape, 1.2), torch.Generator().manual_seed(3)).to(torch.uint8)
    if packed:
        counts = torch.from_numpy(np.packbits(counts.numpy() > 0, axis=-1, bitorder="little"))
    labels = torch.zeros(3, dtype=torch.int64)
    return Batch(counts, labels, torch.full((3,), len(shape) - 1), labels, packed, frame_shape, view)


def view_of(architecture: str) -> str:
    return "sequence" if architecture == "recurrent" else "frames"


@pytest.mark.parametrize("logic", [{}, {"encoding": "thermometer"}, {"encoding": "distributive"}, {"thresholds": [2]}])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_bytes_and_numbers_give_the_same_logits(architecture: str, logic: dict[str, Any]) -> None:
    settings = ARCHITECTURES[architecture] | ({"num_neurons": 68} if architecture == "recurrent" else {})
    model = build(architecture=architecture, **settings, **logic)
    counts = batch(view_of(architecture))
    assert torch.equal(models.logits(model, counts), model(expand(counts), counts.lengths))


@pytest.mark.parametrize("view", ["frames", "stacked"])
@pytest.mark.parametrize("frame_shape", [FRAME, (2, 2, 4)])
def test_frames_stored_as_bits_give_the_logits_of_their_numbers(view: str, frame_shape: tuple[int, int, int]) -> None:
    stacked = 2 if view == "stacked" else 1
    model = build((frame_shape[0] * stacked, *frame_shape[1:]))
    bits = batch(view, packed=True, frame_shape=frame_shape)
    assert torch.equal(models.logits(model, bits), model(expand(bits)))


def test_other_models_get_numbers() -> None:
    model = models.build(Model.model_validate({"model_type": "MLP", "mlp": {"hidden": [3]}}), FRAME, 4, 0)
    counts = batch("frames")
    assert torch.equal(models.logits(model, counts), model(expand(counts)))


def test_each_level_is_an_image_of_its_own() -> None:
    """Pixels 2 and 0 of two channels, 1 x 1: the planes are channel 0 and 1 from 1 event on, then from 2 on."""
    seen: list[torch.Tensor] = []

    class Listener(torch.nn.Module):
        def forward(self, x: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
            seen.append(x)
            return torch.zeros(1, 2)

    encoder = build_encoder(Model(model_type="DiffLogic").difflogic.model_copy(update={"thresholds": (1, 2)}), 2)
    counts = torch.tensor([2, 1], dtype=torch.uint8).reshape(1, 2, 1, 1)
    BinaryFrames(Listener(), encoder, planes=(4, 1, 1))(counts)
    BinaryFrames(Listener(), encoder, sequence=True)(counts.unsqueeze(0))
    assert seen[0].int().tolist() == [[[[1]], [[1]], [[1]], [[0]]]]
    assert seen[1].int().tolist() == [[[1, 1, 1, 0]]]


def test_a_network_sees_as_many_bits_as_there_are_levels() -> None:
    assert build(encoding="thermometer", thermometer_levels=4).network.in_features == 120
    assert build(encoding="thermometer", thresholds=(1, 8)).network.in_features == 60
    assert build().network.in_features == 30


def test_thresholds_travel_with_the_weights() -> None:
    one = build(encoding="distributive")
    one.encoder.thresholds.add_(torch.arange(30.0))
    other = build(encoding="distributive")
    other.load_state_dict(one.state_dict())
    assert torch.equal(other.encoder.thresholds, one.encoder.thresholds)
    assert "encoder.thresholds" not in build().state_dict()  # nothing to say about "at least one event"
