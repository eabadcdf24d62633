"""What the Triton kernels need to know of a logic network besides numbers that are trained."""

from dataclasses import dataclass
from types import ModuleType

import torch
from torch import Tensor

WARPS = 4


@dataclass(frozen=True)
class Edges:
    """Who reads each of `in_features` rows, sorted by row, then by neuron: int32 starts[in_features + 1], and per edge
    readers[2n] (2 * neuron, + 1 where it reads the row as b) and others[2n] (the row it reads with its other input)."""

    starts: Tensor
    readers: Tensor
    others: Tensor


@dataclass(frozen=True)
class Tiling:
    """What one program covers: `rows` rows (of `warps` warps together) by `columns` samples, all powers of two."""

    rows: int
    columns: int
    warps: int = WARPS


def edges_of(wiring: Tensor, in_features: int) -> Edges:
    """Derived from a wiring int32[2, n], on its device."""
    rows, order = torch.sort(wiring.t().flatten(), stable=True)  # position 2 * neuron + side
    bounds = torch.arange(in_features + 1, dtype=rows.dtype, device=rows.device)
    others = wiring.flip(0).t().flatten()[order]
    return Edges(torch.searchsorted(rows, bounds, out_int32=True), order.to(torch.int32), others)


def tiling_of(stride: int, storage: torch.dtype) -> Tiling:
    """One warp moves 16 bytes per thread: a row of that many columns, or several shorter rows."""
    per_warp = 32 * 16 // storage.itemsize
    columns = min(1 << (stride - 1).bit_length(), per_warp)
    return Tiling(WARPS * (per_warp // columns), columns)


class Stack:
    """What the kernels need to know besides numbers that are trained; built once and used for many calls.

    `kernels`: from `find_kernel`. `wirings`: per layer int32[2, n], contiguous, indices checked, all on the device of
    the calls. `packed`: inputs are uint8[batch, ceil(in_features / 8)], first feature in the lowest bit. `tiling` None
    is chosen by batch and storage. The edges are derived here: `nbytes` of them stay on the device.
    """

    def __init__(
        self,
        kernels: ModuleType,
        in_features: int,
        wirings: list[Tensor],
        classes: int,
        tau: float,
        *,
        packed: bool = False,
        tiling: Tiling | None = None,
    ) -> None:
        for wiring in wirings:
            assert wiring.is_contiguous()
            assert wiring.dtype == torch.int32, wiring.dtype
        self.kernels = kernels
        self.in_features = in_features
        self.wirings = wirings
        self.classes = classes
        self.tau = tau
        self.packed = packed
        self.tiling = tiling
        self.columns = (in_features + 7) // 8 if packed else in_features
        self.widths = [wiring.shape[1] for wiring in wirings]
        self.ins = [in_features, *self.widths[:-1]]
        self.neurons = sum(self.widths)
        assert self.widths[-1] % classes == 0, (self.widths[-1], classes)
        self.edges = [edges_of(wiring, before) for wiring, before in zip(wirings, self.ins, strict=True)]

    @property
    def group(self) -> int:
        """Neurons per class."""
        return self.widths[-1] // self.classes

    @property
    def nbytes(self) -> int:
        return sum(part.nbytes for edges in self.edges for part in (edges.starts, edges.readers, edges.others))

    def split(self, numbers: Tensor) -> list[Tensor]:
        """[..., all neurons, 4] by layer; views."""
        return list(numbers.split(self.widths, -2))
