"""The gradient of the input of a 3×3 convolution on a CPU by Winograd's algorithm: 16 multiplications in place of 36.

Its source, winograd.c, lies beside the kernels of logic networks: they are one library.
"""

import ctypes
from ctypes import c_int64, c_void_p
from typing import Any

import torch
from torch import Tensor

OUTPUTS = 16
"""`OUTPUTS` of winograd.c."""

FEW_TILES = 48
"""Below so many squares of 2×2 results, laying out the weights costs more than is saved."""


class _Plan(ctypes.Structure):
    """`struct winograd_plan` of winograd.c, field by field."""

    _fields_ = [
        *((name, c_int64) for name in ("variant", "threads", "frames", "channels", "height", "width")),
        *((name, c_int64) for name in ("outputs", "rows", "columns", "padding")),
        *((name, c_void_p) for name in ("grad_y", "weights", "grad_x")),
    ]


def takes(library: Any, variant: int, weight: Tensor, padding: int, frames: torch.Size) -> bool:
    """Whether a convolution of `frames` [N, C, H, W] is one that this is for."""
    outputs, channels, *sides = weight.shape
    tiles = frames[0] * -(-frames[2] // 2) * -(-frames[3] // 2)
    whole = channels % library.winograd_wide(variant) == 0 and outputs % OUTPUTS == 0
    return whole and sides == [3, 3] and padding <= 2 and tiles >= FEW_TILES


def gradient_of_input(
    library: Any, variant: int, grad: Tensor, weight: Tensor, padding: int, frames: torch.Size
) -> Tensor:
    """That of a convolution of stride 1 and zero padding of `frames` [N, C, H, W], where `takes` allows it.

    `grad` f32[N, H', W', outputs], contiguous. f32[N, C, H, W] with channels last in memory, equal to torch's up to
    rounding. Raises `MemoryError`.
    """
    outputs, channels = weight.shape[:2]
    n_frames, rows, columns, _ = grad.shape
    height, width = frames[2:]
    weights = weight.detach().contiguous()
    found = torch.empty(n_frames, height, width, channels)
    sizes = n_frames, channels, height, width, outputs, rows, columns, padding
    plan = _Plan(variant, torch.get_num_threads(), *sizes)
    plan.grad_y, plan.weights, plan.grad_x = grad.data_ptr(), weights.data_ptr(), found.data_ptr()
    if library.winograd_backward(ctypes.byref(plan)):
        raise MemoryError("no memory for the gradient of a convolution")
    return found.permute(0, 3, 1, 2)
