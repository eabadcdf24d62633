"""Convolutions of spiking networks: on a CPU spikes are looked up, and torch does the rest in the better layout."""

import torch
from torch import Tensor, nn

from difflogic_tonic.nets.spiking import conv_columns, spike_conv_cpu

FEW_TAPS = 4
"""Below so many weights for a channel, packing spikes costs more than the lookup saves."""

CACHED = 10 << 20
"""Bytes of weights up to which the lookup pays; those of 512 channels, and no more has been measured."""

WIDE = 16
"""Channels from which a change of layout pays: 16 numbers are the widest vector of a CPU."""


class SpikeConv2d(nn.Conv2d):
    """`nn.Conv2d`, the same up to rounding, faster on the CPU. Which way it takes depends on shapes, and on whether all
    of the input is 0 or 1; a run that is resumed takes the same."""

    timeless = True

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to [N, out_channels, H', W'], there maybe with channels last in memory."""
        if self.fits(x):
            kernel = spike_conv_cpu.find_kernel()
            if not isinstance(kernel, str):
                spikes = spike_conv_cpu.pack_spikes(kernel, x, self.weight, self.pad)
                if spikes is not None:
                    return spike_conv_cpu.convolve(kernel, spikes, x, self.weight, self.bias)
        return self._dense(x)

    def convolve(self, x: Tensor, spikes: spike_conv_cpu.Spikes | None) -> Tensor:
        """`forward` of x that may have been packed."""
        if spikes is None:
            return self._dense(x)
        kernel = spike_conv_cpu.find_kernel()
        assert not isinstance(kernel, str), kernel
        return spike_conv_cpu.convolve(kernel, spikes, x, self.weight, self.bias)

    def _dense(self, x: Tensor) -> Tensor:
        """By torch, in the layout that it is faster in."""
        if x.is_cpu and x.dim() == 4 and self.out_channels >= WIDE and not torch.compiler.is_compiling():
            x = spike_conv_cpu.to_better_layout(x, self.weight)
            if self._has_few_places(x):
                return conv_columns.convolve(x, self.weight, self.bias, self.stride[0], self.pad)
        return super().forward(x)

    def _has_few_places(self, x: Tensor) -> bool:
        if not self._square(x) or self.weight.shape[2] * self.weight.shape[3] < FEW_TAPS:
            return False
        sides = zip(x.shape[2:], self.weight.shape[2:], strict=True)
        rows, columns = ((side + 2 * self.pad - size) // self.stride[0] + 1 for side, size in sides)
        return rows * columns <= conv_columns.MOST_PLACES * self.stride[0] ** 2

    def plain(self, x: Tensor) -> bool:
        """Whether our kernels know such a convolution of frames like x."""
        return self.stride == (1, 1) and self._square(x)

    def _square(self, x: Tensor) -> bool:
        """Whether x is float32 frames, and all that is odd about the convolution its stride, the same both ways."""
        if not x.is_cpu or x.dim() != 4 or torch.compiler.is_compiling():  # an exported graph has no kernel
            return False
        same = self.weight.dtype == x.dtype == torch.float32 and self.weight.is_cpu
        if not same or x.numel() == 0 or torch.is_autocast_enabled("cpu"):
            return False
        simple = self.dilation == (1, 1) and self.groups == 1 and self.padding_mode == "zeros"
        if not simple or isinstance(self.padding, str) or len({*self.padding}) > 1 or len({*self.stride}) > 1:
            return False
        return min(x.shape[2] - self.weight.shape[2], x.shape[3] - self.weight.shape[3]) + 2 * self.pad >= 0

    def fits(self, x: Tensor) -> bool:
        """Whether spikes like x are looked up, that being worth its while."""
        if not self.plain(x):
            return False
        _, _, kernel_rows, kernel_columns = self.weight.shape
        small = kernel_rows * kernel_columns >= FEW_TAPS and self.weight.numel() * 4 <= CACHED
        return small and kernel_columns <= spike_conv_cpu.MOST_COLUMNS and self.out_channels >= WIDE

    @property
    def pad(self) -> int:
        assert not isinstance(self.padding, str), self.padding
        return self.padding[0]
