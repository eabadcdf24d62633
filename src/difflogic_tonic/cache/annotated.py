"""Recordings of which some have their labels in a table: Tiny ImageNet's validation images."""

import re

from difflogic_tonic.cache.sources import Recording, Source, check_counts
from difflogic_tonic.config import DatasetFacts
from difflogic_tonic.errors import DatasetMismatch, RecordingError

TRAIN = re.compile(r"(?:.*/)?train/(?P<label>[^/]+)/images/(?P<name>[^/]+)")
"""An image with its label in its path."""

LISTED = re.compile(r"(?:.*/)?val/images/(?P<name>[^/]+)")
"""An image with its label in the table. The official test images have no labels; these are the test split here."""

TABLE = "val_annotations.txt"
"""A line for each image: its name, a tab, its label, and what is not used here."""


class AnnotatedSource:
    """The labelled images of Tiny ImageNet: `Train/<class>/<name>` and `Test/<class>/<name>`."""

    def __init__(self, facts: DatasetFacts, files: Source, allow_subset: bool) -> None:
        self.describe, self.format = files.describe, facts.format
        self._source = files
        labels = self._table()
        found: dict[tuple[str, str, str], Recording] = {}
        for file in files.recordings:
            train, listed = TRAIN.fullmatch(file.path), LISTED.fullmatch(file.path)
            if train:
                found["Train", train["label"], train["name"]] = file
            elif listed and listed["name"] in labels:
                found["Test", labels[listed["name"]], listed["name"]] = file
            elif listed:
                raise DatasetMismatch(f"{self.describe}: {file.path} is not in {TABLE}; unpack the archive again")
        self.classes = tuple(sorted({label for _, label, _ in found}))
        numbers = {label: number for number, label in enumerate(self.classes)}
        self._files = {"/".join(key): file for key, file in found.items()}
        self.recordings = tuple(
            Recording("/".join(key), found[key].size, numbers[key[1]], "train" if key[0] == "Train" else "test")
            for key in sorted(found)
        )
        self.subset = check_counts(self.recordings, self.describe, facts, allow_subset)

    def read(self, recording: Recording) -> bytes:
        return self._source.read(self._files[recording.path])

    def _table(self) -> dict[str, str]:
        """Name of an image → its label."""
        tables = [file for file in self._source.recordings if file.path.rpartition("/")[2] == TABLE]
        if not tables:
            return {}
        where = f"{self.describe}: {tables[0].path}"
        labels = {}
        for number, line in enumerate(self._source.read(tables[0]).decode("utf-8", "replace").splitlines(), 1):
            fields = line.split("\t")
            if len(fields) < 2:
                raise RecordingError(f"{where}, line {number}: {line[:40]!r}; expected a name, a tab and a label")
            labels[fields[0]] = fields[1]
        return labels
