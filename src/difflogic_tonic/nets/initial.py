"""Initial weights that depend on a seed only, and what a frame's counts are turned into."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw from torch's CPU generator as if freshly seeded; its state is put back afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def compress_counts(frames: Tensor) -> Tensor:
    """log(1 + count): a pixel that fired 20 times is brighter than one that fired once, but not 20 times brighter.

    Zero stays zero, so sparse frames stay sparse and padding stays padding.
    """
    return torch.log1p(frames)
