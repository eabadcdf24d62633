"""What may be computed once for a frame that is shown at every step."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn

from difflogic_tonic.nets.shared_norm import KINDS, SharedBatchNorm, is_shared
from difflogic_tonic.nets.spiking.steps import PackedSteps

_NORMS: frozenset[type[nn.Module]] = frozenset({*KINDS, SharedBatchNorm})

_TIMELESS: frozenset[type[nn.Module]] = _NORMS | {
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool2d,
    nn.AvgPool2d,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.Flatten,
    nn.GELU,
    nn.GroupNorm,
    nn.Identity,
    nn.LayerNorm,
    nn.LeakyReLU,
    nn.Linear,
    nn.MaxPool2d,
    nn.ReLU,
    nn.Sigmoid,
    nn.SiLU,
    nn.Tanh,
    nn.Unflatten,
    nn.ZeroPad2d,
}
"""Modules whose output for a frame depends on nothing but it, or, for batch normalisation, on the frames as a set."""

_HOISTED: ContextVar[bool] = ContextVar("hoisted", default=True)


@contextmanager
def unhoisted() -> Iterator[None]:
    """Inside, every layer computes every step, for those who count what layers do."""
    token = _HOISTED.set(False)
    try:
        yield
    finally:
        _HOISTED.reset(token)


def may_hoist() -> bool:
    """Whether static input may stay so; False inside `unhoisted`."""
    return _HOISTED.get()


def is_timeless(module: nn.Module) -> bool:
    """Whether `module` knows neither of time nor of chance; classes that are not torch's say `timeless = True`."""
    if type(module) in (nn.Sequential, nn.ModuleList):
        return all(is_timeless(part) for part in module.children())
    return type(module) in _TIMELESS or getattr(module, "timeless", False) is True


def normalises(modules: Iterable[nn.Module]) -> bool:
    """Whether batch normalisation that sees the batch as a whole is among or within `modules`."""
    return any(_sees_batch(part) for module in modules for part in module.modules())


def can_hoist(module: nn.Module, steps: PackedSteps) -> bool:
    """Whether applying `module` to one frame per sample is as good as applying it to that frame at every step.

    Statistics of a batch are the same only if all samples have equally many steps. torch takes none of a single number;
    where the batch is shared, all parts must do the same, however few samples they have.
    """
    if not (may_hoist() and is_timeless(module)):
        return False
    return not normalises([module]) or (steps.counts[0] == steps.counts[-1] and (steps.counts[0] > 1 or is_shared()))


def _sees_batch(module: nn.Module) -> bool:
    return isinstance(module, nn.modules.batchnorm._BatchNorm) and (module.training or module.running_mean is None)


@contextmanager
def repeated(module: nn.Module, times: int) -> Iterator[None]:
    """Inside, batch normalisation in `module` learns its running variance as if each frame came `times` times.

    That variance is the unbiased one: n frames of the same values have it larger by n / (n - 1), and n · `times` frames
    by less.
    """
    hooks = []
    for part in module.modules():
        if type(part) in _NORMS and part.training and part.track_running_stats and part.running_var is not None:
            before = part.get_buffer("running_var").clone()
            hooks.append(part.register_forward_hook(_correction(before, times)))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _correction(before: Tensor, times: int) -> Any:
    @torch.no_grad()
    def correct(norm: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        shared = norm.n_values if isinstance(norm, SharedBatchNorm) else None
        n = inputs[0].numel() // inputs[0].shape[1] if shared is None else shared
        ratio = (n - 1) * times / (n * times - 1)
        share = norm.momentum if norm.momentum is not None else 1 / float(norm.num_batches_tracked)
        kept = (1 - share) * before
        # in training the backward pass saves this number without using it: `data`, so that it does not see the change
        norm.running_var.data.sub_(kept).mul_(ratio).add_(kept)

    return correct
