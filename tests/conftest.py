"""Fixtures shared by all rooms: where real recordings lie, and folders that look like a fresh machine."""

import importlib
import logging
import os
import shutil
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# As the entry points do, before torch is imported: the tests share their cores with each other.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

REPOSITORY = Path(__file__).resolve().parents[1]
OUTSIDE = ("PROJECT_STORAGE_DIR", "SCRATCH_STORAGE_DIR", "SINGULARITY_CONTAINER", "JOB_REPORT")


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the checkout under test."""
    return REPOSITORY


@pytest.fixture(scope="session")
def test_data() -> Path:
    """Folder of real recordings: DIFFLOGIC_TEST_DATA, else `../shared/data` beside the checkout."""
    folder = Path(os.environ.get("DIFFLOGIC_TEST_DATA") or REPOSITORY.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no real recordings in {folder}; set DIFFLOGIC_TEST_DATA")
    return folder


@pytest.fixture(scope="session")
def nmnist_archive(test_data: Path) -> Path:
    """1,100 original N-MNIST recordings as an archive."""
    return required(test_data / "nmnist-raw-1100.tar.xz")


@pytest.fixture(scope="session")
def nmnist_raw(nmnist_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same recordings unpacked: `Train/<digit>/<number>.bin` and `Test/…`."""
    folder = tmp_path_factory.mktemp("nmnist-raw")
    with tarfile.open(nmnist_archive) as archive:
        archive.extractall(folder, filter="data")
    return folder


def required(path: Path) -> Path:
    """`path`, or skip the test saying that it is not there."""
    if not path.exists():
        pytest.skip(f"{path} is not there")
    return path


def required_program(name: str) -> str:
    """Path of a program of `tests/install_packages.sh`; without it a test fails in CI and is skipped elsewhere."""
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin")
    if path is None:
        reason = f"{name} is not installed; run tests/install_packages.sh {name}"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    return path


@pytest.fixture(scope="session")
def program() -> Callable[[str], str]:
    """`program("yosys")` is its path, see `required_program`."""
    return required_program


@pytest.fixture(scope="session")
def importing_environment() -> dict[str, str]:
    """Environment of a Python process of its own that imports the package."""
    return {**os.environ, "PYTHONPATH": str(REPOSITORY / "src")}


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], Path]]:
    """`own_module("my_parts", source)` writes a module that can be imported in this test, as a user's own code is."""
    made: list[str] = []

    def write(name: str, source: str) -> Path:
        path = tmp_path / "modules" / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(source)
        monkeypatch.syspath_prepend(path.parent)
        importlib.invalidate_caches()
        made.append(name)
        return path

    yield write
    for name in made:
        sys.modules.pop(name, None)


@pytest.fixture(autouse=True)
def log_as_before() -> Iterator[None]:
    """What a command that ran in this process made of the package's log is undone: the next test reads it again."""
    logger = logging.getLogger("difflogic_tonic")
    level, handlers = logger.level, logger.handlers[:]
    yield
    logger.setLevel(level)
    logger.handlers[:] = handlers


@pytest.fixture(autouse=True)
def no_storage_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test must not find, or fill, the storage of whoever runs it."""
    for name in list(os.environ):
        if name.startswith("SLURM_") or name in OUTSIDE:
            monkeypatch.delenv(name)
    monkeypatch.setenv("PROJECT_VARIABLES", "/dev/null")  # nor their helper_scripts/project_variables.local.sh
