"""A small network whose steps take as long as a test wants: `model.model_type: paced:model`.

PACE: seconds that each training step sleeps. BURN_AT=7:FILE: the seventh pass in training mode makes FILE and then
computes for minutes, outside Python. STOP_AT_START: the process sends itself this signal when the network is
made, before there is anything to save. One source for all of them, so that a resumed run may change them.
"""

import hashlib
import os
import signal
import time
from pathlib import Path

from torch import Tensor, nn


class Paced(nn.Sequential):
    n_steps = 0

    def forward(self, frames: Tensor) -> Tensor:
        if self.training:
            self.n_steps += 1
            time.sleep(float(os.environ.get("PACE", "0")))
            at, _, file = os.environ.get("BURN_AT", "0:").partition(":")
            if self.n_steps == int(at):
                Path(file).touch()
                hashlib.pbkdf2_hmac("sha256", b"", b"", 100_000_000)
        scores: Tensor = super().forward(frames)
        return scores


def model(frame_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """Linear, with dropout, so that a lost random state shows."""
    if name := os.environ.get("STOP_AT_START"):
        os.kill(os.getpid(), getattr(signal, name))
    return Paced(nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.2), nn.LazyLinear(classes))
