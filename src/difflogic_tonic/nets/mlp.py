"""The fully connected baseline for single frames."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn

from difflogic_tonic.nets.dropout import Dropout
from difflogic_tonic.nets.initial import compress_counts, seeded


class Perceptron(nn.Module):
    """Fully connected layers of the widths in `hidden`, each with ReLU and dropout, then one to `classes`."""

    def __init__(
        self,
        frame_shape: tuple[int, int, int],
        classes: int,
        hidden: Sequence[int],
        dropout: float = 0.0,
        *,
        seed: int,
    ) -> None:
        super().__init__()
        widths = [prod(frame_shape), *hidden]
        layers: list[nn.Module] = [nn.Flatten()]
        with seeded(seed):
            for inputs, outputs in pairwise(widths):
                layers += [nn.Linear(inputs, outputs), nn.ReLU(), Dropout(dropout)]
            layers.append(nn.Linear(widths[-1], classes))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Counts [B, P, H, W] to logits f32[B, classes]; `lengths` is not used."""
        logits: Tensor = self.layers(compress_counts(x))
        return logits.to(torch.float32)
