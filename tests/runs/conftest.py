"""Two storage places in a temporary folder, and a disk that is full."""

import resource
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from difflogic_tonic.storage import Place, Storage


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(Place("scratch", tmp_path / "scratch"), Place("project", tmp_path / "project"))


@pytest.fixture
def shared_storage(tmp_path: Path) -> Storage:
    """One folder for both places, as when no variable is set."""
    return Storage(Place("scratch", tmp_path), Place("project", tmp_path))


@pytest.fixture
def full_disk() -> Callable[[int], AbstractContextManager[None]]:
    """`with full_disk(n):` no file of this process can grow beyond n bytes; the kernel answers EFBIG."""

    @contextmanager
    def limited(n_bytes: int) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limited
