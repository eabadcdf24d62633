"""The head of a logic network as gates too: the ones of each class counted, the first class with the most of them.

Counting is a tree of full adders in which the three bits of a weight that are ready first are added first (the order of
three greedy approach, Oklobdzija et al. 1996, doi 10.1109/12.485568); a full adder is five gates. Classes then meet in
a tournament, in which the lower one wins a draw.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from difflogic_tonic.netlist.circuit import Netlist
from difflogic_tonic.netlist.gates import FALSE, GATE_NAMES, TRUE
from difflogic_tonic.netlist.graph import levels_of

AND, NOT_A_AND_B, A_AND_NOT_B, OR, XOR, XNOR = (
    GATE_NAMES.index(name) for name in ("AND", "NOT_A_AND_B", "A_AND_NOT_B", "OR", "XOR", "XNOR")
)


@dataclass(frozen=True)
class Headed:
    """A circuit whose outputs are numbers, the lowest bit first: the class, then the score of each class."""

    netlist: Netlist
    """`classes` is 1; its outputs are the `index_bits` of the class, then `score_bits` for each class."""
    classes: int
    index_bits: int
    score_bits: int

    def read(self, outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Outputs bool[N, all bits] as classes int64[N] and scores int64[N, classes]."""
        index, scores = np.split(outputs.astype(np.int64), [self.index_bits], axis=1)
        scores = scores.reshape(len(outputs), self.classes, self.score_bits)
        return index @ (1 << np.arange(self.index_bits)), scores @ (1 << np.arange(self.score_bits))


def with_head(netlist: Netlist) -> Headed:
    """`netlist` and the gates that count and compare the outputs of its classes; its state is kept.

    The class is the first one with the highest score, as `argmax` says. The head is not simplified.
    """
    gates = _Gates(netlist)
    groups = netlist.outputs.reshape(netlist.classes, -1)
    scores = [gates.count_ones(group) for group in groups.tolist()]
    index_bits = max(1, (netlist.classes - 1).bit_length())
    numbers = [[gates.constant(k >> bit & 1) for bit in range(index_bits)] for k in range(netlist.classes)]
    index = gates.first_highest(list(zip(scores, numbers, strict=True)))
    outputs = np.array([*index, *(bit for score in scores for bit in score)])
    return Headed(gates.with_outputs(outputs), netlist.classes, index_bits, len(scores[0]))


class _Gates:
    """A circuit that grows; every node knows its level."""

    def __init__(self, netlist: Netlist) -> None:
        self.netlist = netlist
        levels = levels_of(netlist.n_inputs, netlist.a, netlist.b)
        self.levels = [0] * netlist.n_inputs + levels.tolist()
        self.rows: list[tuple[int, int, int]] = []
        self.constants: dict[int, int] = {}

    def add(self, gate: int, a: int, b: int) -> int:
        self.rows.append((gate, a, b))
        self.levels.append(1 + max(self.levels[a], self.levels[b]))
        return len(self.levels) - 1

    def constant(self, bit: int) -> int:
        if bit not in self.constants:
            self.constants[bit] = self.add(TRUE if bit else FALSE, 0, 0)
        return self.constants[bit]

    def count_ones(self, nodes: Sequence[int]) -> list[int]:
        """The number of ones among `nodes` in binary, `len(nodes).bit_length()` bits."""
        columns: list[list[tuple[int, int]]] = [[] for _ in range(len(nodes).bit_length() + 1)]
        columns[0] = [(self.levels[node], node) for node in nodes]
        for column, carries in pairwise(columns):
            heapq.heapify(column)
            while len(column) > 1:
                bits = [heapq.heappop(column)[1] for _ in range(min(3, len(column)))]
                total, carry = self._add_bits(*bits)
                heapq.heappush(column, (self.levels[total], total))
                carries.append((self.levels[carry], carry))
        # the carries out of the last column are zero: the sum cannot be more than the number of nodes
        return [column[0][1] if column else self.constant(0) for column in columns[:-1]]

    def _add_bits(self, a: int, b: int, c: int | None = None) -> tuple[int, int]:
        """Sum and carry of two or three bits."""
        either, both = self.add(XOR, a, b), self.add(AND, a, b)
        if c is None:
            return either, both
        return self.add(XOR, either, c), self.add(OR, both, self.add(AND, either, c))

    def first_highest(self, entries: list[tuple[list[int], list[int]]]) -> list[int]:
        """Of (score, label) pairs, both as bits from the lowest, the label of the first of the highest scores."""
        while len(entries) > 1:
            pairs = zip(entries[0::2], entries[1::2], strict=False)
            rest = entries[len(entries) // 2 * 2 :]
            entries = [self._higher(left, right) for left, right in pairs] + rest
        return entries[0][1]

    def _higher(
        self, left: tuple[list[int], list[int]], right: tuple[list[int], list[int]]
    ) -> tuple[list[int], list[int]]:
        """The right entry if its score is higher, else the left one."""
        above = self._is_above(right[0], left[0])
        score, label = (
            [self._choose(above, yes, no) for yes, no in zip(rights, lefts, strict=True)]
            for rights, lefts in zip(right, left, strict=True)
        )
        return score, label

    def _choose(self, condition: int, yes: int, no: int) -> int:
        return self.add(OR, self.add(AND, condition, yes), self.add(NOT_A_AND_B, condition, no))

    def _is_above(self, a: Sequence[int], b: Sequence[int]) -> int:
        """Whether number `a` is larger than `b`: (above, equal) of each bit, joined in pairs from the highest down."""
        parts = [
            (self.add(A_AND_NOT_B, x, y), self.add(XNOR, x, y)) for x, y in zip(reversed(a), reversed(b), strict=True)
        ]
        while len(parts) > 1:
            joined = [
                (self.add(OR, high[0], self.add(AND, high[1], low[0])), self.add(AND, high[1], low[1]))
                for high, low in zip(parts[0::2], parts[1::2], strict=False)
            ]
            parts = joined + parts[len(parts) // 2 * 2 :]
        return parts[0][0]

    def with_outputs(self, outputs: np.ndarray) -> Netlist:
        before = self.netlist
        added = np.array(self.rows, np.int64).reshape(-1, 3).T
        gates, a, b = (np.concatenate(pair) for pair in zip((before.gates, before.a, before.b), added, strict=True))
        return Netlist(before.n_inputs, gates, a, b, outputs, classes=1, next_state=before.next_state)
