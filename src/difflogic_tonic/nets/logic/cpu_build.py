"""The C kernel of logic networks as a library. An installation or an image builds it beforehand:
`python -m difflogic_tonic.nets.logic.cpu_build FOLDER`.
"""

import ctypes
import sys
from collections.abc import Sequence
from pathlib import Path

from difflogic_tonic.storage.compiled import CSources, KernelUnavailable

__all__ = ["FLAGS", "SOURCES", "KernelUnavailable", "load_library", "main"]

SOURCES = Path(__file__).parent / "kernel"
FLAGS = ("-O3", "-std=gnu11", "-fPIC", "-shared", "-pthread", "-fno-signed-zeros", "-fno-trapping-math")
CONSEQUENCE = "logic networks will run in plain torch, which is slower"


def load_library() -> ctypes.CDLL:
    """The kernel library, built if it has to be. KernelUnavailable where that is not possible."""
    return _sources().load()


def main(arguments: Sequence[str]) -> int:
    """Build beforehand, see `CSources.install`."""
    return _sources().install(arguments, CONSEQUENCE)


def _sources() -> CSources:
    return CSources("logic", "logic kernel", SOURCES, FLAGS)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
