"""The convolutional baseline for single frames."""

import torch
from torch import Tensor, nn

from difflogic_tonic.nets.dropout import Dropout
from difflogic_tonic.nets.initial import compress_counts, seeded


class ConvNet(nn.Module):
    """Conv 5×5 to 32, pool, conv 3×3 to 64, pool, fully connected `hidden`, fully connected `classes`.

    Convolutions are padded to keep height and width; a pool halves them, rounding down.
    ReLU comes after the pooling, where it has a quarter of the work and the same result.
    """

    def __init__(
        self, frame_shape: tuple[int, int, int], classes: int, hidden: int = 128, dropout: float = 0.0, *, seed: int
    ) -> None:
        super().__init__()
        polarities, height, width = frame_shape
        if min(height, width) < 4:
            raise ValueError(f"frames of {height}×{width} are too small for two poolings; expected at least 4×4")
        with seeded(seed):
            self.layers = nn.Sequential(
                nn.Conv2d(polarities, 32, 5, padding=2),
                nn.MaxPool2d(2),
                nn.ReLU(),
                nn.Conv2d(32, 64, 3, padding=1),
                nn.MaxPool2d(2),
                nn.ReLU(),
                nn.Flatten(),
                Dropout(dropout),
                nn.Linear(64 * (height // 4) * (width // 4), hidden),
                nn.ReLU(),
                Dropout(dropout),
                nn.Linear(hidden, classes),
            )

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Counts [B, P, H, W] to logits f32[B, classes]; `lengths` is not used."""
        logits: Tensor = self.layers(compress_counts(x))
        return logits.to(torch.float32)
