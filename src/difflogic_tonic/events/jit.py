"""The one place that compiles kernels: numba without the GIL, and a cache of machine code that works everywhere."""

import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core import config as numba_config


def kernel(function: Callable[..., Any]) -> Any:
    """Compile `function` at its first call, to run without the GIL; later processes load the machine code.

    numba keeps it beside the source file, or else in the user's cache folder. In a read-only checkout with an
    unwritable home (containers, cluster jobs) it finds neither and refuses to decorate at all: then the code goes to a
    private folder of the system's temporary folder, and if that cannot be had, every process compiles for itself.
    `.py_func` of the result is the plain Python function.
    """
    try:
        return numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # "no locator available": decorating does nothing else that can fail
        folder = private_folder(Path(tempfile.gettempdir()) / f"difflogic-tonic-numba-{os.getuid()}")
    if folder is None:
        return numba.njit(nogil=True)(function)
    numba_config.CACHE_DIR = str(folder)  # type: ignore[attr-defined]
    return numba.njit(nogil=True, cache=True)(function)


def private_folder(path: Path) -> Path | None:
    """`path` as a folder that only this user can write, made if it is missing; None if it cannot be one.

    Machine code is loaded from it, and the system's temporary folder is open to everybody: a folder (or link) put there
    by somebody else must not be trusted.
    """
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        found = path.lstat()
    except OSError:
        return None
    ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022
    return path if ours and os.access(path, os.W_OK | os.X_OK) else None
