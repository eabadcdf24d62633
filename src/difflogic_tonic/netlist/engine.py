"""The fast evaluator: a circuit on many samples at once, in C, without compiling anything for it.

It is an interpreter. One instruction computes a gate for 512 samples, so reading instructions costs nothing beside it;
what costs is moving rows of bits between caches, and the order of the gates and the reuse of rows are chosen for that.
"""

import ctypes
import threading
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from difflogic_tonic.netlist.circuit import Netlist
from difflogic_tonic.netlist.evaluate import class_scores
from difflogic_tonic.netlist.library import LEVELS, Evaluation, find_library, levels_here
from difflogic_tonic.netlist.program import to_program
from difflogic_tonic.netlist.simplify import simplify
from difflogic_tonic.netlist.steps import step

WIDE, NARROW = 512, 64
"""Samples of a row. Few samples fill narrow rows, which take less time."""

Form = Literal["bytes", "packed", "planes"]
_FORMS: tuple[Form, ...] = ("bytes", "packed", "planes")


@dataclass(frozen=True)
class State:
    """What N sequences hand from one step to the next. `bits` is the evaluator's own layout."""

    n: int
    bits: np.ndarray


class Engine:
    """A netlist made ready for evaluation.

    level    one of `levels_here`; None: the best one. `plain` is on every machine
    threads  at most so many work on a call; the results are the same for any number

    Where the C library cannot be had, numpy computes the same, and one line has said so; `level` is "numpy" then.
    Calls from several threads of Python take turns.
    """

    def __init__(self, netlist: Netlist, level: str | None = None, threads: int = 1) -> None:
        self.netlist = simplify(netlist)
        self.threads = threads
        self._library = None if level == "numpy" else find_library()
        if self._library is None:
            self.level = "numpy"
            return
        here = levels_here(self._library)
        self.level = here[-1] if level is None else level
        if self.level not in here:
            raise ValueError(f"level {level}, expected one of {', '.join(here)}")
        program = to_program(self.netlist)
        self._words = np.ascontiguousarray(program.words)
        uses = np.zeros(self.netlist.n_nodes, np.int32)
        rows = self._library.netlist_assign(
            self._words.ctypes.data, len(self._words), netlist.n_inputs, self.netlist.n_nodes,
            uses.ctypes.data_as(ctypes.POINTER(ctypes.c_int32)),
        )  # fmt: skip
        if not rows:
            raise MemoryError(f"no memory for a circuit of {self.netlist.n_nodes} nodes")
        self.rows, self._depth = rows, program.depth
        self._memory = np.zeros(0, np.uint64)
        self._turn = threading.Lock()

    @property
    def n_bits(self) -> int:
        """Bits of a frame: inputs without the state."""
        return self.netlist.n_inputs - self.netlist.n_state

    def scores(self, inputs: np.ndarray, form: Form = "bytes", n: int | None = None) -> NDArray[np.int32]:
        """Number of ones among the outputs of each class, int32[N, classes], with the state at 0.

        inputs: see `form`.

        bytes   [N, n_bits], anything but 0 is a one; bool and 8-bit integers are read as they are
        packed  uint8[N, ceil(n_bits / 8)], bit i % 8 (from the lowest) of byte i // 8: as in a bit-packed frame cache
        planes  uint64[blocks, n_bits, 8] of `n` samples: sample s of a block is bit s % 64 of word s // 64
        """
        return self._run(inputs, form, n, None, answers=False)[0]

    def answers(self, inputs: np.ndarray, form: Form = "bytes", n: int | None = None) -> NDArray[np.int32]:
        """The first class with the highest score, int32[N]. Inputs as in `scores`; takes less time than it."""
        return self._run(inputs, form, n, None, answers=True)[0]

    def step(
        self, frames: np.ndarray, state: State | None = None, form: Form = "bytes"
    ) -> tuple[NDArray[np.int32], State]:
        """Scores int32[N, classes] of one step of N sequences, and the state after it. `state`: None at the first."""
        return self._run(frames, form, None, state, answers=False)

    def step_scores(self, inputs: np.ndarray, form: Form = "bytes") -> NDArray[np.int32]:
        """Scores of every step, int32[T, N, classes], of inputs [T, N, …]."""
        found = np.empty((len(inputs), inputs.shape[1], self.netlist.classes), np.int32)
        state = None
        for t, frames in enumerate(inputs):
            found[t], state = self.step(frames, state, form)
        return found

    def _run(
        self, inputs: np.ndarray, form: Form, n: int | None, state: State | None, answers: bool
    ) -> tuple[NDArray[np.int32], State]:
        if self._library is None:
            return self._run_numpy(inputs, form, n, state, answers)
        inputs, stride, n = self._checked(inputs, form, n)
        wide = n > NARROW or form == "planes"
        blocks, row = -(-n // (WIDE if wide else NARROW)), 8 if wide else 1
        shape = (blocks, self.netlist.n_state, row)
        if state is not None and (state.n, state.bits.shape) != (n, shape):
            raise ValueError(f"a state of {state.n} sequences for {n}")
        after = np.empty(shape, np.uint64)
        found = np.empty(n if answers else (n, self.netlist.classes), np.int32)
        call = Evaluation(
            level=LEVELS.index(self.level), wide=wide, threads=max(1, min(self.threads, blocks)), samples=n,
            inputs=self.n_bits, state=self.netlist.n_state, classes=self.netlist.classes, depth=self._depth,
            rows=self.rows, words=len(self._words), program=self._words.ctypes.data,
            form=_FORMS.index(form), stride=stride, frames=inputs.ctypes.data,
            state_before=None if state is None else state.bits.ctypes.data, state_after=after.ctypes.data,
            **{"answers" if answers else "scores": found.ctypes.data},
        )  # fmt: skip
        with self._turn:
            call.memory = self._memory_for(self._library.netlist_block_words(call) * call.threads)
            self._library.netlist_run(call)
        return found, State(n, after)

    def _memory_for(self, words: int) -> int:
        """Address of so many words, at a multiple of 64 bytes."""
        if len(self._memory) < words + 8:
            self._memory = np.empty(words + 8, np.uint64)
        address: int = self._memory.ctypes.data
        return (address + 63) // 64 * 64

    def _checked(self, inputs: np.ndarray, form: Form, n: int | None) -> tuple[np.ndarray, int, int]:
        """Inputs with samples of adjacent bytes, the bytes from one to the next, and the number of samples."""
        if form == "planes":
            blocks = -(-n // WIDE) if n is not None else -1
            if inputs.dtype != np.uint64 or inputs.shape != (blocks, self.n_bits, WIDE // 64):
                raise ValueError(
                    f"planes of {n} samples must be uint64 [{blocks}, {self.n_bits}, {WIDE // 64}],"
                    f" not {inputs.dtype} {list(inputs.shape)}"
                )
            assert n is not None
            return np.ascontiguousarray(inputs), 0, n
        width = -(-self.n_bits // 8) if form == "packed" else self.n_bits
        if inputs.ndim != 2 or inputs.shape[1] != width or (form == "packed" and inputs.dtype != np.uint8):
            kind = "packed uint8" if form == "packed" else "samples"
            raise ValueError(f"inputs must be {kind} [N, {width}], not {inputs.dtype} {list(inputs.shape)}")
        if inputs.dtype.itemsize != 1:
            inputs = inputs != 0
        if inputs.strides[1] != 1 or inputs.strides[0] < width:
            inputs = np.ascontiguousarray(inputs)
        return inputs, inputs.strides[0], len(inputs)

    def _run_numpy(
        self, inputs: np.ndarray, form: Form, n: int | None, state: State | None, answers: bool
    ) -> tuple[NDArray[np.int32], State]:
        bits = _to_bits(inputs, form, self.n_bits, n)
        if self.netlist.n_state:
            outputs, after = step(self.netlist, bits, None if state is None else state.bits)
            share = self.netlist.n_outputs // self.netlist.classes
            found = outputs.reshape(len(bits), self.netlist.classes, share).sum(2, dtype=np.int32)
        else:
            found, after = class_scores(self.netlist, bits), np.zeros((len(bits), 0), bool)
        return found.argmax(1).astype(np.int32) if answers else found, State(len(bits), after)


def to_planes(bits: np.ndarray) -> NDArray[np.uint64]:
    """[N, n], anything but 0 is a one, to planes uint64[blocks, n, 8] for `Engine`; samples beyond N are 0."""
    n, width = bits.shape
    blocks = -(-n // WIDE)
    octets = np.zeros((blocks * WIDE, width), bool)
    octets[:n] = bits != 0
    by_block = octets.reshape(blocks, WIDE, width).transpose(0, 2, 1)
    packed = np.packbits(by_block, axis=2, bitorder="little")
    return np.ascontiguousarray(packed).view("<u8").astype(np.uint64, copy=False)


def _to_bits(inputs: np.ndarray, form: Form, width: int, n: int | None) -> np.ndarray:
    if form == "packed":
        return np.unpackbits(inputs, axis=1, count=width, bitorder="little").view(bool)
    if form == "planes":
        octets = np.ascontiguousarray(inputs.astype("<u8", copy=False)).view(np.uint8)
        return np.unpackbits(octets, axis=2, bitorder="little").transpose(0, 2, 1).reshape(-1, width)[:n].view(bool)
    return inputs
