"""Convolutional logic trees with OR-pooling (Petersen et al. 2024, arXiv 2411.04732).

A channel of a layer is one complete binary tree of logic neurons over a few taps of the receptive field, the same at
every position; 2x2 pooling takes the largest value, which is OR on bits. Plain torch here is the reference; `conv_cpu`
has the same in C.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from difflogic_tonic.errors import ConfigError
from difflogic_tonic.nets.logic.gates import bilinear
from difflogic_tonic.nets.logic.layer import LogicNeurons

MAX_TREE_DEPTH = 4
POOL_GATES = 3
"""Gates of two inputs that make one OR of four."""

Shape = tuple[int, int, int]
"""Channels, rows, columns."""


class LogicConv(LogicNeurons):
    """Images [batch, channels, rows, columns], values in [0, 1], to one value per tree and position, in [0, 1].

    A tree of depth d has 2^d leaves and 2^d - 1 neurons. `taps` int32[out_channels, 2^d, 3], a buffer: input channel,
    row and column in the receptive field of each leaf. `weight` [out_channels * (2^d - 1), 16 | 4], tree by tree: first
    the neurons that read leaves (neuron i leaves 2i and 2i + 1), then those that read them, the root last. Stride is 1;
    what lies outside of the image is 0. `pool`: the largest of each 2x2 block, a last odd row or column left out.
    """

    taps: Tensor

    def __init__(
        self,
        input_shape: Shape,
        out_channels: int,
        *,
        tree_depth: int = 3,
        kernel_size: int = 3,
        padding: int = 1,
        tree_channels: int = 2,
        pool: bool = True,
        parametrization: str = "raw",
        estimator: str = "soft",
        init: str = "residual",
        generator: torch.Generator,
    ) -> None:
        check_trees(input_shape, out_channels, tree_depth, kernel_size, padding, tree_channels, pool)
        super().__init__(
            out_channels * (2**tree_depth - 1),
            parametrization=parametrization,
            estimator=estimator,
            init=init,
            generator=generator,
        )
        self.input_shape = input_shape
        self.out_channels = out_channels
        self.tree_depth = tree_depth
        self.kernel_size = kernel_size
        self.padding = padding
        self.pool = pool
        taps = draw_taps(input_shape[0], out_channels, tree_depth, kernel_size, tree_channels, generator)
        self.register_buffer("taps", taps)

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of positions at which trees are evaluated: those that no pooling block holds are not."""
        sides = (side + 2 * self.padding - self.kernel_size + 1 for side in self.input_shape[1:])
        rows, columns = (side // 2 * 2 if self.pool else side for side in sides)
        return rows, columns

    @property
    def output_shape(self) -> Shape:
        rows, columns = self.grid
        return (self.out_channels, rows // 2, columns // 2) if self.pool else (self.out_channels, rows, columns)

    @property
    def circuit_gates(self) -> int:
        rows, columns = self.grid
        channels, pooled_rows, pooled_columns = self.output_shape
        pooling = POOL_GATES * channels * pooled_rows * pooled_columns if self.pool else 0
        return self.neurons * rows * columns + pooling

    def forward(self, x: Tensor) -> Tensor:
        """x [batch, *input_shape], floating (taken as it is) or integer/bool (above zero is 1), to output_shape."""
        assert x.shape[1:] == self.input_shape, (x.shape, self.input_shape)
        x = (x if x.is_floating_point() else x > 0).to(self.weight.dtype)
        rows, columns = self.grid
        values = F.pad(x, (self.padding,) * 4).permute(1, 2, 3, 0).flatten(0, 2)
        values = values.index_select(0, self._leaf_rows()).view(self.out_channels, 2**self.tree_depth, -1)
        coefficients = self.coefficients().unflatten(0, (self.out_channels, -1))
        first = 0
        for level in range(self.tree_depth - 1, -1, -1):
            level_coefficients = coefficients[:, first : first + 2**level].flatten(0, 1)
            a, b = values[:, 0::2].flatten(0, 1), values[:, 1::2].flatten(0, 1)
            values = bilinear(level_coefficients, a, b).unflatten(0, (self.out_channels, 2**level))
            first += 2**level
        images = values.view(self.out_channels, rows, columns, -1).permute(3, 0, 1, 2)
        return F.max_pool2d(images, 2) if self.pool else images.contiguous()

    def check_inputs(self) -> None:
        """ConfigError where a tap is outside of the receptive field: the state of another network was loaded."""
        low = self.taps.amin((0, 1)).tolist()
        high = self.taps.amax((0, 1)).tolist()
        bounds = (self.input_shape[0], self.kernel_size, self.kernel_size)
        if min(low) < 0 or any(value >= bound for value, bound in zip(high, bounds, strict=True)):
            raise ConfigError(f"taps read {low} to {high} where there are [0, 0, 0] to {[n - 1 for n in bounds]}")

    def _leaf_rows(self) -> Tensor:
        """int64[out_channels * leaves * positions]: channel, row and column in the padded image as one number."""
        _, height, width = (side + 2 * self.padding for side in self.input_shape)
        channel, y, x = self.taps.long().flatten(0, 1).t()
        rows, columns = (torch.arange(side, device=self.taps.device) for side in self.grid)
        corner = (channel * height + y) * width + x
        return (corner[:, None, None] + rows[:, None] * width + columns).flatten()

    def extra_repr(self) -> str:
        shapes = " -> ".join("x".join(map(str, shape)) for shape in (self.input_shape, self.output_shape))
        return f"{shapes}, tree_depth={self.tree_depth}, kernel_size={self.kernel_size}, {self.parametrization}"


def draw_taps(
    in_channels: int,
    out_channels: int,
    tree_depth: int,
    kernel_size: int,
    tree_channels: int,
    generator: torch.Generator,
) -> Tensor:
    """Random taps int32[out_channels, 2^tree_depth, 3]: channel, row, column.

    A tree sees min(tree_channels, in_channels, leaves) different channels, about equally many leaves of each, and no
    tap twice before it has seen all of that channel. Every channel is seen by about equally many trees.
    """
    leaves = 2**tree_depth
    seen = min(tree_channels, in_channels, leaves)
    trees_per_pass = -(-in_channels // seen)
    passes = -(-out_channels // trees_per_pass)
    order = torch.rand(passes, in_channels, generator=generator).argsort(1)
    order = torch.cat((order, order), 1)[:, : trees_per_pass * seen].reshape(-1, seen)[:out_channels]
    area = kernel_size**2
    per_channel = -(-leaves // seen)
    places = torch.rand(out_channels, seen, area, generator=generator).argsort(2)
    places = places.repeat(1, 1, -(-per_channel // area))[:, :, :per_channel]
    taps = torch.stack((order[:, :, None].expand_as(places), places // kernel_size, places % kernel_size), -1)
    taps = taps.transpose(1, 2).flatten(1, 2)[:, :leaves]  # channel by turns, so that what is cut off is balanced too
    shuffle = torch.rand(out_channels, leaves, generator=generator).argsort(1)
    return taps.gather(1, shuffle[:, :, None].expand_as(taps)).to(torch.int32)


def check_trees(
    input_shape: Shape,
    out_channels: int,
    tree_depth: int,
    kernel_size: int,
    padding: int,
    tree_channels: int,
    pool: bool,
) -> None:
    """ConfigError, with numbers that work, for trees that leave channels unread or have no position to be at."""
    if not 1 <= tree_depth <= MAX_TREE_DEPTH:
        raise ConfigError(f"tree_depth {tree_depth}: trees have a depth of 1 to {MAX_TREE_DEPTH}")
    if min(out_channels, kernel_size, tree_channels) < 1 or not 0 <= padding < kernel_size:
        raise ConfigError(
            f"channels {out_channels}, kernel_size {kernel_size}, tree_channels {tree_channels} must be at least 1 and"
            f" padding {padding} from 0 to kernel_size - 1"
        )
    in_channels, *sides = input_shape
    seen = min(tree_channels, in_channels, 2**tree_depth)
    if out_channels * seen < in_channels:
        raise ConfigError(
            f"channels: {out_channels} trees that see {seen} channels each leave some of {in_channels} unread; at least"
            f" {-(-in_channels // seen)} see them all"
        )
    least = (2 if pool else 1) + kernel_size - 1 - 2 * padding
    if min(sides) < least:
        raise ConfigError(
            f"images of {sides[0]}x{sides[1]} are too small for kernel_size {kernel_size}, padding {padding}"
            f"{' and a 2x2 pooling' if pool else ''}, which need {least}x{least}; use fewer channels entries"
        )
