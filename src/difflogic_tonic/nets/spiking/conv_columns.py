"""Convolutions with few places: the gradient of their weights as one product of matrices.

Where a frame has a few dozen places and hundreds of channels, as late in a ResNet, the blocks that a convolution
library cuts its work into are nearly empty: the product is up to twice as fast, the copies before and after included.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from difflogic_tonic.events.jit import kernel
from difflogic_tonic.nets.spiking.neuron_cpu import over_threads

MOST_PLACES = 16
"""Of a result, times the square of the stride, up to which the product is faster."""

COLUMNS = 1 << 24
"""Bytes of the matrix at a time, so that it stays in the cache."""


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int) -> Tensor:
    """`conv2d` of x f32[N, C, H, W] in either layout of memory, up to rounding. Differentiable once."""
    y: Tensor = _Convolution.apply(x, weight, bias, stride, padding)
    return y


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding, ctx.has_bias = stride, padding, bias is not None
        return F.conv2d(x, weight, bias, stride, padding)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        (grad,) = grads
        grad_x = grad_weight = grad_bias = None
        if ctx.needs_input_grad[0]:
            options = [ctx.stride] * 2, [ctx.padding] * 2, [1, 1], False, [0, 0], 1, [True, False, False]
            grad_x = torch.ops.aten.convolution_backward(grad, x, weight, None, *options)[0]
        if ctx.needs_input_grad[1]:
            grad_weight = _gradient_of_weights(grad, x, weight.shape, ctx.stride, ctx.padding)
        if ctx.has_bias and ctx.needs_input_grad[2]:
            grad_bias = grad.sum((0, 2, 3))
        return grad_x, grad_weight, grad_bias, None, None


def _gradient_of_weights(grad: Tensor, x: Tensor, shape: torch.Size, stride: int, padding: int) -> Tensor:
    outputs, channels, rows, columns = shape
    width = rows * columns * channels
    places = grad.shape[2] * grad.shape[3]
    at_once = max(1, COLUMNS // (4 * places * width))
    total = torch.zeros(outputs, width)
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, padding, padding, padding, padding))
    for frames, grads in zip(padded.split(at_once), grad.permute(0, 2, 3, 1).split(at_once), strict=True):
        pieces = frames.unfold(1, rows, stride).unfold(2, columns, stride).permute(0, 1, 2, 4, 5, 3)
        total.addmm_(grads.reshape(-1, outputs).t(), pieces.reshape(-1, width))
    found = torch.empty(shape)
    taps = total.view(outputs, rows * columns, channels).numpy(), found.view(outputs, channels, -1).numpy()
    over_threads(total.numel(), lambda first, stride: _put_taps_last(*taps, first, stride))
    return found


@kernel
def _put_taps_last(total: Any, found: Any, first: int, stride: int) -> None:
    """[outputs, taps, channels] to [outputs, channels, taps]; torch takes three times as long."""
    for output in range(first, total.shape[0], stride):
        for channel in range(total.shape[2]):
            for tap in range(total.shape[1]):
                found[output, channel, tap] = total[output, tap, channel]
