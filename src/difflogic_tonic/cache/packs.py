"""Recordings that lie many in a file: the images of MNIST and its like."""

import gzip
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from difflogic_tonic.cache.sources import Recording, check_counts, check_size, folders_below
from difflogic_tonic.config import DatasetFacts
from difflogic_tonic.config.datasets import Pack
from difflogic_tonic.errors import DatasetMismatch, DatasetMissing, RecordingError
from difflogic_tonic.events.images import read_idx
from difflogic_tonic.storage import storage_errors

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray


class PackSource:
    """The images of a dataset, from the files that its facts name. All of them are in memory, as values.

    A recording is called `Train/<class>/<number>`, where the number is that of the image in its file, from 0.
    """

    def __init__(self, facts: DatasetFacts, root: Path, allow_subset: bool) -> None:
        self.describe = str(root)
        self._facts, self._files = facts, find_packs(facts, root)
        self._load()
        self.recordings = tuple(sorted(self._places))
        self.subset = check_counts(self.recordings, self.describe, facts, allow_subset)

    def read(self, recording: Recording) -> bytes:
        pack, row = self._places[recording]
        return check_size(self._images[pack][row].tobytes(), recording, self.describe)

    def _load(self) -> None:
        self._images: list[Array] = []
        self._places: dict[Recording, tuple[int, int]] = {}
        for number, pack in enumerate(self._facts.packs):
            images, labels = load_pack(self._facts, pack, self._files)
            self._images.append(images)
            size = self._facts.sensor.values
            for row, label in enumerate(labels.tolist()):
                path = f"{pack.split.capitalize()}/{label}/{row:05d}"
                self._places[Recording(path, size, label, pack.split)] = number, row

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in {"_images", "_places"}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._load()


def find_packs(facts: DatasetFacts, root: Path) -> dict[str, Path]:
    """Name → file, unpacked or `.gz`, at or below `root`. `DatasetMissing` naming what is not there."""
    wanted = _names(facts)
    found = _search(wanted, root)
    missing = [name for name in wanted if name not in found]
    if missing:
        raise DatasetMissing(
            f"{root} has no {' and no '.join(missing)} (or .gz); expected {', '.join(wanted)} of {facts.name}"
        )
    return found


def holds_packs(facts: DatasetFacts, folder: Path) -> bool:
    """Whether all files of the dataset are at or below `folder`."""
    return len(_search(_names(facts), folder)) == len(_names(facts))


def _names(facts: DatasetFacts) -> list[str]:
    return [name for pack in facts.packs for name in (pack.images, pack.labels)]


def _search(names: list[str], root: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for folder, _ in folders_below(root):
        for name in names:
            path = next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)
            if path and name in found:
                raise DatasetMismatch(
                    f"{root}: two copies, {found[name]} and {path}; name one folder: data.data_root={path.parent}"
                )
            if path:
                found[name] = path
    return found


def load_pack(facts: DatasetFacts, pack: Pack, files: dict[str, Path]) -> tuple["Array", "Array"]:
    """Images u8[n, height, width] and labels u8[n] of one pack, checked against the facts and each other."""
    images, labels = (read_idx(_content(files[name]), str(files[name])) for name in (pack.images, pack.labels))
    sensor = facts.sensor
    if images.shape[1:] != (sensor.height, sensor.width):
        raise DatasetMismatch(
            f"{files[pack.images]}: images of {' x '.join(map(str, images.shape[1:]))}; "
            f"expected {sensor.height} x {sensor.width}, as {facts.name} has"
        )
    if labels.shape != images.shape[:1]:
        raise DatasetMismatch(
            f"{files[pack.labels]}: {labels.size:,} labels for {len(images):,} images; fetch both files again"
        )
    if labels.size and labels.max() >= len(facts.classes):
        raise DatasetMismatch(
            f"{files[pack.labels]}: label {labels.max()} of image {labels.argmax():,}; "
            f"{facts.name} has classes 0 to {len(facts.classes) - 1}"
        )
    return images, labels


def _content(path: Path) -> bytes:
    """The file, unpacked if its first bytes say that it is compressed."""
    with storage_errors(path, "reading a file of images"):
        data = path.read_bytes()
    if not data.startswith(b"\x1f\x8b"):
        return data
    try:
        return gzip.decompress(data)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise RecordingError(f"{path} is damaged: {error}; fetch it again") from None
