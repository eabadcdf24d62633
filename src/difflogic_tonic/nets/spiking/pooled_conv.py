"""Convolutions whose result is pooled at once: on the CPU they share what they do for the gradients."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from difflogic_tonic.nets.spiking.conv import SpikeConv2d
from difflogic_tonic.nets.spiking.pooled_conv_cpu import convolve_and_pool
from difflogic_tonic.nets.spiking.pooling import MaxPool2d
from difflogic_tonic.nets.spiking.spike_conv_cpu import find_kernel

AT_ONCE = 1 << 22
"""Bytes of a convolution that are there at a time: with what follows within the few MB of cache that a core has, and
well below the 32 MB from which glibc asks the system for pages every time. Fewer cost more in calls than they save."""


class PooledConv(nn.Module):
    """`pooling(convolution(x))`, faster where gradients are asked for."""

    timeless = True

    def __init__(self, convolution: SpikeConv2d, pooling: MaxPool2d) -> None:
        super().__init__()
        self.convolution, self.pooling = convolution, pooling

    def takes(self, x: Tensor) -> bool:
        """Whether the kernel is there, and for frames like x; the two modules do it otherwise."""
        if isinstance(find_kernel(), str) or not self.convolution.plain(x):
            return False
        height, width = x.shape[2:]
        kernel_rows, kernel_columns = self.convolution.weight.shape[2:]
        return min(height - kernel_rows, width - kernel_columns) + 2 * self.convolution.pad >= 1

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to [N, out_channels, H' // 2, W' // 2]."""
        kernel = find_kernel()
        if isinstance(kernel, str) or not self.takes(x):
            pooled: Tensor = self.pooling(self.convolution(x))
            return pooled
        frame = 4 * self.convolution.out_channels * x[0, 0].numel()
        return convolve_and_pool(
            kernel,
            x,
            self.convolution.weight,
            self.convolution.bias,
            self.convolution.pad,
            self.convolution.convolve,
            at_once=max(1, AT_ONCE // frame),
            looked_up=self.convolution.fits(x),
        )


def joined(modules: Iterable[nn.Module]) -> Iterator[nn.Module]:
    """`modules` in order; where gradients are kept, a convolution and the pooling of 2×2 windows behind it as one,
    unless somebody listens to one of them."""
    waiting: SpikeConv2d | None = None
    learns = torch.is_grad_enabled() and not torch.compiler.is_compiling()
    for module in modules:
        if waiting is not None and type(module) is MaxPool2d and module.by_two and not is_heard(module):
            yield PooledConv(waiting, module)
            waiting = None
            continue
        if waiting is not None:
            yield waiting
            waiting = None
        if learns and type(module) is SpikeConv2d and not is_heard(module):
            waiting = module
        else:
            yield module
    if waiting is not None:
        yield waiting


def is_heard(module: nn.Module) -> bool:
    """Whether a hook waits for what this module does."""
    return bool(
        module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
    )
