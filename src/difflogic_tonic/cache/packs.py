"""Recordings that lie many in a file: the images of MNIST and CIFAR."""

import gzip
import zlib
from typing import TYPE_CHECKING, Any

from difflogic_tonic.cache.sources import Recording, Source, check_counts, check_size
from difflogic_tonic.config import DatasetFacts
from difflogic_tonic.config.datasets import Pack
from difflogic_tonic.errors import DatasetMismatch, DatasetMissing, RecordingError

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray


class PackSource:
    """The images of a dataset, from the files that its facts name. All of them are in memory, as values.

    A recording is called `Train/<class>/<number>`, where the number counts the images of its split in the order of the
    files, from 0. Its content are its values u8 in the order channel, row, column.
    """

    format = "pixels"

    def __init__(self, facts: DatasetFacts, files: Source, allow_subset: bool) -> None:
        self.describe, self.classes = files.describe, facts.classes
        self._facts, self._source = facts, files
        self._files = find_packs(facts, files)
        self._load()
        self.recordings = tuple(sorted(self._places))
        self.subset = check_counts(self.recordings, self.describe, facts, allow_subset)

    def read(self, recording: Recording) -> bytes:
        pack, row = self._places[recording]
        return check_size(self._images[pack][row].tobytes(), recording, self.describe)

    def _load(self) -> None:
        self._images: list[Array] = []
        self._places: dict[Recording, tuple[int, int]] = {}
        first = dict.fromkeys(self._facts.counts, 0)
        for number, pack in enumerate(self._facts.layout.packs):
            images, labels = self._load_pack(pack)
            self._images.append(images)
            size = images[0].size if len(images) else 0
            for row, label in enumerate(labels.tolist()):
                path = f"{pack.split.capitalize()}/{label}/{first[pack.split] + row:05d}"
                self._places[Recording(path, size, label, pack.split)] = number, row
            first[pack.split] += len(labels)

    def _load_pack(self, pack: Pack) -> tuple["Array", "Array"]:
        """Images u8[n, ...] and labels u8[n] of one pack, checked against the facts and each other."""
        from difflogic_tonic.events.images import PACK_READERS

        where = f"{self.describe}: {self._files[pack.images].path}"
        labels_where = f"{self.describe}: {self._files[pack.labels].path}" if pack.labels else where
        contents = [self._content(self._files[name]) for name in (pack.images, pack.labels) if name]
        images, labels = PACK_READERS[self._facts.format](contents, [where, labels_where])
        sensor = self._facts.sensor
        assert sensor is not None, self._facts.name
        shape = (sensor.height, sensor.width) if sensor.polarities == 1 else sensor[::-1]
        if images.shape[1:] != shape:
            raise DatasetMismatch(
                f"{where}: images of {' x '.join(map(str, images.shape[1:]))}; "
                f"expected {' x '.join(map(str, shape))}, as {self._facts.name} has"
            )
        if labels.shape != images.shape[:1]:
            raise DatasetMismatch(
                f"{labels_where}: {labels.size:,} labels for {len(images):,} images; fetch both files again"
            )
        if labels.size and labels.max() >= len(self.classes):
            raise DatasetMismatch(
                f"{labels_where}: label {labels.max()} of image {labels.argmax():,}; "
                f"{self._facts.name} has classes 0 to {len(self.classes) - 1}"
            )
        return images, labels

    def _content(self, file: Recording) -> bytes:
        """The file, unpacked if its first bytes say that it is compressed."""
        data = self._source.read(file)
        if not data.startswith(b"\x1f\x8b"):
            return data
        try:
            return gzip.decompress(data)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise RecordingError(f"{self.describe}: {file.path} is damaged: {error}; fetch it again") from None

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in {"_images", "_places"}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._load()


def find_packs(facts: DatasetFacts, files: Source) -> dict[str, Recording]:
    """Name → file, the unpacked one before `.gz`. `DatasetMissing` naming what is not there."""
    wanted = [name for pack in facts.layout.packs for name in (pack.images, pack.labels) if name]
    found: dict[str, Recording] = {}
    for file in files.recordings:  # by path, so that `x` comes before `x.gz`
        name = file.path.rpartition("/")[2].removesuffix(".gz")
        other = found.setdefault(name, file)
        if other is not file and other.path != file.path.removesuffix(".gz"):
            raise DatasetMismatch(
                f"{files.describe}: two copies, {other.path} and {file.path}; name the folder of one: data.data_root"
            )
    missing = [name for name in wanted if name not in found]
    if missing:
        raise DatasetMissing(
            f"{files.describe} has no {' and no '.join(missing)} (or .gz); expected {', '.join(wanted)} of {facts.name}"
        )
    return found
