"""Convolutions over spikes on the C kernel: what four spikes add up to is looked up.

Its source, spikes.c, lies beside the kernels of logic networks: they are one library.
"""

import ctypes
import logging
from ctypes import POINTER, c_int, c_int64, c_void_p
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from difflogic_tonic.nets.logic.cpu_build import KernelUnavailable, load_library
from difflogic_tonic.nets.spiking import winograd_cpu

log = logging.getLogger(__name__)

MOST_COLUMNS = 5
"""Of a kernel: a window of spikes has 8 places, for 4 results beside each other."""

LAST = 3 << 20
"""Bytes of weights up to which torch's convolution is faster with the channels of a pixel side by side."""

_LANES = 16


class _Plan(ctypes.Structure):
    """`struct spikes_plan` of spikes.c, field by field."""

    _fields_ = [
        *((name, c_int64) for name in ("variant", "threads", "frames", "channels", "height", "width", "outputs")),
        *((name, c_int64) for name in ("rows", "columns", "kernel_rows", "kernel_columns", "padding")),
        *((name, c_int64) for name in ("lines", "pitch", "quads", "padded")),
        *((name, c_int64) for name in ("x_frame", "x_channel", "x_row", "x_column")),
        *((name, c_void_p) for name in ("x", "subsets", "windows", "weights", "bias", "y", "grad_y", "grad_weights")),
    ]


@dataclass(frozen=True)
class Kernel:
    """The loaded library, and the instruction set (index into logic.cpu.VARIANTS) that this processor runs best."""

    library: Any
    best_variant: int


@cache
def find_kernel() -> Kernel | str:
    """The kernel, or why there is none. Logs one line in that case; asks once per process."""
    try:
        library = load_library()
    except KernelUnavailable as error:
        log.warning("convolutions over spikes are torch's own, which are slower: %s", error)
        return str(error)
    for name in ("spikes_forward", "spikes_backward"):
        getattr(library, name).argtypes = [POINTER(_Plan)]
        getattr(library, name).restype = c_int
    library.spikes_pack.argtypes = [POINTER(_Plan), POINTER(c_int64)]
    library.spikes_pack.restype = c_int
    for name in ("pooled_forward", "pooled_backward", "winograd_backward"):
        getattr(library, name).argtypes = [c_void_p]
        getattr(library, name).restype = c_int
    for name in ("pooled_lanes", "winograd_wide"):
        getattr(library, name).argtypes = [c_int64]
    assert library.spikes_plan_size() == ctypes.sizeof(_Plan), (library.spikes_plan_size(), ctypes.sizeof(_Plan))
    return Kernel(library, library.logic_best_variant())


@dataclass(frozen=True)
class Spikes:
    """The spikes of frames [N, C, H, W], packed for one convolution. `subsets` are for its forward pass, and `windows`
    for its backward pass: see `struct spikes_plan`."""

    plan: _Plan
    subsets: Tensor
    windows: Tensor


def pack_spikes(kernel: Kernel, x: Tensor, weight: Tensor, padding: int) -> Spikes | None:
    """x f32[N, C, H, W], packed for a convolution with `weight`; None where it is not all 0 or 1."""
    frames, channels, height, width = x.shape
    outputs, _, kernel_rows, kernel_columns = weight.shape
    lines, pitch = height + 2 * padding, width + 2 * padding
    rows, columns = lines - kernel_rows + 1, pitch - kernel_columns + 1
    quads = -(-columns // 4)
    padded = -(-outputs // _LANES) * _LANES
    sizes = frames, channels, height, width, outputs, rows, columns, kernel_rows, kernel_columns, padding
    plan = _Plan(kernel.best_variant, torch.get_num_threads(), *sizes, lines, pitch, quads, padded, *x.stride())
    subsets = torch.empty(-(-channels // 4) * frames * lines * pitch, dtype=torch.int16)
    windows = torch.empty(frames * lines * quads * channels, dtype=torch.uint8)
    plan.x, plan.subsets, plan.windows = x.data_ptr(), subsets.data_ptr(), windows.data_ptr()
    others = c_int64()
    check(kernel.library.spikes_pack(ctypes.byref(plan), ctypes.byref(others)))
    return None if others.value else Spikes(plan, subsets, windows)


def convolve(kernel: Kernel, spikes: Spikes, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The convolution of x, of which `spikes` were packed, as f32[N, outputs, H', W'] with channels last in memory.

    Equal to `torch.nn.functional.conv2d` up to the order of sums, which depends on shapes only. Differentiable once.
    """
    y: Tensor = _Convolution.apply(x, weight, bias, kernel, spikes)
    return y


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, kernel: Kernel, spikes: Spikes) -> Tensor:
        plan = _Plan.from_buffer_copy(spikes.plan)
        weights = weight.detach().contiguous()
        bias = None if bias is None else bias.detach().contiguous()
        y = torch.empty(plan.frames, plan.rows, plan.columns, plan.outputs)
        plan.weights, plan.y = weights.data_ptr(), y.data_ptr()
        plan.bias = None if bias is None else bias.data_ptr()
        check(kernel.library.spikes_forward(ctypes.byref(plan)))
        ctx.save_for_backward(weight, spikes.windows)
        ctx.kernel, ctx.plan, ctx.has_bias = kernel, spikes.plan, bias is not None
        return y.permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        weight, windows = ctx.saved_tensors
        plan = _Plan.from_buffer_copy(ctx.plan)
        grad = grads[0].permute(0, 2, 3, 1).contiguous()
        grad_x = grad_weight = grad_bias = None
        if ctx.needs_input_grad[0]:
            grad_x = _gradient_of_input(ctx.kernel, grad, weight, plan)
        if ctx.needs_input_grad[1]:
            grad_weight = torch.empty_like(weight, memory_format=torch.contiguous_format)
            plan.threads, plan.windows = torch.get_num_threads(), windows.data_ptr()
            plan.grad_y, plan.grad_weights = grad.data_ptr(), grad_weight.data_ptr()
            check(ctx.kernel.library.spikes_backward(ctypes.byref(plan)))
        if ctx.has_bias and ctx.needs_input_grad[2]:
            grad_bias = grad.sum((0, 1, 2))
        return grad_x, grad_weight, grad_bias, None, None


def _gradient_of_input(kernel: Kernel, grad: Tensor, weight: Tensor, plan: _Plan) -> Tensor:
    """A gradient is not binary, so nothing is looked up."""
    frames = torch.Size((plan.frames, plan.channels, plan.height, plan.width))
    if winograd_cpu.takes(kernel.library, plan.variant, weight, plan.padding, frames):
        return winograd_cpu.gradient_of_input(kernel.library, plan.variant, grad, weight, plan.padding, frames)
    laid = to_better_layout(grad.permute(0, 3, 1, 2), weight)
    layout = torch.contiguous_format if laid.is_contiguous() else torch.channels_last
    anything = torch.empty(frames, memory_format=layout)  # of that shape
    options = [1, 1], [plan.padding] * 2, [1, 1], False, [0, 0], 1, [True, False, False]
    found: Tensor = torch.ops.aten.convolution_backward(laid, anything, weight, None, *options)[0]
    return found


def to_better_layout(x: Tensor, weight: Tensor) -> Tensor:
    """x [N, C, H, W] in the layout of memory that torch convolves it with `weight` faster in."""
    last = weight.numel() * weight.element_size() <= LAST
    return x.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)


def check(failed: int) -> None:
    """Raise `MemoryError` for what a function of the kernel says where it finds none."""
    if failed:
        raise MemoryError("no memory for a convolution over spikes")
