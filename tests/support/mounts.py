"""File systems of a test's own, in memory: full, out of files, read-only, gone and back."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Mount = Callable[..., Path]


def run_mount(*words: str) -> None:
    """`mount WORDS`; skips the test where that is not permitted."""
    try:
        done = subprocess.run(["mount", *words], capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")


def unmount(folder: Path) -> None:
    """At once, although files in it are open."""
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """`mount(name, "size=1m")` makes a folder `name` of the test's own a file system in memory."""
    mounted: list[Path] = []

    def make(name: str, options: str) -> Path:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        run_mount("-t", "tmpfs", "-o", options, "tmpfs", str(folder))
        mounted.append(folder)
        return folder

    yield make
    for folder in reversed(mounted):
        unmount(folder)
