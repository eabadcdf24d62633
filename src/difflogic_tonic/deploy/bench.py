"""How fast the evaluator runs the circuit of a job, on its own test frames."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from difflogic_tonic.netlist import Circuit, Engine

AT_ONCE = 8192
"""Samples of a call, at most."""

LEAST_SECONDS = 0.3
"""Each measurement repeats its call for so long."""


@dataclass(frozen=True)
class Rate:
    """`seconds` of the fastest call for `samples`."""

    name: str
    samples: int
    seconds: float


def rates(circuit: Circuit, bits: NDArray[np.bool_], threads: int) -> Iterator[Rate]:
    """Of samples bits bool[N, n_bits], or frames of as many sequences with a state: from bytes, packed, one at a time.

    At most AT_ONCE samples; fewer are repeated to as many.
    """
    bits = np.ascontiguousarray(np.resize(bits, (AT_ONCE, bits.shape[1])))
    packed = np.packbits(bits, axis=1, bitorder="little")
    for n in (1, threads) if threads > 1 else (1,):
        engine = Engine(circuit.netlist, threads=n)
        suffix = f", {n} threads" if n > 1 else ""
        yield Rate(f"packed frames{suffix}", AT_ONCE, fastest(partial(engine.scores, packed, "packed")))
        yield Rate(f"frames of bytes{suffix}", AT_ONCE, fastest(partial(engine.scores, bits)))
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
