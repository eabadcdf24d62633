"""Kernels in places where nothing can be written, and the machine code cache where something can."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from difflogic_tonic.events.jit import private_folder

SCRIPT = """
import numpy, sys
from difflogic_tonic.events import kernels, make_events
assert kernels.__file__.startswith(sys.argv[1]), kernels.__file__
event = make_events([1], [1], [0], [0])
print(len(kernels.refracted(event.x, event.y, event.t, event.p, 5)[0]))
hits = sum(kernels.refracted.stats.cache_hits.values())
print("from the cache" if hits else "compiled")
"""


@pytest.fixture
def sealed_package(repository: Path, tmp_path: Path) -> Path:
    """A copy of the package that cannot keep machine code beside itself: a file is in the way, even for root."""
    package = tmp_path / "src"
    shutil.copytree(repository / "src", package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "difflogic_tonic" / "events" / "__pycache__").write_text("")
    return package


def filter_one_event(package: Path, temporary: Path) -> list[str]:
    """Filter one event in a process without a home: the number of events, and where the machine code came from."""
    done = subprocess.run(
        [sys.executable, "-B", "-c", SCRIPT, str(package)],
        env={"PYTHONPATH": str(package), "HOME": "/dev/null", "TMPDIR": str(temporary), "PATH": os.environ["PATH"]},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")[:2]


@pytest.mark.integration
def test_kernels_are_cached_in_the_temporary_folder_of_a_read_only_checkout_without_a_home(
    sealed_package: Path, tmp_path: Path
):
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    assert filter_one_event(sealed_package, temporary) == ["1", "compiled"]
    assert [path.name for path in temporary.iterdir()] == [f"difflogic-tonic-numba-{os.getuid()}"]
    assert filter_one_event(sealed_package, temporary) == ["1", "from the cache"]


@pytest.mark.integration
def test_kernels_run_where_no_folder_for_them_can_be_had(sealed_package: Path, tmp_path: Path):
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    (temporary / f"difflogic-tonic-numba-{os.getuid()}").write_text("in the way")
    assert filter_one_event(sealed_package, temporary) == ["1", "compiled"]


def test_a_private_folder_is_made_for_this_user_alone(tmp_path: Path):
    folder = private_folder(tmp_path / "mine")
    assert folder == tmp_path / "mine"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert private_folder(tmp_path / "mine") == folder


def test_a_folder_that_others_can_write_is_not_trusted(tmp_path: Path):
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    assert private_folder(tmp_path / "open") is None


def test_a_link_is_not_trusted(tmp_path: Path):
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert private_folder(tmp_path / "link") is None


def test_a_path_that_cannot_be_made_is_none(tmp_path: Path):
    (tmp_path / "file").write_text("")
    assert private_folder(tmp_path / "file") is None
    assert private_folder(tmp_path / "missing" / "folder") is None
