"""Long recordings and the tables that cut them: DVS128 Gesture as IBM published it.

`user01_fluorescent.aedat` (AEDAT 3.1) holds all gestures of one person in one light, and a line `class,start,end` of
`user01_fluorescent_labels.csv` is one of them: class 1 to 11, and the µs on the recording's clock from which and up to
which (exclusive) it lasts. `trials_to_train.txt` and `trials_to_test.txt` name the recordings of the two splits.
"""

import threading
from collections.abc import Iterator
from typing import Any

from difflogic_tonic.cache.sources import Recording, Source, check_counts, check_size
from difflogic_tonic.config import DatasetFacts
from difflogic_tonic.config.datasets import Split
from difflogic_tonic.errors import DatasetMismatch, DatasetMissing, RecordingError

TRIALS: dict[str, Split] = {"trials_to_train.txt": "train", "trials_to_test.txt": "test"}
"""List of recordings → the split that they are."""


class CutSource:
    """Parts of recordings. `Train/user01_fluorescent/00-80048239-85092709` is the part of the table's first line.

    What is read is an AEDAT 3.1 file of its own, with the events of the part. `size` is that of the whole recording:
    parts are found without reading it. A damaged table or list is an error with its line.
    """

    def __init__(self, facts: DatasetFacts, files: Source, allow_subset: bool) -> None:
        self.describe, self.format, self.classes = files.describe, facts.format, facts.classes
        self._source = files
        self._named = self._by_name()
        self._parts: dict[str, tuple[Recording, int, int]] = {}
        recordings = []
        for split, trial in self._trials():
            for number, (label, start, end) in enumerate(self._cuts(trial)):
                path = f"{split.capitalize()}/{trial}/{number:02d}-{start}-{end}"
                whole = self._named[f"{trial}.aedat"]
                self._parts[path] = whole, start, end
                recordings.append(Recording(path, whole.size, label, split))
        self.recordings = tuple(sorted(recordings))
        self.subset = check_counts(self.recordings, self.describe, facts, allow_subset)
        self._forget()

    def read(self, recording: Recording) -> bytes:
        from difflogic_tonic.events.formats.cut import cut_aedat3

        whole, start, end = self._parts[recording.path]
        data = check_size(self._whole(whole), whole, self.describe)
        return cut_aedat3(data, start, end, f"{self.describe}: {whole.path}")

    def _whole(self, whole: Recording) -> bytes:
        """A recording of which a thread reads one part after the other: the last one of each thread is kept."""
        held: tuple[Recording, bytes] | None = getattr(self._held, "whole", None)
        if held is None or held[0] != whole:
            held = whole, self._source.read(whole)
            self._held.whole = held
        return held[1]

    def _by_name(self) -> dict[str, Recording]:
        named: dict[str, Recording] = {}
        for file in self._source.recordings:
            name = file.path.rpartition("/")[2]
            other = named.setdefault(name, file)
            if other is not file:
                raise DatasetMismatch(f"{self.describe}: two copies, {other.path} and {file.path}; remove one of them")
        return named

    def _trials(self) -> Iterator[tuple[Split, str]]:
        """Split and name of every recording that the lists name and that is there."""
        if not any(name in self._named for name in TRIALS):
            raise DatasetMissing(f"{self.describe} has no {' and no '.join(TRIALS)}; unpack the archive again")
        for name, split in TRIALS.items():
            if name not in self._named:
                continue
            for number, line in self._lines(name):
                if not line.endswith(".aedat"):
                    raise RecordingError(f"{self._where(name)}, line {number}: {line!r}; expected a name.aedat")
                if line in self._named:  # a missing one is counted: it is an error, or a subset
                    yield split, line.removesuffix(".aedat")

    def _cuts(self, trial: str) -> Iterator[tuple[int, int, int]]:
        """Label from 0, start and end (exclusive) in µs of every part of a recording."""
        name = f"{trial}_labels.csv"
        if name not in self._named:
            raise DatasetMismatch(f"{self.describe} has {trial}.aedat and no {name}; unpack the archive again")
        for number, line in self._lines(name):
            if number == 1 and line.startswith("class"):
                continue
            fields = line.split(",")
            ok = len(fields) == 3 and all(field.strip().isdecimal() for field in fields)
            label, start, end = map(int, fields) if ok else (0, 0, 0)
            if not 1 <= label <= len(self.classes) or start >= end:
                raise RecordingError(
                    f"{self._where(name)}, line {number}: {line!r}; expected a class from 1 to {len(self.classes)}, "
                    "a start and a later end in µs"
                )
            yield label - 1, start, end

    def _lines(self, name: str) -> Iterator[tuple[int, str]]:
        text = self._source.read(self._named[name]).decode("utf-8", "replace")
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip():
                yield number, line.strip()

    def _where(self, name: str) -> str:
        return f"{self.describe}: {self._named[name].path}"

    def _forget(self) -> None:
        self._held = threading.local()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_held"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()
