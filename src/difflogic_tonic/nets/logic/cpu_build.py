"""Find or build the C kernel of logic networks: one shared library, loaded with ctypes.

The library holds code for several instruction sets and picks at run time, so one file serves all nodes of a cluster.
Its name carries a hash of the sources, the flags and the compiler; it is looked for beside the sources (where an
installation or an image may have put it: `python -m difflogic_tonic.nets.logic.cpu_build FOLDER`), then in the user's
cache folder, then in the temporary folder, and built into the first of the last two that can be written.
"""

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

log = logging.getLogger(__name__)

SOURCES = Path(__file__).parent / "kernel"
# -march=native is left out on purpose: the library is shared by nodes that differ
FLAGS = ("-O3", "-std=gnu11", "-fPIC", "-shared", "-pthread", "-fno-signed-zeros", "-fno-trapping-math")


class KernelUnavailable(Exception):
    """The C kernel cannot be had here; `str(error)` says why in one line. Callers fall back to plain torch."""


def load_library() -> ctypes.CDLL:
    """The kernel library, built if it has to be. KernelUnavailable where that is not possible."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    reason = "there is no gcc or cc on the PATH"
    for path in _built(compiler):
        try:
            return ctypes.CDLL(str(path))
        except OSError as error:  # built against another C library, or damaged
            reason = f"{path}: {error}"
    if compiler is None:
        raise KernelUnavailable(reason)
    reason = "neither the home nor the temporary folder can hold the built kernel"
    for folder in _cache_folders():
        try:
            path = build_library(compiler, folder)
        except OSError as error:
            reason = f"{folder}: {error}"
            continue
        try:
            return ctypes.CDLL(str(path))
        except OSError as error:
            reason = f"{path}: {error}"
    raise KernelUnavailable(reason)


def build_library(compiler: str, folder: Path) -> Path:
    """Compile into `folder`, under the final name. OSError: not writable. KernelUnavailable: the compiler failed."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / _name(compiler)
    started = time.monotonic()
    descriptor, partial = tempfile.mkstemp(prefix=target.name, suffix=".partial", dir=folder)
    os.close(descriptor)
    try:
        sources = [str(source) for source in sorted(SOURCES.glob("*.c"))]
        done = subprocess.run([compiler, *FLAGS, *sources, "-o", partial], capture_output=True, text=True, check=False)
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines()[-1:]
            raise KernelUnavailable(f"{compiler} failed on {' '.join(lines[:1])}")
        os.chmod(partial, 0o755)
        os.replace(partial, target)
    finally:
        Path(partial).unlink(missing_ok=True)
    log.info("built the logic kernel in %.1f s: %s", time.monotonic() - started, target)
    return target


def _source_hash() -> str:
    digest = hashlib.sha256(" ".join(FLAGS).encode())
    for source in sorted(path for path in SOURCES.iterdir() if path.suffix in (".c", ".h")):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def _name(compiler: str | None) -> str:
    """File name of the library; with None, a pattern for those of any compiler."""
    who = "*"
    if compiler is not None:
        real = Path(compiler).resolve()
        facts = real.stat()
        who = hashlib.sha256(f"{real} {facts.st_size} {facts.st_mtime_ns}".encode()).hexdigest()[:8]
    return f"logic-{_source_hash()}-{platform.machine()}-{who}.so"


def _built(compiler: str | None) -> Iterator[Path]:
    """Libraries that are there already: beside the sources by whatever compiler, in the caches by this one."""
    yield from sorted(SOURCES.glob(_name(None)))
    for folder in _cache_folders():
        yield from sorted(folder.glob(_name(compiler)))


def _cache_folders() -> Iterator[Path]:
    try:
        yield Path.home() / ".cache" / "difflogic-tonic"
    except RuntimeError:  # a user without a home
        pass
    if hasattr(os, "getuid"):
        try:
            private = Path(tempfile.gettempdir()) / f"difflogic-tonic-{os.getuid()}"
            private.mkdir(mode=0o700, exist_ok=True)
            facts = private.stat()
        except OSError:  # no place for temporary files, or something else of this name in it
            return
        if facts.st_uid == os.getuid() and facts.st_mode & 0o077 == 0:  # nobody else may plant code
            yield private


def main(arguments: list[str]) -> int:
    """Build into the folder of the one argument (default: beside the sources), for installations and images.

    `--cache`: into the folder that the first use would build into, unless it is there.
    """
    if arguments == ["--cache"]:
        try:
            load_library()
        except KernelUnavailable as error:
            print(f"{error}: logic networks will run in plain torch, which is slower", file=sys.stderr)
            return 1
        return 0
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        print("error: there is no gcc or cc on the PATH; logic networks will run in plain torch", file=sys.stderr)
        return 1
    try:
        print(build_library(compiler, Path(arguments[0]) if arguments else SOURCES))
    except (OSError, KernelUnavailable) as error:
        print(f"error: {error}; logic networks will run in plain torch", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
