"""The whole logic network as one autograd function on Triton kernels (triton_kernels.py), for CUDA devices.

The counterpart of cpu.py. A step reads no number back to the host and allocates by shapes only, so forward, loss and
backward can be captured in a CUDA graph, after a first call outside of it (kernels are compiled then).
"""

import logging
from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from difflogic_tonic.nets.logic.gpu_call import Call
from difflogic_tonic.nets.logic.gpu_stack import Stack, Tiling
from difflogic_tonic.nets.triton_check import why_no_triton

__all__ = ["STORAGES", "Stack", "Tiling", "find_kernel", "run_with_coefficients", "run_with_logits"]

log = logging.getLogger(__name__)

STORAGES: tuple[torch.dtype, ...] = (torch.float32, torch.bfloat16, torch.float16)
"""What values and gradients between layers may be stored as. float16 is closer than bfloat16 at the same speed:
values are in [0, 1], and gradients are scaled into its range."""


def find_kernel(device: torch.device) -> ModuleType | str:
    """The kernels, or why they cannot run on `device`. Logs one line in that case; asks once per process and device.

    With TRITON_INTERPRET=1 they run on a CPU too, thousands of times slower: that is for tests.
    """
    return _find_kernel(device.type, device.index)


@cache
def _find_kernel(kind: str, index: int | None) -> ModuleType | str:
    found = _import_kernels(kind, index)
    if isinstance(found, str):
        log.warning("logic networks on %s run in plain torch, which is several times slower: %s", kind, found)
    return found


def _import_kernels(kind: str, index: int | None) -> ModuleType | str:
    reason = why_no_triton(kind, index)
    if reason is not None:
        return reason
    from difflogic_tonic.nets.logic import triton_kernels

    return triton_kernels


def run_with_coefficients(
    stack: Stack, x: Tensor, coefficients: Tensor, *, storage: torch.dtype | None = None
) -> Tensor:
    """Logits float32[batch, classes] from float32 coefficients [all neurons, 4]; differentiable once, in both.

    x: floating (rounded to `storage`), uint8 or bool [batch, in_features] (uint8 above zero is 1), or packed; at least
    one sample. Bytes and bits are read as bits, 1/16 of the bytes of float16; they have no gradient. `storage`: one of
    STORAGES; None is what autocast says for the device of x, float32 where it is off.
    """
    logits: Tensor = _StackFunction.apply(stack, None, storage or _autocast_storage(x), x, coefficients)
    return logits


def run_with_logits(
    stack: Stack, x: Tensor, weights: list[Tensor], temperature: float, *, storage: torch.dtype | None = None
) -> Tensor:
    """The same from the sixteen gate logits float32[n, 16] of each layer: softmax and its gradient in the kernels."""
    logits: Tensor = _StackFunction.apply(stack, 1 / temperature, storage or _autocast_storage(x), x, *weights)
    return logits


def _autocast_storage(x: Tensor) -> torch.dtype:
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else torch.float32


class _StackFunction(torch.autograd.Function):
    """`inverse_temperature` None: one trained tensor, the coefficients; else one of logits per layer."""

    @staticmethod
    def forward(
        ctx: Any, stack: Stack, inverse_temperature: float | None, storage: torch.dtype, x: Tensor, *trained: Tensor
    ) -> Tensor:
        assert storage in STORAGES, storage
        assert x.shape[1:] == (stack.columns,), (x.shape, stack.columns)
        assert x.shape[0] > 0
        trained = tuple(tensor.detach().contiguous() for tensor in trained)
        for tensor in trained:
            assert tensor.dtype == torch.float32, tensor.dtype
            assert tensor.device == x.device, (tensor.device, x.device)
        call = Call(stack, x.shape[0], storage, x.device)
        with torch.cuda.device_of(x):
            coefficients = trained[0] if inverse_temperature is None else call.mix(trained, inverse_temperature)
            assert coefficients.shape == (stack.neurons, 4), coefficients.shape
            values = call.hidden(call.first(x.detach()), coefficients)
            logits = call.logits(values[-1], coefficients)
        ctx.save_for_backward(coefficients, *values, *trained)
        ctx.call, ctx.inverse_temperature, ctx.input_dtype = call, inverse_temperature, x.dtype
        return logits

    @staticmethod
    def backward(ctx: Any, grad_logits: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError("the Triton kernels have no second derivative; LogicNetwork(backend='eager') has")
        call: Call = ctx.call
        layers = len(call.stack.widths)
        coefficients, *rest = ctx.saved_tensors
        values, trained = rest[:layers], rest[layers:]
        with torch.cuda.device_of(grad_logits):
            grad_x, partial = call.gradients(values, coefficients, grad_logits, ctx.needs_input_grad[3])
            if ctx.inverse_temperature is None:
                grads = [partial[0] if call.chunks == 1 else partial.sum(0)]
            else:
                grads = call.mix_backward(trained, partial, ctx.inverse_temperature)
        if grad_x is not None:
            grad_x = grad_x[:, : call.batch].t().to(ctx.input_dtype)
        return None, None, None, grad_x, *grads
