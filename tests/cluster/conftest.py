"""The real SLURM that the cluster tests share; what it looks like is in tests/support/slurm_cluster.py."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from slurm_cluster import PROGRAMS, Slurm


@pytest.fixture(scope="session")
def slurm(program: Callable[[str], str], repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """Four virtual nodes; the jobs of all tests of this process run side by side on them."""
    subprocess.run([repository / "tests" / "install_packages.sh", *PROGRAMS], check=True)
    for name in PROGRAMS:
        program(name)
    started = Slurm(tmp_path_factory.mktemp("slurm") / "lab").start()
    yield started
    started.stop()
