"""The whole logic network as one autograd function on the C kernel (kernel/stack.c)."""

import ctypes
import logging
from collections.abc import Sequence
from ctypes import POINTER, c_float, c_int, c_int64, c_uint8, c_void_p
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from difflogic_tonic.nets.logic.cpu_build import KernelUnavailable, load_library

log = logging.getLogger(__name__)

VARIANTS: tuple[str, ...] = ("baseline", "AVX2", "AVX-512")
STORAGES: tuple[str, ...] = ("float32", "float16")
"""Of the values and gradients of neurons while a tile of samples goes through the network."""
_KINDS = {torch.float32: 0, torch.uint8: 1, torch.bool: 1}
_BITS = 2
_NO_MEMORY, _NOT_FINITE = -1, 1


class _Plan(ctypes.Structure):
    """`struct plan` of kernel/stack.c, field by field."""

    _fields_ = [
        *((name, c_int64) for name in ("variant", "threads", "batch", "in_features", "layers", "classes")),
        *((name, c_int64) for name in ("input_kind", "straight", "half")),
        ("tau", c_float),
        ("inverse_temperature", c_float),
        ("widths", POINTER(c_int64)),
        ("wiring", POINTER(c_void_p)),
        ("sparse", POINTER(c_uint8)),
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
    """The loaded library, the instruction set (index into VARIANTS) that this processor runs best, and how many
    neurons the library looks ahead."""

    forward: Any
    backward: Any
    best_variant: int
    ahead: int


class Stack:
    """What the kernel needs to know besides numbers that are trained; built once and used for many calls.

    `wirings`: per layer int32[2, n] on the CPU, contiguous, indices checked. `variant` None is the processor's best.
    `packed`: inputs are uint8[batch, ceil(in_features / 8)], first feature in the lowest bit. `storage`: of STORAGES; a
    batch with values or gradients that are too large for float16 is computed again with float32.
    """

    def __init__(
        self,
        kernel: Kernel,
        in_features: int,
        wirings: list[Tensor],
        classes: int,
        tau: float,
        *,
        packed: bool = False,
        storage: str = "float32",
        variant: int | None = None,
    ) -> None:
        for wiring in wirings:
            assert wiring.is_cpu, wiring.device
            assert wiring.is_contiguous()
            assert wiring.dtype == torch.int32, wiring.dtype
        self.kernel = kernel
        self.classes = classes
        self.packed = packed
        self.columns = (in_features + 7) // 8 if packed else in_features
        self.widths = [wiring.shape[1] for wiring in wirings]
        self.neurons = sum(self.widths)
        inputs = [in_features, *self.widths[:-1]]
        mentions = [_mentions(wiring, before, kernel.ahead) for wiring, before in zip(wirings, inputs, strict=True)]
        depth = len(wirings)
        # what the plan points to has to live as long as the plan
        self._edges = [edges for edges, _ in mentions]
        self._arrays = (
            (c_int64 * depth)(*self.widths),
            _pointers(self._edges),
            (c_uint8 * depth)(*(sparse for _, sparse in mentions)),
        )
        self._plan = _Plan()
        self._plan.variant = kernel.best_variant if variant is None else variant
        self._plan.in_features, self._plan.layers, self._plan.classes = in_features, len(wirings), classes
        self._plan.tau, self._plan.half = tau, storage == "float16"
        self._plan.widths, self._plan.wiring, self._plan.sparse = self._arrays

    def plan(self, x: Tensor, coefficients: Tensor) -> _Plan:
        """One call's plan; x, coefficients and self have to outlive the call."""
        assert x.shape[1:] == (self.columns,), (x.shape, self.columns)
        plan = _Plan.from_buffer_copy(self._plan)
        plan.threads = torch.get_num_threads()
        plan.batch = x.shape[0]
        plan.input_kind = _BITS if self.packed else _KINDS[x.dtype]
        plan.input, plan.coefficients = x.data_ptr(), coefficients.data_ptr()
        return plan


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
    best, ahead = library.logic_best_variant(), library.logic_ahead()
    return Kernel(library.logic_forward, library.logic_backward, best, ahead)


def run_with_coefficients(stack: Stack, x: Tensor, coefficients: Tensor) -> Tensor:
    """Logits float32[batch, classes] from float32 coefficients [all neurons, 4]; differentiable once, in both.

    x: float32, uint8 or bool [batch, in_features] (uint8 above zero is 1), or packed; at least one sample.
    """
    logits: Tensor = _StackFunction.apply(stack, None, x, coefficients)
    return logits


def run_with_logits(
    stack: Stack, x: Tensor, weights: list[Tensor], temperature: float, *, straight: bool = False
) -> Tensor:
    """The same from the sixteen gate logits float32[n, 16] of each layer: softmax and its gradient in the kernel.

    `straight`: the value is that of the likeliest gates, the gradient that of the softmax.
    """
    logits: Tensor = _StackFunction.apply(stack, _Mixing(1 / temperature, straight), x, *weights)
    return logits


class _Mixing(NamedTuple):
    """How sixteen logits become coefficients."""

    inverse_temperature: float
    straight: bool


class _StackFunction(torch.autograd.Function):
    """`mixing` None: one trained tensor, the coefficients; else one of logits per layer."""

    @staticmethod
    def forward(ctx: Any, stack: Stack, mixing: _Mixing | None, x: Tensor, *trained: Tensor) -> Tensor:
        x = x.detach().contiguous()
        trained = tuple(tensor.detach().contiguous() for tensor in trained)
        for tensor in (x, *trained):
            assert tensor.is_cpu, tensor.device
        norms, coefficients = None, trained[0]
        if mixing is not None:
            norms, coefficients = torch.empty(stack.neurons, 2), torch.empty(stack.neurons, 4)
        assert coefficients.shape == (stack.neurons, 4), coefficients.shape
        assert coefficients.dtype == trained[-1].dtype == torch.float32, (coefficients.dtype, trained[-1].dtype)
        output = torch.empty(x.shape[0], stack.classes)
        plan = stack.plan(x, coefficients)
        _add_logits(plan, mixing, norms, trained)
        plan.output = output.data_ptr()
        _call(stack.kernel.forward, plan)
        ctx.save_for_backward(x, coefficients, norms, *trained)
        ctx.stack, ctx.mixing = stack, mixing
        return output

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError("the CPU kernel has no second derivative; LogicNetwork(backend='eager') has")
        x, coefficients, norms, *trained = ctx.saved_tensors
        grad_output = grad_output.to(torch.float32).contiguous()
        plan = ctx.stack.plan(x, coefficients)
        _add_logits(plan, ctx.mixing, norms, trained)
        plan.grad_output = grad_output.data_ptr()
        grads = [torch.empty_like(tensor) for tensor in trained]
        if ctx.mixing is None:
            plan.grad_coefficients = grads[0].data_ptr()
        else:
            plan.grad_logits = _pointers(grads)
        grad_x = torch.empty_like(x) if ctx.needs_input_grad[2] else None
        if grad_x is not None:
            plan.grad_input = grad_x.data_ptr()
        _call(ctx.stack.kernel.backward, plan)
        return None, None, grad_x, *grads


def _add_logits(plan: _Plan, mixing: _Mixing | None, norms: Tensor | None, trained: Sequence[Tensor]) -> None:
    if mixing is not None:
        assert norms is not None
        plan.inverse_temperature, plan.straight = mixing.inverse_temperature, mixing.straight
        plan.logits, plan.norms = _pointers(trained), norms.data_ptr()


def _mentions(wiring: Tensor, inputs: int, ahead: int) -> tuple[Tensor, bool]:
    """`struct plan`'s wiring of one layer, int32[4, n + ahead], and whether the layer leaves an input out."""
    order = torch.arange(wiring.numel()).reshape(-1, 2).t()  # a of neuron 0, b of neuron 0, a of neuron 1, ...
    index = wiring.long()
    first = torch.full((inputs,), wiring.numel()).scatter_reduce(0, index.flatten(), order.flatten(), "amin")
    marked = torch.where(first[index] == order, index - 2**31, index).to(torch.int32)
    return pad(torch.cat((wiring, marked)), (0, ahead)).contiguous(), bool((first == wiring.numel()).any())


def _pointers(tensors: Sequence[Tensor]) -> Any:
    return (c_void_p * len(tensors))(*[tensor.data_ptr() for tensor in tensors])


def _call(function: Any, plan: _Plan) -> None:
    result = function(ctypes.byref(plan))
    if result == _NOT_FINITE:
        _say_once_too_large()
        plan.half = 0
        result = function(ctypes.byref(plan))
    if result == _NO_MEMORY:
        raise MemoryError("no memory for one tile of the logic network per thread")


@cache
def _say_once_too_large() -> None:
    log.warning("values or gradients beyond 65504 in a logic network: such batches are computed with float32 storage")
