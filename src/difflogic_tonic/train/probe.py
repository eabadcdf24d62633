"""One step in fp16 against fp32, before a run begins: there are GPUs whose fp16 arithmetic is wrong."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from difflogic_tonic.data import Batch
from difflogic_tonic.models import logits as logits_of
from difflogic_tonic.train.losses import Loss
from difflogic_tonic.train.precision import FP16_HINT, LEAST_SCALE, Precision

_SCALE = 2.0**16
_TOLERANCE = 0.2
"""Relative: a spike that falls into the next step moves the loss by a few per cent, broken arithmetic by much more."""


def refuse_fp16(model: nn.Module, batch: Batch, precision: Precision, loss: Loss) -> str | None:
    """Why one step of `model` on `batch` in fp16 cannot be trusted; None if it can. Both are on the same device.

    The loss must be near that of fp32, and the gradients finite at some scale. `model` and random state stay as they
    are.
    """
    probe = copy.deepcopy(model).train()
    n_samples = len(batch)
    with untouched_random(batch):
        true = loss.of_batch(probe, batch)[1]().item() / n_samples
    with untouched_random(batch):
        where = first_not_finite(probe, batch, precision)
        with precision.autocast():
            _, half = loss.of_batch(probe, batch)
        found = half() / n_samples
    if where:
        return _reason(f"{where} gives values that are not finite")
    if not abs(found.item() - true) <= _TOLERANCE * max(1.0, abs(true)):
        return _reason(f"the loss of the first batch is {found.item():.4g}, in fp32 {true:.4g}")
    parameters = [parameter for parameter in probe.parameters() if parameter.requires_grad]
    scale = _SCALE
    while scale >= LEAST_SCALE:
        gradients = torch.autograd.grad(found * scale, parameters, retain_graph=True, allow_unused=True)
        if all(bool(gradient.isfinite().all()) for gradient in gradients if gradient is not None):
            return None
        scale /= 16
    return _reason("the gradients of the first batch are not finite at any scale")


def _reason(what: str) -> str:
    return f"fp16 does not work here: {what}; training in fp32 ({FP16_HINT})"


def first_not_finite(model: nn.Module, batch: Batch, precision: Precision) -> str:
    """The first module of `model` whose output for `batch` is not finite, by name and type; empty if there is none."""
    found: list[str] = []

    def look(name: str, module: nn.Module, output: object) -> None:
        if isinstance(output, Tensor) and not found and not bool(output.isfinite().all()):
            found.append(f"{name} ({type(module).__name__})")

    hooks = [
        module.register_forward_hook(lambda module, inputs, output, name=name: look(name, module, output))
        for name, module in model.named_modules()
        if name
    ]
    try:
        with torch.no_grad(), untouched_random(batch), precision.autocast():
            logits_of(model, batch)
    finally:
        for hook in hooks:
            hook.remove()
    return found[0] if found else ""


@contextmanager
def untouched_random(batch: Batch) -> Iterator[None]:
    """The generators that a forward pass draws from are as before behind the block."""
    devices = [batch.inputs.device] if batch.inputs.is_cuda else []
    with torch.random.fork_rng(devices):
        yield
