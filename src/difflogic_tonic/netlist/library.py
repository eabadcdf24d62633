"""The C evaluator of netlists as a library. An installation or an image builds it beforehand:
`python -m difflogic_tonic.netlist.library FOLDER`.
"""

import ctypes
import logging
import sys
from collections.abc import Sequence
from ctypes import POINTER, c_int32, c_int64, c_void_p
from functools import cache
from pathlib import Path

from difflogic_tonic.storage.compiled import CSources, KernelUnavailable

SOURCES = Path(__file__).parent / "kernel"
FLAGS = ("-O3", "-std=gnu11", "-fPIC", "-shared", "-pthread")
CONSEQUENCE = "circuits will be evaluated by numpy, which is slower"

LEVELS: tuple[str, ...] = ("plain", "neon", "avx2", "avx512")
"""Instruction sets, the better ones later, by the numbers that the library has for them."""

log = logging.getLogger(__name__)


class Evaluation(ctypes.Structure):
    """`struct evaluation` of program.h."""

    _fields_ = [
        *((name, c_int64) for name in ("level", "wide", "threads", "samples", "inputs", "state", "classes", "depth")),
        *((name, c_int64) for name in ("rows", "words")),
        ("program", c_void_p),
        *((name, c_int64) for name in ("form", "stride")),
        *((name, c_void_p) for name in ("frames", "state_before", "state_after", "scores", "answers", "memory")),
    ]


def load_library() -> ctypes.CDLL:
    """The library, built if it has to be, with the types of its functions. KernelUnavailable where it cannot be had."""
    library = _sources().load()
    library.netlist_run.argtypes = [POINTER(Evaluation)]
    library.netlist_run.restype = None
    library.netlist_block_words.argtypes = [POINTER(Evaluation)]
    library.netlist_assign.argtypes = [c_void_p, c_int64, c_int64, c_int64, POINTER(c_int32)]
    for name in ("netlist_block_words", "netlist_assign", "netlist_levels", "netlist_structure_bytes"):
        getattr(library, name).restype = c_int64
    size = library.netlist_structure_bytes()
    assert size == ctypes.sizeof(Evaluation), (size, ctypes.sizeof(Evaluation))
    return library


@cache
def find_library() -> ctypes.CDLL | None:
    """The library, or None where it cannot be had. Says so in one line; asks once per process."""
    try:
        return load_library()
    except KernelUnavailable as error:
        log.warning("circuits are evaluated by numpy, which is tens of times slower: %s", error)
        return None


def levels_here(library: ctypes.CDLL) -> tuple[str, ...]:
    """Instruction sets of this machine, the best one last."""
    found = library.netlist_levels()
    return tuple(name for number, name in enumerate(LEVELS) if found >> number & 1)


def main(arguments: Sequence[str]) -> int:
    """Build beforehand, see `CSources.install`."""
    return _sources().install(arguments, CONSEQUENCE)


def _sources() -> CSources:
    return CSources("netlist", "evaluator of circuits", SOURCES, FLAGS)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
