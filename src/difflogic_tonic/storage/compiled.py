"""Find or build a C library of this package: one shared library per folder of sources, loaded with ctypes.

A library holds code for several instruction sets and picks at run time, so one file serves all nodes of a cluster.
Its name carries a hash of the sources, the flags and the compiler; it is looked for beside the sources (where an
installation or an image may have put it), then in the user's cache folder, then in the temporary folder, and built into
the first of the last two that can be written.
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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)


class KernelUnavailable(Exception):
    """A library cannot be had here; `str(error)` says why in one line. Callers fall back to something slower."""


@dataclass(frozen=True)
class CSources:
    """All `*.c` and `*.h` of a folder, which become one library.

    name    what its file name begins with
    title   what it is called in messages
    flags   of the compiler. Not -march=native: the library is shared by nodes that differ
    """

    name: str
    title: str
    folder: Path
    flags: Sequence[str]

    def load(self) -> ctypes.CDLL:
        """The library, built if it has to be. KernelUnavailable where that is not possible."""
        compiler = find_compiler()
        reason = "there is no gcc or cc on the PATH"
        for path in self._built(compiler):
            try:
                return ctypes.CDLL(str(path))
            except OSError as error:  # built against another C library, or damaged
                reason = f"{path}: {error}"
        if compiler is None:
            raise KernelUnavailable(reason)
        reason = "neither the home nor the temporary folder can hold the built kernel"
        for folder in cache_folders():
            try:
                path = self.build(compiler, folder)
            except OSError as error:
                reason = f"{folder}: {error}"
                continue
            try:
                return ctypes.CDLL(str(path))
            except OSError as error:
                reason = f"{path}: {error}"
        raise KernelUnavailable(reason)

    def build(self, compiler: str, folder: Path) -> Path:
        """Compile into `folder`, under its final name. OSError: not writable. KernelUnavailable: no compilation."""
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / self.file_name(compiler)
        started = time.monotonic()
        descriptor, partial = tempfile.mkstemp(prefix=target.name, suffix=".partial", dir=folder)
        os.close(descriptor)
        try:
            sources = [str(source) for source in sorted(self.folder.glob("*.c"))]
            command = [compiler, *self.flags, *sources, "-o", partial]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                lines = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines()[-1:]
                raise KernelUnavailable(f"{compiler} failed on {' '.join(lines[:1])}")
            os.chmod(partial, 0o755)
            os.replace(partial, target)
        finally:
            Path(partial).unlink(missing_ok=True)
        log.info("built the %s in %.1f s: %s", self.title, time.monotonic() - started, target)
        return target

    def install(self, arguments: Sequence[str], consequence: str) -> int:
        """What an installation does: build into the folder of the one argument (default: beside the sources).

        `--cache`: into the folder that the first use would build into, unless it is there. Where that fails, one line
        with the reason and the `consequence`, and exit code 1.
        """
        if list(arguments) == ["--cache"]:
            try:
                self.load()
            except KernelUnavailable as error:
                print(f"{error}: {consequence}", file=sys.stderr)
                return 1
            return 0
        compiler = find_compiler()
        if compiler is None:
            print(f"error: there is no gcc or cc on the PATH; {consequence}", file=sys.stderr)
            return 1
        try:
            print(self.build(compiler, Path(arguments[0]) if arguments else self.folder))
        except (OSError, KernelUnavailable) as error:
            print(f"error: {error}; {consequence}", file=sys.stderr)
            return 1
        return 0

    def _source_hash(self) -> str:
        digest = hashlib.sha256(" ".join(self.flags).encode())
        for source in sorted(path for path in self.folder.iterdir() if path.suffix in (".c", ".h")):
            digest.update(source.read_bytes())
        return digest.hexdigest()[:16]

    def file_name(self, compiler: str | None) -> str:
        """File name of the library; with None, a pattern for those of any compiler."""
        who = "*"
        if compiler is not None:
            real = Path(compiler).resolve()
            facts = real.stat()
            who = hashlib.sha256(f"{real} {facts.st_size} {facts.st_mtime_ns}".encode()).hexdigest()[:8]
        return f"{self.name}-{self._source_hash()}-{platform.machine()}-{who}.so"

    def _built(self, compiler: str | None) -> Iterator[Path]:
        """Libraries that are there already: beside the sources by whatever compiler, in the caches by this one."""
        yield from sorted(self.folder.glob(self.file_name(None)))
        for folder in cache_folders():
            yield from sorted(folder.glob(self.file_name(compiler)))


def find_compiler() -> str | None:
    """The C compiler of this machine."""
    return shutil.which("gcc") or shutil.which("cc")


def cache_folders() -> Iterator[Path]:
    """Where libraries of this user may lie and be built, in this order."""
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
