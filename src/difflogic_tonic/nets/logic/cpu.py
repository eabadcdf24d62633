"""The whole logic network as one autograd function on the C kernel (kernel/stack.c)."""

import ctypes
import logging
from ctypes import POINTER, c_float, c_int, c_int64, c_void_p
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from difflogic_tonic.nets.logic.cpu_build import KernelUnavailable, load_library

log = logging.getLogger(__name__)

VARIANTS: tuple[str, ...] = ("baseline", "AVX2", "AVX-512")
_KINDS = {torch.float32: 0, torch.uint8: 1, torch.bool: 1}
_BITS = 2


class _Plan(ctypes.Structure):
    """`struct plan` of kernel/stack.c, field by field."""

    _fields_ = [
        *(
            (name, c_int64)
            for name in ("variant", "threads", "batch", "in_features", "layers", "classes", "input_kind")
        ),
        ("tau", c_float),
        ("inverse_temperature", c_float),
        ("widths", POINTER(c_int64)),
        ("wiring", POINTER(c_void_p)),
        ("logits", POINTER(c_void_p)),
        ("coefficients", c_void_p),
        ("norms", c_void_p),
        ("input", c_void_p),
        ("output", c_void_p),
        ("grad_output", c_void_p),
        ("grad_logits", POINTER(c_void_p)),
        ("grad_coefficients", c_void_p),
        ("grad_input", c_void_p),
    ]


@dataclass(frozen=True)
class Kernel:
    """The loaded library and the instruction set (index into VARIANTS) that this processor runs best."""

    forward: Any
    backward: Any
    best_variant: int


@dataclass(frozen=True)
class Stack:
    """What the kernel needs to know besides numbers that are trained.

    `wirings`: per layer int32[2, n], contiguous, indices checked. `variant` None is the processor's best.
    `bits`: inputs are packed, uint8[batch, ceil(in_features / 8)], first feature in the lowest bit.
    """

    in_features: int
    widths: tuple[int, ...]
    wirings: tuple[Tensor, ...]
    classes: int
    tau: float
    bits: bool = False
    variant: int | None = None


@cache
def find_kernel() -> Kernel | str:
    """The kernel, or why there is none. Logs one line in that case; asks once per process."""
    try:
        library = load_library()
    except KernelUnavailable as error:
        log.warning("logic networks run in plain torch, which is several times slower: %s", error)
        return str(error)
    for name in ("logic_forward", "logic_backward"):
        getattr(library, name).argtypes = [POINTER(_Plan)]
        getattr(library, name).restype = c_int
    library.logic_plan_size.restype = c_int
    assert library.logic_plan_size() == ctypes.sizeof(_Plan), (library.logic_plan_size(), ctypes.sizeof(_Plan))
    return Kernel(library.logic_forward, library.logic_backward, library.logic_best_variant())


def run_with_coefficients(kernel: Kernel, stack: Stack, x: Tensor, coefficients: Tensor) -> Tensor:
    """Logits float32[batch, classes] from float32 coefficients [all neurons, 4]; differentiable in both tensors."""
    logits: Tensor = _StackFunction.apply(kernel, stack, None, x, coefficients)
    return logits


def run_with_logits(kernel: Kernel, stack: Stack, x: Tensor, weights: list[Tensor], temperature: float) -> Tensor:
    """The same from the sixteen gate logits float32[n, 16] of each layer: softmax and its gradient in the kernel."""
    logits: Tensor = _StackFunction.apply(kernel, stack, 1 / temperature, x, *weights)
    return logits


class _StackFunction(torch.autograd.Function):
    """`inverse_temperature` None: one trained tensor, the coefficients; else one of logits per layer."""

    @staticmethod
    def forward(
        ctx: Any, kernel: Kernel, stack: Stack, inverse_temperature: float | None, x: Tensor, *trained: Tensor
    ) -> Tensor:
        x = x.detach().contiguous()
        trained = tuple(tensor.detach().contiguous() for tensor in trained)
        neurons = sum(stack.widths)
        norms = None
        coefficients = trained[0]
        if inverse_temperature is not None:
            coefficients, norms = torch.empty(neurons, 4), torch.empty(neurons, 2)
        output = torch.empty(x.shape[0], stack.classes)
        plan = _plan(kernel, stack, inverse_temperature, x, coefficients, norms, trained)
        plan.output = output.data_ptr()
        _call(kernel.forward, plan)
        ctx.save_for_backward(x, coefficients, norms, *trained)
        ctx.kernel, ctx.stack, ctx.inverse_temperature = kernel, stack, inverse_temperature
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        x, coefficients, norms, *trained = ctx.saved_tensors
        grad_output = grad_output.to(torch.float32).contiguous()
        plan = _plan(ctx.kernel, ctx.stack, ctx.inverse_temperature, x, coefficients, norms, tuple(trained))
        plan.grad_output = grad_output.data_ptr()
        grads = [torch.empty_like(tensor) for tensor in trained]
        if ctx.inverse_temperature is None:
            plan.grad_coefficients = grads[0].data_ptr()
        else:
            plan.grad_logits = _pointers(tuple(grads))
        grad_x = torch.empty_like(x) if ctx.needs_input_grad[3] else None
        if grad_x is not None:
            plan.grad_input = grad_x.data_ptr()
        _call(ctx.kernel.backward, plan)
        return None, None, None, grad_x, *grads


def _plan(
    kernel: Kernel,
    stack: Stack,
    inverse_temperature: float | None,
    x: Tensor,
    coefficients: Tensor,
    norms: Tensor | None,
    trained: tuple[Tensor, ...],
) -> _Plan:
    for tensor in (x, coefficients, *trained, *stack.wirings):
        assert tensor.device.type == "cpu", tensor.device
    assert coefficients.dtype == torch.float32, coefficients.dtype
    width = (stack.in_features + 7) // 8 if stack.bits else stack.in_features
    assert x.shape[1:] == (width,), (x.shape, width)
    plan = _Plan()
    plan.variant = kernel.best_variant if stack.variant is None else stack.variant
    plan.threads = torch.get_num_threads()
    plan.batch, plan.in_features = x.shape[0], stack.in_features
    plan.layers, plan.classes = len(stack.widths), stack.classes
    plan.input_kind = _BITS if stack.bits else _KINDS[x.dtype]
    plan.tau = stack.tau
    plan.widths = (c_int64 * len(stack.widths))(*stack.widths)
    plan.wiring = _pointers(stack.wirings)
    plan.input, plan.coefficients = x.data_ptr(), coefficients.data_ptr()
    if inverse_temperature is not None:
        assert norms is not None
        plan.inverse_temperature = inverse_temperature
        plan.logits, plan.norms = _pointers(trained), norms.data_ptr()
    return plan


def _pointers(tensors: tuple[Tensor, ...]) -> Any:
    return (c_void_p * len(tensors))(*(tensor.data_ptr() for tensor in tensors))


def _call(function: Any, plan: _Plan) -> None:
    if function(ctypes.byref(plan)):
        raise MemoryError("no memory for one tile of the logic network per thread")
