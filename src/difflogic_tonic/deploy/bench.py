"""How fast the evaluator runs the circuit of a job, on its own test frames."""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from difflogic_tonic.netlist import Circuit, Engine

AT_ONCE = 8192
"""Frames of a call, at most."""

LEAST_AT_ONCE = 512
BYTES_AT_ONCE = 2**26
"""Frames take no more memory than this, but where there are LEAST_AT_ONCE."""

LEAST_SECONDS = 0.3
"""Each measurement repeats its call for so long."""


@dataclass(frozen=True)
class Rate:
    """`seconds` of the fastest call for `samples`."""

    name: str
    samples: int
    seconds: float


def frames_at_once(n_bits: int) -> int:
    """Frames of a call, of so many bits each."""
    return min(AT_ONCE, max(LEAST_AT_ONCE, BYTES_AT_ONCE // n_bits))


def first_frames(batches: Iterable[NDArray[np.bool_]], n_bits: int) -> NDArray[np.bool_]:
    """The first of batches [N, n_bits] or [T, N, n_bits], `frames_at_once` or all; no batch is taken beyond those."""
    wanted, found, n = frames_at_once(n_bits), [np.zeros((0, n_bits), bool)], 0
    for bits in batches:
        # a copy, or a part of a batch would keep the whole of it
        found.append(bits.reshape(-1, n_bits)[: wanted - n].copy())
        n += len(found[-1])
        if n == wanted:
            break
    return np.concatenate(found)


def rates(circuit: Circuit, bits: NDArray[np.bool_], threads: int) -> Iterator[Rate]:
    """Of samples bits bool[N, n_bits], or frames of as many sequences with a state: from bytes, packed, one at a time.

    Of `frames_at_once`; fewer are repeated to as many.
    """
    n_frames = frames_at_once(bits.shape[1])
    bits = np.ascontiguousarray(np.resize(bits, (n_frames, bits.shape[1])))
    packed = np.packbits(bits, axis=1, bitorder="little")
    for n in (1, threads) if threads > 1 else (1,):
        engine = Engine(circuit.netlist, threads=n)
        suffix = f", {n} threads" if n > 1 else ""
        yield Rate(f"packed frames{suffix}", n_frames, fastest(partial(engine.scores, packed, "packed")))
        yield Rate(f"frames of bytes{suffix}", n_frames, fastest(partial(engine.scores, bits)))
    yield Rate("one packed frame", 1, fastest(partial(engine.answers, packed[:1], "packed")))


def fastest(call: Callable[[], object]) -> float:
    """Seconds of the fastest of several calls, after one that is not measured."""
    call()
    best, until = float("inf"), time.perf_counter() + LEAST_SECONDS
    while time.perf_counter() < until:
        started = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - started)
    return best


def build_seconds(circuit: Circuit) -> float:
    """Seconds from a netlist to an evaluator, the library being loaded."""
    return fastest(lambda: Engine(circuit.netlist))


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
