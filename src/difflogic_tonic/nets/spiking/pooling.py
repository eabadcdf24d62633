"""Max pooling that is fast on the CPU and keeps little for the backward pass.

torch's takes three times as long as the convolution before it, and keeps its input and an 8-byte index per window. Here
a window keeps one byte, which of its pixels was the largest, and a row of windows is a loop that a compiler vectorises.
"""

import sys
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from difflogic_tonic.events.jit import kernel
from difflogic_tonic.nets.spiking.neuron_cpu import STORAGES, over_threads, words
from difflogic_tonic.nets.spiking.neuron_kernels import number


@kernel
def _largest(a: Any, b: Any, c: Any, d: Any, shift: Any) -> Any:
    """The largest of the four pixels of a window, as it is stored, and which; the first of equal ones, and what is not
    a number."""
    best, which, value = a, np.uint8(0), number(a, shift)
    other = number(b, shift)
    if other > value or other != other:
        best, which, value = b, np.uint8(1), other
    other = number(c, shift)
    if other > value or other != other:
        best, which, value = c, np.uint8(2), other
    other = number(d, shift)
    if other > value or other != other:
        best, which = d, np.uint8(3)
    return best, which


@kernel
def _pool(x: Any, shift: Any, first: int, stride: int, out: Any, place: Any) -> None:
    """x [planes, H, W] to the largest of each 2×2 window; the first of equal ones, and what is not a number."""
    columns = out.shape[2]
    for plane in range(first, x.shape[0], stride):
        for row in range(out.shape[1]):
            upper, lower = x[plane, 2 * row], x[plane, 2 * row + 1]
            largest, at = out[plane, row], place[plane, row]
            for i in range(columns):
                left, right = 2 * i, 2 * i + 1
                largest[i], at[i] = _largest(upper[left], upper[right], lower[left], lower[right], shift)


@kernel
def _unpool(g: Any, place: Any, first: int, stride: int, gx: Any) -> None:
    """Each gradient to the pixel that was the largest, 0 to the others."""
    columns, none = g.shape[2], g.dtype.type(0)
    for plane in range(first, g.shape[0], stride):
        for row in range(g.shape[1]):
            upper, lower = gx[plane, 2 * row], gx[plane, 2 * row + 1]
            gs, at = g[plane, row], place[plane, row]
            for i in range(columns):
                upper[2 * i] = gs[i] if at[i] == 0 else none
                upper[2 * i + 1] = gs[i] if at[i] == 1 else none
                lower[2 * i] = gs[i] if at[i] == 2 else none
                lower[2 * i + 1] = gs[i] if at[i] == 3 else none
            upper[2 * columns :] = none  # a column that fills no window
            lower[2 * columns :] = none
        gx[plane, 2 * g.shape[1] :] = none


@kernel
def _unpool_pairs(g: Any, place: Any, bits: Any, first: int, stride: int, pairs: Any) -> None:
    """The same for rows of an even length, two pixels of `bits` bits at a time: whole words can be vectorised."""
    none = np.uint64(0)
    for plane in range(first, g.shape[0], stride):
        for row in range(g.shape[1]):
            upper, lower = pairs[plane, 2 * row], pairs[plane, 2 * row + 1]
            gs, at = g[plane, row], place[plane, row]
            for i in range(g.shape[2]):
                left = np.uint64(gs[i])
                word = np.uint64(left << bits) if at[i] & 1 else left
                upper[i] = word if at[i] < 2 else none
                lower[i] = word if at[i] >= 2 else none
        pairs[plane, 2 * g.shape[1] :] = none


@kernel
def _pool_last(x: Any, shift: Any, first: int, stride: int, out: Any, place: Any) -> None:
    """`_pool` for x [N, H, W, C]: the loop that is vectorised is the one over channels."""
    for frame in range(first, x.shape[0], stride):
        for row in range(out.shape[1]):
            for i in range(out.shape[2]):
                upper, lower = x[frame, 2 * row], x[frame, 2 * row + 1]
                largest, at = out[frame, row, i], place[frame, row, i]
                left, right = 2 * i, 2 * i + 1
                for k in range(out.shape[3]):
                    largest[k], at[k] = _largest(
                        upper[left, k], upper[right, k], lower[left, k], lower[right, k], shift
                    )


@kernel
def _unpool_last(g: Any, place: Any, first: int, stride: int, gx: Any) -> None:
    """`_unpool` for g [N, H, W, C]."""
    columns, none = g.shape[2], g.dtype.type(0)
    for frame in range(first, g.shape[0], stride):
        for row in range(g.shape[1]):
            upper, lower = gx[frame, 2 * row], gx[frame, 2 * row + 1]
            for i in range(columns):
                gs, at = g[frame, row, i], place[frame, row, i]
                for k in range(g.shape[3]):
                    upper[2 * i, k] = gs[k] if at[k] == 0 else none
                    upper[2 * i + 1, k] = gs[k] if at[k] == 1 else none
                    lower[2 * i, k] = gs[k] if at[k] == 2 else none
                    lower[2 * i + 1, k] = gs[k] if at[k] == 3 else none
            upper[2 * columns :] = none
            lower[2 * columns :] = none
        gx[frame, 2 * g.shape[1] :] = none


class _PoolLast(torch.autograd.Function):
    """Of x [N, H, W, C], contiguous."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        n, height, width, channels = x.shape
        out = torch.empty((n, height // 2, width // 2, channels), dtype=x.dtype)
        place = torch.empty(out.shape, dtype=torch.uint8)
        shift = np.uint32(0 if x.dtype == torch.float32 else 16)
        arrays = words(x).reshape(x.shape), shift
        results = words(out).reshape(out.shape), place.numpy()
        over_threads(x.numel(), lambda first, stride: _pool_last(*arrays, first, stride, *results))
        ctx.save_for_backward(place)
        ctx.shape = x.shape
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (place,) = ctx.saved_tensors
        gx = torch.empty(ctx.shape, dtype=grads[0].dtype)
        arrays = words(grads[0].contiguous()).reshape(place.shape), place.numpy()
        found = words(gx).reshape(gx.shape)
        over_threads(gx.numel(), lambda first, stride: _unpool_last(*arrays, first, stride, found))
        return gx


class _Pool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        *outer, height, width = x.shape
        out = torch.empty((*outer, height // 2, width // 2), dtype=x.dtype)
        place = torch.empty(out.shape, dtype=torch.uint8)
        shift = np.uint32(0 if x.dtype == torch.float32 else 16)
        arrays = words(x).reshape(-1, height, width), shift
        results = words(out).reshape(-1, *out.shape[-2:]), place.numpy().reshape(-1, *out.shape[-2:])
        over_threads(x.numel(), lambda first, stride: _pool(*arrays, first, stride, *results))
        ctx.save_for_backward(place)
        ctx.shape = x.shape
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (place,) = ctx.saved_tensors
        gx = torch.empty(ctx.shape, dtype=grads[0].dtype)
        windows = place.shape[-2:]
        arrays = words(grads[0].contiguous()).reshape(-1, *windows), place.numpy().reshape(-1, *windows)
        found = words(gx).reshape(-1, *ctx.shape[-2:])
        if sys.byteorder == "little" and ctx.shape[-1] % 2 == 0:
            bits = np.uint64(8 * gx.element_size())
            pairs = found.view(np.uint64 if bits == 32 else np.uint32)
            over_threads(gx.numel(), lambda first, stride: _unpool_pairs(*arrays, bits, first, stride, pairs))
        else:
            over_threads(gx.numel(), lambda first, stride: _unpool(*arrays, first, stride, found))
        return gx


class MaxPool2d(nn.MaxPool2d):
    """`nn.MaxPool2d`, with kernels for windows of 2×2 on the CPU: the same values and gradients."""

    timeless = True

    @property
    def by_two(self) -> bool:
        """Whether windows are 2×2, side by side."""
        sizes = (self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices)
        return sizes == (2, 2, 0, 1, False, False)

    def forward(self, x: Tensor) -> Tensor:
        """[.., C, H, W] to [.., C, H // size, W // size], in the same layout of memory."""
        known = self.by_two and x.is_cpu and x.dtype in STORAGES and min(x.shape[-2:]) > 1
        if known and not torch.compiler.is_exporting():  # an export wants operations, not results
            if x.dim() == 4 and not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last):
                pooled: Tensor = _PoolLast.apply(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            else:
                pooled = _Pool.apply(x.contiguous())
            return pooled
        largest: Tensor = super().forward(x)
        return largest
