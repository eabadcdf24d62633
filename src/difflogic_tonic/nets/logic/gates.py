"""The sixteen gates of two inputs, and the four numbers that are enough for each.

On a, b in [0, 1] every gate is the bilinear form

    c0 + c1 a + c2 b + c3 a b

which takes the gate's truth table at the four corners. A mean of gates has the mean of their coefficients, so a neuron
that weighs all sixteen costs one such form, not sixteen (Petersen et al. 2022, arXiv 2210.08277, order of the gates).
"""

import torch
from torch import Tensor

GATE_NAMES: tuple[str, ...] = (
    "FALSE",
    "AND",
    "A_AND_NOT_B",
    "A",
    "NOT_A_AND_B",
    "B",
    "XOR",
    "OR",
    "NOR",
    "XNOR",
    "NOT_B",
    "A_OR_NOT_B",
    "NOT_A",
    "NOT_A_OR_B",
    "NAND",
    "TRUE",
)
"""Gate g gives 8 f(0,0) + 4 f(0,1) + 2 f(1,0) + f(1,1) = g: its number is its truth table."""

PASS_A = GATE_NAMES.index("A")

USES_A: tuple[bool, ...] = tuple((g >> 3 & 1) != (g >> 1 & 1) or (g >> 2 & 1) != (g & 1) for g in range(16))
"""Whether the output of a gate can change with a."""

USES_B: tuple[bool, ...] = tuple((g >> 3 & 1) != (g >> 2 & 1) or (g >> 1 & 1) != (g & 1) for g in range(16))


def corners_to_coefficients(corners: Tensor) -> Tensor:
    """f(0,0), f(0,1), f(1,0), f(1,1) in the last axis [..., 4] to c0, c1, c2, c3 [..., 4]."""
    f00, f01, f10, f11 = corners.unbind(-1)
    return torch.stack((f00, f10 - f00, f01 - f00, f11 - f10 - f01 + f00), -1)


def gate_corners(dtype: torch.dtype = torch.float32, device: torch.device | None = None) -> Tensor:
    """Truth tables of the sixteen gates: 0/1 [16, 4], corners 00, 01, 10, 11 of (a, b)."""
    numbers = torch.arange(16, device=device)
    shifts = torch.arange(3, -1, -1, device=device)  # not from a list: a CUDA graph cannot hold that copy
    return ((numbers[:, None] >> shifts) & 1).to(dtype)


def gate_coefficients(dtype: torch.dtype = torch.float32, device: torch.device | None = None) -> Tensor:
    """Coefficients of the sixteen gates [16, 4]: small integers, exact in every float type."""
    return corners_to_coefficients(gate_corners(dtype, device))


def bilinear(coefficients: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """c0 + c1 a + c2 b + c3 a b for coefficients [n, 4] and inputs [n, batch]; result [n, batch]."""
    c0, c1, c2, c3 = coefficients.unsqueeze(-1).unbind(1)
    return (c0 + c1 * a) + b * (c2 + c3 * a)
