"""Gradients added up over all processes, once a step, together with the few numbers that a step tells.

Not `DistributedDataParallel`: it takes the mean over processes, which is not that over samples where parts differ, its
wrapper hides what the loop asks a network for, and it reduces after every batch of an accumulation unless it is told
not to. What it adds is that sums begin while gradients are still computed. `benchmarks/ddp.py` shows what that could
save: the share of the sums in a step.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from difflogic_tonic.train.ranks import Ranks

BUCKET = 2**23
"""Numbers that travel at once: small tensors would each wait for a round trip, and very large ones need a copy."""


def add_gradients(model: nn.Module, facts: Tensor, ranks: Ranks) -> Tensor:
    """Put the sum over all processes in place of each gradient; the same bits on all of them.

    facts: f32[batches, n] of this process; returns those of all, f32[processes, batches, n], on the CPU. They travel
    with the first gradients, as does whether this process was asked to stop: `ranks.stop` then knows it of all.

    The graph of a network must not depend on the samples: the same parameters have a gradient in every process.
    """
    mine = torch.cat((facts.new_full((1,), ranks.stop_number()), facts.flatten()))
    slots = mine.new_zeros(ranks.world, len(mine))
    slots[ranks.rank] = mine
    with_gradient = [parameter for parameter in model.parameters() if parameter.grad is not None]
    buckets = list(_buckets(with_gradient))
    flat = [torch.cat([_gradient(parameter).flatten() for parameter in bucket]) for bucket in buckets]
    if flat and flat[0].dtype == slots.dtype:
        flat[0] = torch.cat((flat[0], slots.flatten()))
    else:
        flat.append(slots.flatten())
    ranks.add_all(flat)
    for bucket, values in zip(buckets, flat, strict=False):
        sizes = [parameter.numel() for parameter in bucket]
        for parameter, gradient in zip(bucket, values[: sum(sizes)].split(sizes), strict=True):
            parameter.grad = gradient.view_as(parameter)
    told = (flat[0] if flat[0].dtype == slots.dtype else flat[-1])[-slots.numel() :].view_as(slots).cpu()
    ranks.agree(told[:, 0].tolist())
    return told[:, 1:].reshape(ranks.world, *facts.shape)


def _buckets(parameters: list[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """Those of one dtype, in their order, up to `BUCKET` numbers at once."""
    bucket: list[nn.Parameter] = []
    size = 0
    for parameter in parameters:
        if bucket and (size + parameter.numel() > BUCKET or parameter.dtype != bucket[0].dtype):
            yield bucket
            bucket, size = [], 0
        bucket.append(parameter)
        size += parameter.numel()
    if bucket:
        yield bucket


def _gradient(parameter: nn.Parameter) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad
