"""Five small recordings as archives of all kinds, for the tests of archives."""

import io
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from difflogic_tonic.cache.sources import Source, open_source
from difflogic_tonic.config import DATASETS
from difflogic_tonic.storage import Storage

FACTS = replace(
    DATASETS["NMNIST"], name="SMALL", classes=("0", "1", "2"), counts={"train": (2, 1, 0), "test": (1, 0, 1)}, files=()
)
NAMES = ["Test/0/00004.bin", "Test/2/00001.bin", "Train/0/00001.bin", "Train/0/00010.bin", "Train/1/00002.bin"]
FILES = {
    name: np.random.default_rng(i).integers(0, 4, 700 + 5 * i, dtype=np.uint8).tobytes() for i, name in enumerate(NAMES)
}


def make_zip(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def make_tar(path: Path, files: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def part(split: str) -> dict[str, bytes]:
    return {name: content for name, content in FILES.items() if name.startswith(split)}


def two_zips(folder: Path) -> Path:
    folder.mkdir()
    make_zip(folder / "train.zip", part("Train"))
    make_zip(folder / "Test.zip", part("Test"))
    return folder


def zips_in(folder: Path, outer: Callable[[Path, dict[str, bytes]], Path]) -> Path:
    two_zips(folder / "parts")
    return outer(folder / "all", {path.name: path.read_bytes() for path in sorted((folder / "parts").iterdir())})


KINDS: dict[str, Callable[[Path], Path]] = {
    "zip": lambda folder: make_zip(folder / "a.zip", FILES),
    "stored zip": lambda folder: make_zip(folder / "a.zip", FILES, zipfile.ZIP_STORED),
    "zip with a prefix": lambda folder: make_zip(folder / "a.zip", {f"N-MNIST/{n}": c for n, c in FILES.items()}),
    "tar": lambda folder: make_tar(folder / "a.tar", FILES),
    "tar.gz": lambda folder: make_tar(folder / "a.tar.gz", FILES, "w:gz"),
    "tar.bz2": lambda folder: make_tar(folder / "a.tar.bz2", FILES, "w:bz2"),
    "tar.xz": lambda folder: make_tar(folder / "a.tar.xz", FILES, "w:xz"),
    "tar of ./names": lambda folder: make_tar(folder / "a.tar", {f"./{n}": c for n, c in FILES.items()}),
    "tar without a suffix": lambda folder: make_tar(folder / "file_downloaded", FILES, "w:xz"),
    "Train and Test zips in a folder": lambda folder: two_zips(folder / "raw"),
    "a single archive in a folder": lambda folder: make_tar(folder / "a.tar.gz", FILES, "w:gz").parent,
    "zips in a zip": lambda folder: zips_in(folder, make_zip),
    "zips in a tar": lambda folder: zips_in(folder, make_tar),
    "a tar in a zip": lambda folder: make_zip(
        folder / "b.zip", {"a.tar.xz": make_tar(folder / "a.tar.xz", FILES, "w:xz").read_bytes()}
    ),
}


def open_small(root: Path, storage: Storage, allow_subset: bool = False) -> Source:
    return open_source(FACTS, root, storage, allow_subset, False)


def contents(source: Source) -> dict[str, bytes]:
    return {recording.path: source.read(recording) for recording in source.recordings}


def kept_files(storage: Storage) -> list[Path]:
    kept = (storage.scratch.raw_dir("SMALL") / "unpacked").iterdir()
    return sorted(path for path in kept if path.suffix != ".lock")
