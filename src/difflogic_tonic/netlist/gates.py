"""The sixteen gates of two inputs as numbers that are their truth tables, and what can be computed with them.

Gate g gives 8 f(0,0) + 4 f(0,1) + 2 f(1,0) + f(1,1) = g for inputs (a, b). The order is that of Petersen et al. 2022
(arXiv 2210.08277) and of the networks that are trained.
"""

import numpy as np

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

FALSE, A, B, NOT_B, NOT_A, TRUE = (GATE_NAMES.index(name) for name in ("FALSE", "A", "B", "NOT_B", "NOT_A", "TRUE"))

_ALL = np.arange(16, dtype=np.uint8)

READS_A = ((_ALL >> 2) & 3) != (_ALL & 3)
"""bool[16]: whether the output of a gate can change with a: its half for a = 0 differs from that for a = 1."""

READS_B = ((_ALL >> 1) & 5) != (_ALL & 5)
"""bool[16]: whether the output of a gate can change with b."""

IS_REAL = READS_A & READS_B
"""bool[16]: the ten gates that need both inputs; the others are constants, wires and inverters."""

REAL_GATES: tuple[int, ...] = tuple(int(gate) for gate in np.flatnonzero(IS_REAL))
WIRES = (A, B)
INVERTERS = (NOT_A, NOT_B)
CONSTANTS = (FALSE, TRUE)


def _compositions() -> np.ndarray:
    g, x, y = np.meshgrid(_ALL, _ALL, _ALL, indexing="ij")
    # each bit of x and y is a corner of (p, q); g says which pairs of x and y give 1
    picked = ((8, ~x & ~y), (4, ~x & y), (2, x & ~y), (1, x & y))
    return np.bitwise_or.reduce([np.where(g & bit, corners & 15, 0) for bit, corners in picked]).astype(np.uint8)


COMPOSE = _compositions()
"""uint8[16, 16, 16]: COMPOSE[g, x, y] is the gate h with h(p, q) = g(x(p, q), y(p, q))."""

_F00, _F01, _F10, _F11 = ((_ALL >> shift) & 1 for shift in (3, 2, 1, 0))

POLYNOMIAL = np.stack((_F00, _F00 ^ _F10, _F00 ^ _F01, _F00 ^ _F01 ^ _F10 ^ _F11), 1)
"""uint8[16, 4] of 0/1: gate = c0 ^ c1 a ^ c2 b ^ c3 a b, arithmetic modulo two."""
