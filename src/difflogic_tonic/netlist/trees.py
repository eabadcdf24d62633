"""The circuit of a convolutional logic network: trees at every position, ORs of four, then dense layers."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from difflogic_tonic.netlist.circuit import Netlist
from difflogic_tonic.netlist.gates import FALSE, GATE_NAMES

OR = GATE_NAMES.index("OR")


@dataclass(frozen=True)
class TreeLayer:
    """Trees of two-input gates, the same at every position of an image (stride 1).

    gates    int[channels, leaves - 1]   gate n reads slots 2n and 2n + 1 and is slot leaves + n; slots below are leaves
    taps     int[channels, leaves, 3]    input channel, row and column in the receptive field of each leaf
    grid     rows and columns of positions
    padding  pixels of constant 0 around the image
    pool     whether each 2x2 block of a channel becomes one OR; the grid is even then
    """

    gates: np.ndarray
    taps: np.ndarray
    grid: tuple[int, int]
    padding: int
    pool: bool


class _Columns:
    """Gates in the order in which they are added."""

    def __init__(self, n_inputs: int) -> None:
        self.end = n_inputs
        self.parts: list[tuple[np.ndarray, ...]] = []

    def add(self, gates: np.ndarray | int, a: np.ndarray, b: np.ndarray) -> NDArray[np.int64]:
        """Nodes of new gates that read nodes a and b of one shape; `gates` has that shape or extends to it."""
        self.parts.append((np.broadcast_to(gates, a.shape).ravel(), a.ravel(), b.ravel()))
        nodes = self.end + np.arange(a.size).reshape(a.shape)
        self.end += a.size
        return nodes


def netlist_from_trees(
    input_shape: tuple[int, int, int],
    trees: Iterable[TreeLayer],
    dense: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]],
    classes: int,
    tau: float = 1.0,
) -> Netlist:
    """Every tree at every position as gates of its own, then `dense` layers (gates, a, b) as in `netlist_from_layers`.

    Input i is value i of the flattened image [channels, rows, columns]. The first gate is the constant 0 that lies
    around images. ValueError for numbers out of range.
    """
    n_inputs = int(np.prod(input_shape))
    columns = _Columns(n_inputs)
    (zero,) = columns.add(FALSE, np.zeros(1, np.int64), np.zeros(1, np.int64))
    images = np.arange(n_inputs).reshape(input_shape)
    for layer in trees:
        images = _add_layer(columns, layer, images, zero)
    nodes = images.ravel()
    for gates, a, b in dense:
        nodes = columns.add(gates, nodes[a], nodes[b])
    gates, a, b = (np.concatenate(parts) for parts in zip(*columns.parts, strict=True))
    return Netlist(n_inputs, gates, a, b, outputs=nodes, classes=classes, tau=tau)


def _add_layer(columns: _Columns, layer: TreeLayer, images: np.ndarray, zero: np.int64) -> NDArray[np.int64]:
    """Nodes [channels, rows, columns] of the output for those of the input."""
    edge = (layer.padding, layer.padding)
    padded = np.pad(images, ((0, 0), edge, edge), constant_values=zero)
    y, x = (np.arange(side) for side in layer.grid)
    channel, row, column = (part[:, :, None, None] for part in np.moveaxis(layer.taps, 2, 0))
    values = padded[channel, row + y[:, None], column + x]
    first = 0
    while values.shape[1] > 1:
        width = values.shape[1] // 2
        gates = layer.gates[:, first : first + width, None, None]
        values = columns.add(gates, values[:, 0::2], values[:, 1::2])
        first += width
    channels = values[:, 0]
    if layer.pool:
        rows = columns.add(OR, channels[:, :, 0::2], channels[:, :, 1::2])
        channels = columns.add(OR, rows[:, 0::2], rows[:, 1::2])
    return channels
