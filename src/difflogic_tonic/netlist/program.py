"""A netlist as a stream of instructions for the C evaluator: kernel/program.h says what they are.

Gates of one kind and level stand together, so that the evaluator decides once for all of them what to compute. Gates
that only outputs read come last, in the order of the classes: they are counted while they are still in the cache.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from difflogic_tonic.netlist.circuit import Netlist
from difflogic_tonic.netlist.gates import INVERTERS, NOT_A
from difflogic_tonic.netlist.graph import levels_of

SUM, STATE = 16, 17

COUNTED_AT_ONCE = 256
"""Outputs of a class whose gates stand together: at 64 bytes each they fit the nearest cache."""

MAX_DEPTH = 32


@dataclass(frozen=True)
class Program:
    """Instructions with nodes where the evaluator has rows. `depth` is the number of bits of a score."""

    words: NDArray[np.int32]
    depth: int


def to_program(netlist: Netlist) -> Program:
    """Instructions for every gate that matters; a simplified netlist gives the shortest program.

    Inverters that only outputs read are no instructions: the count takes the complement of what they invert.
    """
    outputs, inverted = _without_inverters(netlist)
    chunks = _chunks(len(outputs), netlist.classes)
    rows = _needed(netlist, outputs)
    section = _sections(netlist, rows, outputs, chunks)
    order = np.lexsort((netlist.a[rows], netlist.gates[rows], section))
    rows, section = rows[order], section[order]
    starts = np.flatnonzero(np.diff(section * 16 + netlist.gates[rows], prepend=-1))
    runs = list(zip(starts.tolist(), [*starts[1:].tolist(), len(rows)], strict=True)) if len(rows) else []
    parts: list[np.ndarray] = []
    last_plain = int(section[section < chunks.first].max(initial=-1))
    done = 0
    for chunk in range(-1, chunks.n):
        limit = last_plain if chunk < 0 else chunks.first + chunk
        while done < len(runs) and section[runs[done][0]] <= limit:
            parts += _gates(netlist, rows[slice(*runs[done])])
            done += 1
        if chunk >= 0:
            parts += _count(outputs, inverted, chunks.entries(chunk), chunks.class_of(chunk))
    assert done == len(runs), (done, len(runs))
    if netlist.n_state:
        parts += [np.array([STATE, netlist.n_state]), netlist.next_state]
    depth = (netlist.n_outputs // netlist.classes).bit_length()
    if depth > MAX_DEPTH:
        raise ValueError(f"{netlist.n_outputs // netlist.classes} outputs per class, expected fewer than 2^{MAX_DEPTH}")
    return Program(np.concatenate(parts).astype(np.int32), depth)


def instructions(words: NDArray[np.int32]) -> Iterator[tuple[int, NDArray[np.int32]]]:
    """Kind and arguments of every instruction. Gates: (a, b, row) one after the other; SUM: class, n, m, rows."""
    at = 0
    while at < len(words):
        kind = int(words[at])
        if kind == SUM:
            end = at + 4 + int(words[at + 2]) + int(words[at + 3])
            yield kind, words[at + 1 : end]
        else:
            end = at + 2 + int(words[at + 1]) * (1 if kind == STATE else 3)
            yield kind, words[at + 2 : end]
        at = end


def assign_rows(program: Program, netlist: Netlist) -> tuple[NDArray[np.int32], int]:
    """Instructions with rows instead of nodes, and how many rows there are. The same as assign.c, to the number.

    Node i of the inputs is row i. A row is given to the next gate as soon as its last reader has run, the one that was
    freed last first: it is still in the nearest cache.
    """
    words = program.words.copy()
    uses = [0] * netlist.n_nodes
    for kind, arguments in instructions(words):
        for node in _read(kind, arguments).ravel().tolist():
            uses[node] += 1
    rows = netlist.n_inputs
    row = list(range(netlist.n_nodes))
    vacant = [node for node in reversed(range(netlist.n_inputs)) if not uses[node]]
    for kind, arguments in instructions(words):
        read = _read(kind, arguments)
        for at, nodes in enumerate(read.reshape(len(read), -1).tolist()):
            for pin, node in enumerate(nodes):
                read.reshape(len(read), -1)[at, pin] = row[node]
                uses[node] -= 1
                if not uses[node]:
                    vacant.append(row[node])
            if kind < SUM:
                written = int(arguments[3 * at + 2])
                row[written] = vacant.pop() if vacant else rows
                rows += row[written] == rows
                arguments[3 * at + 2] = row[written]
    return words, rows


def _read(kind: int, arguments: np.ndarray) -> np.ndarray:
    """The nodes that an instruction reads, as a view: [gates, 2] or [rows]."""
    return arguments.reshape(-1, 3)[:, :2] if kind < SUM else arguments[3 if kind == SUM else 0 :]


@dataclass(frozen=True)
class _Chunks:
    """Outputs in groups: up to COUNTED_AT_ONCE neighbours of one class. `first`: the section of the first chunk."""

    per_class: int
    per_class_chunks: int
    n: int
    first: int = 2**40

    def class_of(self, chunk: int) -> int:
        return chunk // self.per_class_chunks

    def entries(self, chunk: int) -> slice:
        start = self.class_of(chunk) * self.per_class
        begin = start + chunk % self.per_class_chunks * COUNTED_AT_ONCE
        return slice(begin, min(begin + COUNTED_AT_ONCE, start + self.per_class))

    def of(self, entries: np.ndarray) -> np.ndarray:
        """Chunks of outputs given by their numbers."""
        return entries // self.per_class * self.per_class_chunks + entries % self.per_class // COUNTED_AT_ONCE


def _chunks(n_outputs: int, classes: int) -> _Chunks:
    per_class = n_outputs // classes
    per_class_chunks = -(-per_class // COUNTED_AT_ONCE)
    return _Chunks(per_class, per_class_chunks, classes * per_class_chunks)


def _without_inverters(netlist: Netlist) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """The nodes of the outputs, or what they invert, and whether they do."""
    outputs = netlist.outputs.copy()
    gates = np.flatnonzero(outputs >= netlist.n_inputs)
    rows = outputs[gates] - netlist.n_inputs
    inverters = np.isin(netlist.gates[rows], INVERTERS)
    gates, rows = gates[inverters], rows[inverters]
    outputs[gates] = np.where(netlist.gates[rows] == NOT_A, netlist.a[rows], netlist.b[rows])
    inverted = np.zeros(len(outputs), bool)
    inverted[gates] = True
    return outputs, inverted


def _needed(netlist: Netlist, outputs: np.ndarray) -> NDArray[np.int64]:
    """Rows of the gates that an output or the next state depends on, through whatever pins."""
    needed = np.zeros(netlist.n_nodes, bool)
    needed[outputs] = needed[netlist.next_state] = True
    for rows in reversed(netlist.batches):
        rows = rows[needed[netlist.n_inputs + rows]]
        needed[netlist.a[rows]] = needed[netlist.b[rows]] = True
    return np.flatnonzero(needed[netlist.n_inputs :])


def _sections(netlist: Netlist, rows: np.ndarray, outputs: np.ndarray, chunks: _Chunks) -> NDArray[np.int64]:
    """The level of a gate, or, where only outputs read it, `first` and the first chunk of outputs that does."""
    read = np.zeros(netlist.n_nodes, bool)
    read[netlist.a[rows]] = read[netlist.b[rows]] = read[netlist.next_state] = True
    chunk_of = np.zeros(netlist.n_nodes, np.int64)
    backwards = np.arange(len(outputs))[::-1]
    chunk_of[outputs[backwards]] = chunks.of(backwards)  # of several the last assignment stays: the first output
    nodes = netlist.n_inputs + rows
    levels = levels_of(netlist.n_inputs, netlist.a, netlist.b)[rows]
    return np.where(read[nodes], levels, chunks.first + chunk_of[nodes])


def _gates(netlist: Netlist, rows: np.ndarray) -> list[np.ndarray]:
    pins = np.stack((netlist.a[rows], netlist.b[rows], netlist.n_inputs + rows), 1)
    return [np.array([netlist.gates[rows[0]], len(rows)]), pins.ravel()]


def _count(outputs: np.ndarray, inverted: np.ndarray, entries: slice, label: int) -> list[np.ndarray]:
    nodes, flipped = outputs[entries], inverted[entries]
    head = np.array([SUM, label, (~flipped).sum(), flipped.sum()])
    return [head, nodes[~flipped], nodes[flipped]]
