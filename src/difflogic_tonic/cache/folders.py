"""Recordings as files of a folder."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from difflogic_tonic.cache.sources import Recording, check_counts, check_recordings, check_size, class_names
from difflogic_tonic.config import DatasetFacts
from difflogic_tonic.errors import DatasetMismatch, RecordingError
from difflogic_tonic.events.layout import Placed, is_hidden, place, place_folder
from difflogic_tonic.storage import storage_errors

SEARCH_DEPTH = 6
SEARCH_FOLDERS = 5000


class FolderSource:
    """Recordings as files, at or below `root`, in the layout of `facts`."""

    def __init__(self, facts: DatasetFacts, root: Path, allow_subset: bool) -> None:
        self.describe = str(root)
        self.format = facts.format
        with storage_errors(root, "listing recordings"):
            listed = list(list_folder(facts, root))
        found = [(placed, size) for placed, size, _ in listed]
        self.classes = class_names((placed for placed, _ in found), facts, self.describe)
        self.recordings = check_recordings(found, self.describe, facts, self.classes)
        self._folders: dict[str, Path] = {}
        for placed, _, folder in listed:
            other = self._folders.setdefault(placed.path.rpartition("/")[0], folder)
            if other is not folder:
                raise DatasetMismatch(f"{root}: {other} and {folder} are one folder twice; put their files into one")
        self.subset = check_counts(self.recordings, self.describe, facts, allow_subset)

    def read(self, recording: Recording) -> bytes:
        folder, _, name = recording.path.rpartition("/")
        path = f"{self._folders[folder]}/{name}"
        with storage_errors(Path(path), "reading a recording"):
            try:
                data = _content(path, recording.size)
            except FileNotFoundError:
                raise RecordingError(
                    f"{path}: it was here a moment ago and is gone; run the same command again"
                ) from None
        return check_size(data, recording, self.describe)


def _content(path: str, size: int) -> bytes:
    """The content of a file, in a third of the time of `Path.read_bytes` if it has `size` bytes."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = os.read(descriptor, size + 1)
    finally:
        os.close(descriptor)
    return data if len(data) == size else Path(path).read_bytes()  # one read ends at 2 GiB, or when interrupted


def holds_recordings(facts: DatasetFacts, root: Path) -> bool:
    """Whether there is a file at or below `root` that lies as the layout of `facts` has it."""
    return next(list_folder(facts, root), None) is not None


def list_folder(facts: DatasetFacts, root: Path) -> Iterator[tuple[Placed, int, Path]]:
    """Every file at or below `root` that the layout places, with its size and the folder it is in."""

    def is_full(folder: Path) -> bool:
        """Whether the files in this folder are recordings, so that nothing below it is."""
        placed = place_folder(_relative(folder, root), facts.layout, facts.classes)
        return facts.layout.holds == "recording" and placed is not None and bool(placed.label)

    for folder in folders_below(root, stop=is_full):
        where = _relative(folder, root)
        with storage_errors(folder, "listing recordings"):
            entries = list(os.scandir(folder))  # at once: not every list is read to its end
        for entry in entries:
            placed = place(f"{where}/{entry.name}".lstrip("/"), facts)
            if placed is None or (entry.is_dir() and not (placed.is_recording or is_full(folder))):
                continue
            yield placed, _size(entry, facts), folder


def _size(entry: os.DirEntry[str], facts: DatasetFacts) -> int:
    try:
        if entry.is_file():
            return entry.stat().st_size
    except FileNotFoundError:
        pass
    hint = "remove it" if facts.n_classes else "name the folder that has the folders of the classes"
    raise DatasetMismatch(f"{entry.path}: a folder, or a link to nothing; expected a recording; {hint}")


def folders_below(root: Path, stop: Callable[[Path], bool]) -> Iterator[Path]:
    """`root` and the folders below it, level by level; not everything is searched, and nothing below a `stop`.

    Every `stop` that is met is in it, however many: what limits the search must not make a part of a dataset.
    """
    level = [root]
    for _ in range(SEARCH_DEPTH):
        deeper: list[Path] = []
        searched = 0
        for folder in level:
            is_end = stop(folder)
            searched += not is_end
            if searched > SEARCH_FOLDERS and not is_end:
                continue
            yield folder
            if is_end:
                continue
            with storage_errors(folder, "looking for recordings"):
                deeper += sorted(
                    Path(entry.path) for entry in os.scandir(folder) if entry.is_dir() and not is_hidden(entry.name)
                )
        level = deeper


def _relative(folder: Path, root: Path) -> str:
    return "" if folder == root else folder.relative_to(root).as_posix()
