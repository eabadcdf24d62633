"""A small network whose steps take as long as a test wants: `model.model_type: paced:model`.

PACE: seconds that each training step sleeps. STOP_AT_START: the process sends itself this signal when the network is
made, before there is anything to save. One source for all of them, so that a resumed run may change them.
"""

import os
import signal
import time

from torch import Tensor, nn


class Paced(nn.Sequential):
    def forward(self, frames: Tensor) -> Tensor:
        if self.training:
            time.sleep(float(os.environ.get("PACE", "0")))
        scores: Tensor = super().forward(frames)
        return scores


def model(frame_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """Linear, with dropout, so that a lost random state shows."""
    if name := os.environ.get("STOP_AT_START"):
        os.kill(os.getpid(), getattr(signal, name))
    return Paced(nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.2), nn.LazyLinear(classes))
