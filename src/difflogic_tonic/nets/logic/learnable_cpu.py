"""A layer with candidates for its inputs as one autograd function on the C kernel (kernel/choose.c)."""

import ctypes
from ctypes import POINTER, c_int, c_int64, c_void_p
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from difflogic_tonic.nets.logic import cpu
from difflogic_tonic.nets.logic.cpu_build import load_library

_TILE = 16
_ALIGNMENT = 64


class _Plan(ctypes.Structure):
    """`struct choose_plan` of kernel/choose.c, field by field."""

    _fields_ = [
        *((name, c_int64) for name in ("variant", "threads", "batch", "in_features", "neurons", "candidates")),
        *((name, c_void_p) for name in ("x", "index", "weights", "coefficients", "y")),
        *((name, c_void_p) for name in ("grad_y", "grad_x", "grad_weights", "grad_coefficients")),
    ]


@dataclass(frozen=True)
class Kernel:
    """The loaded library, and the instruction set (index into cpu.VARIANTS) that this processor runs best."""

    forward: Any
    backward: Any
    best_variant: int


@cache
def find_kernel() -> Kernel | str:
    """The kernel, or why there is none; that is logged once, together with the plain layers."""
    plain = cpu.find_kernel()
    if isinstance(plain, str):
        return plain
    library = load_library()
    for name in ("choose_forward", "choose_backward"):
        getattr(library, name).argtypes = [POINTER(_Plan)]
        getattr(library, name).restype = c_int
    assert library.choose_plan_size() == ctypes.sizeof(_Plan), (library.choose_plan_size(), ctypes.sizeof(_Plan))
    return Kernel(library.choose_forward, library.choose_backward, plain.best_variant)


def choose_layer(kernel: Kernel, x: Tensor, index: Tensor, weights: Tensor, coefficients: Tensor) -> Tensor:
    """The values [n, batch] of a layer: bilinear(coefficients, a, b) of the weighted means a and b of candidates.

    float32 on the CPU: x [in, batch], weights [2, n, k], coefficients [n, 4]; int32 index [2, n, k] into the rows of x,
    checked by the caller. At least one sample. Differentiable once in all three.
    """
    batch = x.shape[1]
    missing = -batch % _TILE
    if missing:
        x = F.pad(x, (0, missing))
    y: Tensor = _Layer.apply(kernel, x, index, weights, coefficients)
    return y[:, :batch] if missing else y


class _Layer(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, kernel: Kernel, x: Tensor, index: Tensor, weights: Tensor, coefficients: Tensor) -> Tensor:
        x, weights, coefficients = (_aligned(tensor) for tensor in (x, weights, coefficients))
        index = index.contiguous()
        y = torch.empty(coefficients.shape[0], x.shape[1])
        plan = _plan(kernel, x, index, weights, coefficients)
        plan.y = y.data_ptr()
        _call(kernel.forward, plan)
        ctx.save_for_backward(x, index, weights, coefficients)
        ctx.kernel = kernel
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, index, weights, coefficients = ctx.saved_tensors
        grad = _aligned(grad.to(torch.float32))
        plan = _plan(ctx.kernel, x, index, weights, coefficients)
        grad_weights, grad_coefficients = torch.empty_like(weights), torch.empty_like(coefficients)
        grad_x = torch.empty_like(x) if ctx.needs_input_grad[1] else None
        plan.grad_y, plan.grad_weights = grad.data_ptr(), grad_weights.data_ptr()
        plan.grad_coefficients = grad_coefficients.data_ptr()
        if grad_x is not None:
            plan.grad_x = grad_x.data_ptr()
        _call(ctx.kernel.backward, plan)
        return None, grad_x, None, grad_weights, grad_coefficients


def _plan(kernel: Kernel, x: Tensor, index: Tensor, weights: Tensor, coefficients: Tensor) -> _Plan:
    """One call's plan; the tensors have to outlive the call."""
    for tensor in (x, weights, coefficients):
        assert tensor.is_cpu, tensor.device
        assert tensor.dtype == torch.float32, tensor.dtype
    assert index.dtype == torch.int32, index.dtype
    n = coefficients.shape[0]
    assert index.shape == weights.shape == (2, n, index.shape[2]), (index.shape, weights.shape, n)
    plan = _Plan(kernel.best_variant, torch.get_num_threads(), x.shape[1], x.shape[0], n, index.shape[2])
    plan.x, plan.index, plan.weights = x.data_ptr(), index.data_ptr(), weights.data_ptr()
    plan.coefficients = coefficients.data_ptr()
    return plan


def _aligned(tensor: Tensor) -> Tensor:
    """The same values in a contiguous block that starts where the kernel may load whole vectors."""
    tensor = tensor.detach().contiguous()
    return tensor.clone() if tensor.data_ptr() % _ALIGNMENT else tensor


def _call(function: Any, plan: _Plan) -> None:
    if function(ctypes.byref(plan)):
        raise MemoryError("no memory for the gradients of a layer with candidates")
