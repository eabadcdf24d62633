"""Convolutions of spiking networks: on a CPU spikes are looked up, and torch does the rest in the better layout."""

import torch
from torch import Tensor, nn

from difflogic_tonic.nets.spiking import spike_conv_cpu

FEW_TAPS = 4
"""Below so many weights for a channel, packing spikes costs more than the lookup saves."""

CACHED = 1 << 20
"""Bytes of weights up to which the lookup pays; of more, the tables and sums of gradients leave the cache."""

LAST = 3 << 20
"""Bytes of weights up to which torch's convolution is faster with the channels of a pixel side by side."""

WIDE = 16
"""Channels from which it is, and the change of layout pays: 16 numbers are the widest vector of a CPU."""


class SpikeConv2d(nn.Conv2d):
    """`nn.Conv2d`, the same up to rounding, faster on the CPU. Which way it takes depends on shapes, and on whether all
    of the input is 0 or 1; a run that is resumed takes the same."""

    timeless = True

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to [N, out_channels, H', W'], there maybe with channels last in memory."""
        if not x.is_cpu or x.dim() != 4 or torch.compiler.is_compiling():  # an exported graph has no kernel
            return super().forward(x)
        if self._fits(x):
            kernel = spike_conv_cpu.find_kernel()
            spikes = (
                None if isinstance(kernel, str) else spike_conv_cpu.pack_spikes(kernel, x, self.weight, self._pad())
            )
            if spikes is not None and not isinstance(kernel, str):
                return spike_conv_cpu.convolve(kernel, spikes, x, self.weight, self.bias)
        weights = self.weight.numel() * self.weight.element_size()
        if self.out_channels >= WIDE:
            x = x.contiguous(memory_format=torch.channels_last if weights <= LAST else torch.contiguous_format)
        return super().forward(x)

    def _fits(self, x: Tensor) -> bool:
        """Whether the kernel takes frames like x, and is worth its while."""
        _, _, kernel_rows, kernel_columns = self.weight.shape
        same = self.weight.dtype == x.dtype == torch.float32 and self.weight.is_cpu
        if not same or x.numel() == 0 or torch.is_autocast_enabled("cpu"):
            return False
        plain = self.stride == (1, 1) and self.dilation == (1, 1) and self.groups == 1 and self.padding_mode == "zeros"
        if not plain or isinstance(self.padding, str) or len(set(self.padding)) > 1:
            return False
        room = min(x.shape[2] - kernel_rows, x.shape[3] - kernel_columns) + 2 * self._pad() >= 0
        small = kernel_rows * kernel_columns >= FEW_TAPS and self.weight.numel() * 4 <= CACHED
        return room and small and kernel_columns <= spike_conv_cpu.MOST_COLUMNS and self.out_channels >= WIDE

    def _pad(self) -> int:
        assert not isinstance(self.padding, str), self.padding
        return self.padding[0]
