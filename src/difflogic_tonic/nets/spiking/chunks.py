"""Convolutions over many frames, some frames at a time, so that what one layer writes is in the cache for the next.

A batch of sequences is thousands of frames for layers without memory. All at once, each of their results goes out to
main memory and back, and takes fresh pages from the system in every step. Frame by frame they are the same, apart from
the rounding of a convolution; gradients of weights are summed over the chunks, always in the same order. How frames are
cut depends on shapes alone, so that a run that is resumed computes what it would have.
"""

from collections.abc import Iterable, Iterator
from itertools import groupby

import torch
from torch import Tensor, nn

from difflogic_tonic.nets.spiking.hoist import is_timeless, normalises
from difflogic_tonic.nets.spiking.pooled_conv import AT_ONCE, PooledConv, is_heard

CHUNK_BYTES = AT_ONCE
"""Of the largest activation of a chunk, what follows it included."""

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_POOLINGS = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)


def rows(modules: Iterable[nn.Module]) -> Iterator[list[nn.Module]]:
    """`modules` in order: those next to each other that may see frames in chunks together, all others alone."""
    for alike, row in groupby(modules, _sees_frames_alone):
        if alike:
            yield list(row)
        else:
            yield from ([module] for module in row)


def size_of(row: list[nn.Module], x: Tensor) -> int:
    """How many frames of x [n, ...] should go through `row`, one of `rows`, at once: n where chunks would not help."""
    channels = 0  # of the widest convolution whose result is pooled, and so never there as a whole
    arriving = 0
    for part in _parts(module for module in row if not (isinstance(module, PooledConv) and module.takes(x))):
        if isinstance(part, _CONVOLUTIONS):
            arriving = max(arriving, part.out_channels)
        elif isinstance(part, _POOLINGS):
            channels = arriving
    if x.device.type != "cpu" or x.dim() < 3 or not channels or torch.compiler.is_exporting():
        return len(x)
    numbers = max(x[0].numel(), channels * x[0, 0].numel())  # of a convolution that keeps the size of its input
    return max(1, CHUNK_BYTES // (numbers * x.element_size()))


def through(row: list[nn.Module], x: Tensor, size: int) -> Tensor:
    """x [n, ...] through `row`, at most `size` frames at a time and all times about the same."""
    done = []
    for frames in x.chunk(-(-len(x) // size)):
        for module in row:
            frames = module(frames)
        done.append(frames.contiguous())  # as the layers behind want it; little is left after the pooling
    return torch.cat(done)


def _sees_frames_alone(module: nn.Module) -> bool:
    """Whether frames go through `module` one by one, unseen: hooks want to see all at once.

    A dense layer is left out: it reads weights that are larger than frames, and would do so for every chunk.
    """
    parts = list(_parts([module]))
    heard = any(is_heard(part) for part in parts)
    dense = any(isinstance(part, nn.Linear) for part in parts)
    return is_timeless(module) and not (heard or dense or normalises([module]))


def _parts(row: Iterable[nn.Module]) -> Iterator[nn.Module]:
    return (part for module in row for part in module.modules())
