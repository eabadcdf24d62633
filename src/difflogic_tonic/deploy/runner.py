"""What an exported circuit is once it was read again."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Runner = Callable[[NDArray[np.bool_]], NDArray[np.int32]]
"""Bits [N, n_bits], or [T, N, n_bits] of a circuit with a state, to scores [N, classes], or [T, N, classes]."""
