"""Activation checkpointing: less memory for more computing.

A network is cut in front of every layer with weights, and of a segment only the input is kept; the rest is computed
again when its gradient is due (Chen et al. 2016). Chance draws the same numbers again, and running statistics are
updated once. Segments that carry all they know from step to step in the memory of the steps can also be cut in time:
then only the steps of one chunk are in memory at once.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from difflogic_tonic.nets.spiking.hoist import is_timeless, normalises
from difflogic_tonic.nets.spiking.steps import Chain, PackedSteps

Apply = Callable[[Iterable[nn.Module], Tensor, PackedSteps], Tensor]
"""`stepwise.in_order`."""

_RECOMPUTING: ContextVar[bool] = ContextVar("recomputing", default=False)


@dataclass(frozen=True)
class Recompute:
    """That activations are computed again in the backward pass, not kept."""

    chunk: int | None = None
    """Steps that are in memory at once, where a segment can be cut in time; None: all."""

    def __post_init__(self) -> None:
        if self.chunk is not None and self.chunk < 1:
            raise ValueError(f"chunk {self.chunk}: expected at least 1 step")


def recomputing() -> bool:
    """Whether this is the second time that a layer sees its input; hooks that count must count once."""
    return _RECOMPUTING.get()


def run(modules: Iterable[nn.Module], x: Tensor, steps: PackedSteps, apply: Apply) -> Tensor:
    """`apply(modules, x, steps)`, of which segments are recomputed as `steps.recompute` says."""
    assert steps.recompute is not None
    chunk = steps.recompute.chunk
    plain = replace(steps, recompute=None)
    for segment in segments(modules):
        if chunk is None or chunk >= len(steps.counts) or not can_cut_in_time(segment):
            x = _run_whole(segment, x, plain, apply)
            continue
        if steps.is_static(x):  # what is hoisted has one step only
            timeless = next((place for place, part in enumerate(segment) if not is_timeless(part)), len(segment))
            if timeless:
                x = _run_whole(segment[:timeless], x, plain, apply)
            segment = segment[timeless:]
        if segment:
            x = _run_in_chunks(segment, x, plain, chunk, apply)
    return x


def segments(modules: Iterable[nn.Module]) -> list[list[nn.Module]]:
    """`modules`, and those of rows within them, cut in front of every one with weights (parameters of two axes)."""
    found: list[list[nn.Module]] = [[]]
    for module in _flat(modules):
        if any(parameter.dim() > 1 for parameter in module.parameters()) and found[-1]:
            found.append([])
        found[-1].append(module)
    return found


def _flat(modules: Iterable[nn.Module]) -> Iterator[nn.Module]:
    for module in modules:
        plain_row = isinstance(module, nn.Sequential) and not (module._forward_hooks or module._forward_pre_hooks)
        yield from _flat(module.children()) if plain_row else (module,)


def can_cut_in_time(segment: list[nn.Module]) -> bool:
    """Whether steps of `segment` may be computed apart: no statistics of the batch, and nothing else than what the
    memory of the steps hands on."""
    return not normalises(segment) and all(_is_resumable(module) for module in segment)


def _is_resumable(module: nn.Module) -> bool:
    parts = all(_is_resumable(part) for part in module.children())
    return is_timeless(module) or (getattr(module, "resumable", False) is True and parts)


def _run_whole(segment: list[nn.Module], x: Tensor, steps: PackedSteps, apply: Apply) -> Tensor:
    (found,) = _checkpoint(segment, lambda given: (apply(segment, given, steps),), x)
    return found


def _run_in_chunks(segment: list[nn.Module], x: Tensor, steps: PackedSteps, size: int, apply: Apply) -> Tensor:
    outputs: list[Tensor] = []
    owners: list[nn.Module] = []
    states: tuple[Tensor, ...] = ()
    for rows, part in steps.in_chunks(size):

        def compute(
            given: Tensor, *before: Tensor, part: PackedSteps = part, owned: tuple[nn.Module, ...] = tuple(owners)
        ) -> tuple[Tensor, ...]:
            chain = Chain(steps, dict(zip(owned, before, strict=True)))
            y = apply(segment, given, replace(part, memory=chain))
            owners[:] = chain.states
            return (y, *chain.states.values())

        given = x[: part.counts[0]] if steps.is_static(x) else x[rows]
        y, *after = _checkpoint(segment, compute, given, *states)
        outputs.append(y)
        states = tuple(after)
    return torch.cat(outputs)


def _checkpoint(
    segment: list[nn.Module], function: Callable[..., tuple[Tensor, ...]], *tensors: Tensor
) -> tuple[Tensor, ...]:
    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _again(segment)

    found: tuple[Tensor, ...] = checkpoint(function, *tensors, use_reentrant=False, context_fn=contexts)
    return found


@contextmanager
def _again(segment: list[nn.Module]) -> Iterator[None]:
    """Inside, batch normalisation updates copies of its running statistics, which are thrown away."""
    norms = [
        part
        for module in segment
        for part in module.modules()
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.training and part.track_running_stats
    ]
    learnt = [dict(norm.named_buffers()) for norm in norms]
    token = _RECOMPUTING.set(True)
    for norm in norms:
        norm._buffers = {name: buffer.clone() for name, buffer in norm.named_buffers()}
    try:
        yield
    finally:
        for norm, buffers in zip(norms, learnt, strict=True):
            norm._buffers = dict(buffers)
        _RECOMPUTING.reset(token)
