"""A convolution and the 2×2 max pooling behind it on the C kernel: three quarters of its gradients are 0, and skipped.

Its source, pooled.c, lies beside the kernels of logic networks: they are one library.
"""

import ctypes
from collections.abc import Callable
from ctypes import c_int64, c_void_p
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from difflogic_tonic.nets.spiking.spike_conv_cpu import Kernel, Spikes, check, pack_spikes


class _Plan(ctypes.Structure):
    """`struct pooled_plan` of pooled.c, field by field."""

    _fields_ = [
        *((name, c_int64) for name in ("variant", "threads", "frames", "channels", "height", "width", "outputs")),
        *((name, c_int64) for name in ("rows", "columns", "kernel_rows", "kernel_columns", "padding")),
        *((name, c_int64) for name in ("y_frame", "y_channel", "y_row", "y_column")),
        *((name, c_int64) for name in ("x_frame", "x_channel", "x_row", "x_column", "quads")),
        *((name, c_void_p) for name in ("y", "largest", "place", "grad", "x", "windows", "weights")),
        *((name, c_void_p) for name in ("grad_x", "grad_weights", "grad_bias")),
    ]


Convolve = Callable[[Tensor, Spikes | None], Tensor]
"""The convolution of frames, from their spikes where they are spikes, without gradient."""


def convolve_and_pool(
    kernel: Kernel,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    padding: int,
    convolution: Convolve,
    *,
    at_once: int,
    looked_up: bool,
) -> Tensor:
    """The largest of each 2×2 window of the convolution of x f32[N, C, H, W], f32[N, outputs, H', W'] contiguous.

    Equal to `max_pool2d(conv2d(x, …), 2)` up to the order of sums. Differentiable once. `at_once`: frames whose
    convolution is in memory at a time. `looked_up`: whether it takes spikes packed.
    """
    pooled: Tensor = _PooledConvolution.apply(x, weight, bias, kernel, padding, convolution, at_once, looked_up)
    return pooled


class _PooledConvolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        kernel: Kernel,
        padding: int,
        convolution: Convolve,
        at_once: int,
        looked_up: bool,
    ) -> Tensor:
        outputs, _, kernel_rows, kernel_columns = weight.shape
        rows = (x.shape[2] + 2 * padding - kernel_rows + 1) // 2
        columns = (x.shape[3] + 2 * padding - kernel_columns + 1) // 2
        largest = torch.empty(len(x), outputs, rows, columns)
        place = torch.empty(largest.shape, dtype=torch.uint8)
        sizes = x.shape[1], x.shape[2], x.shape[3], outputs, rows, columns, kernel_rows, kernel_columns, padding
        windows: list[Tensor] | None = []
        done = 0
        for frames in x.chunk(-(-len(x) // at_once)):
            spikes = pack_spikes(kernel, frames, weight, padding) if looked_up else None
            y = convolution(frames, spikes)
            plan = _Plan(kernel.best_variant, torch.get_num_threads(), len(frames), *sizes, *y.stride())
            plan.y, plan.largest = y.data_ptr(), largest[done:].data_ptr()
            plan.place = place[done:].data_ptr()
            check(kernel.library.pooled_forward(ctypes.byref(plan)))
            done += len(frames)
            windows = None if windows is None or spikes is None else [*windows, spikes.windows]
        # spikes as they were packed, which are a sixteenth of x, or x
        kept = x if windows is None else torch.cat(windows)
        ctx.save_for_backward(weight, place, kept)
        ctx.kernel, ctx.sizes, ctx.shape = kernel, sizes, x.shape
        ctx.packed, ctx.has_bias = windows is not None, bias is not None
        return largest

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        weight, place, kept = ctx.saved_tensors
        grad = grads[0].contiguous()
        plan = _Plan(ctx.kernel.best_variant, torch.get_num_threads(), len(grad), *ctx.sizes)
        if ctx.packed:
            plan.windows = kept.data_ptr()
            plan.quads = -(-(ctx.shape[3] + 2 * plan.padding - plan.kernel_columns + 1) // 4)
        else:
            plan.x = kept.data_ptr()
            plan.x_frame, plan.x_channel, plan.x_row, plan.x_column = kept.stride()
        lanes = ctx.kernel.library.pooled_lanes(plan.variant)
        weights = F.pad(weight.permute(0, 2, 3, 1), (0, -plan.channels % lanes)).contiguous()
        grad_x = torch.empty(ctx.shape) if ctx.needs_input_grad[0] else None
        grad_weight = torch.empty(weight.shape)
        grad_bias = torch.empty(plan.outputs)
        plan.grad, plan.place, plan.weights = grad.data_ptr(), place.data_ptr(), weights.data_ptr()
        plan.grad_x = None if grad_x is None else grad_x.data_ptr()
        plan.grad_weights, plan.grad_bias = grad_weight.data_ptr(), grad_bias.data_ptr()
        check(ctx.kernel.library.pooled_backward(ctypes.byref(plan)))
        found = grad_weight if ctx.needs_input_grad[1] else None
        return grad_x, found, grad_bias if ctx.has_bias else None, None, None, None, None, None
