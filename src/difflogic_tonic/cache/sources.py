"""The raw recordings of a dataset, wherever they are: a folder, archives, the generator, or a download."""

import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from difflogic_tonic.cache.progress import Progress
from difflogic_tonic.config import DatasetFacts
from difflogic_tonic.errors import DatasetMismatch, DatasetMissing, RecordingError
from difflogic_tonic.events.layout import SPLIT_FOLDERS, Placed, expected, is_hidden, place
from difflogic_tonic.storage import Storage, storage_errors, write_text

log = logging.getLogger(__name__)

SEARCH_DEPTH = 6
SEARCH_FOLDERS = 2000
UNPACKED = "unpacked"
"""Folder in `raw/<dataset>/` for what is ours: indices of archives, packs, the listing of generated recordings."""

Split = Literal["train", "test"]


class Recording(NamedTuple):
    """One file of a dataset. `path` is standard, `Train/3/00012.bin`, wherever it was found; `size` is in bytes."""

    path: str
    size: int
    label: int
    split: Split


class Source(Protocol):
    """Where recordings come from. Threads and forked processes may read at the same time; it can be pickled."""

    @property
    def recordings(self) -> tuple[Recording, ...]:
        """All recordings, by path."""

    @property
    def describe(self) -> str:
        """The folder or archives, for messages."""

    @property
    def subset(self) -> str | None:
        """What part of the official dataset this is, such as `8,000 of 60,000 train, ...`; None if it is all of it."""

    def read(self, recording: Recording) -> bytes:
        """The content of a recording. Raises `RecordingError` if it is not what was listed."""


def open_source(
    facts: DatasetFacts, data_root: Path | None, storage: Storage, allow_subset: bool, progress: bool
) -> Source:
    """Find the recordings of a dataset and check that all of them are there.

    `data_root` is a folder or archive of one's own. Without it: the generator of an embedded dataset, else
    `raw/<dataset>/` of either storage place, else a download into project storage. Archives that cannot be read in
    place are unpacked once, into one file in scratch storage; their listing is kept there too.

    Raises `DatasetMissing` if there is nothing, and `DatasetMismatch` for a damaged or incomplete dataset, unless the
    latter is accepted by `allow_subset`.
    """
    if data_root is not None:
        return _open_path(facts, data_root, storage, allow_subset, progress)
    if facts.embedded:
        return EmbeddedSource(facts, storage, progress)
    for found in storage.places:
        folder = found.raw_dir(facts.name)
        if _holds_recordings(folder, facts):
            log.info("recordings of %s from %s storage: %s", facts.name, found.name, folder)
            return _open_path(facts, folder, storage, allow_subset, progress)
    from difflogic_tonic.cache.download import download_dataset

    folder = storage.project.raw_dir(facts.name)
    download_dataset(facts, folder, progress)
    return _open_path(facts, folder, storage, allow_subset, progress)


class FolderSource:
    """Recordings as files, below a folder for each split."""

    def __init__(self, facts: DatasetFacts, root: Path, folders: dict[Split, Path], allow_subset: bool) -> None:
        self.describe = str(root)
        self._folders = folders
        with storage_errors(root, "listing recordings"):
            listed = list(_list_folders(folders, facts))
        self.recordings = check_recordings(((placed, size) for placed, size in listed), self.describe, facts)
        self.subset = check_counts(self.recordings, self.describe, facts, allow_subset)

    def read(self, recording: Recording) -> bytes:
        path = self._folders[recording.split].joinpath(*recording.path.split("/")[1:])
        with storage_errors(path, "reading a recording"):
            try:
                data = path.read_bytes()
            except FileNotFoundError:
                raise RecordingError(
                    f"{path}: it was here a moment ago and is gone; run the same command again"
                ) from None
        return check_size(data, recording, self.describe)


class EmbeddedSource:
    """Recordings that this package generates. Only their sizes are kept, so that a second look costs nothing."""

    subset = None

    def __init__(self, facts: DatasetFacts, storage: Storage, progress: bool) -> None:
        self.describe = f"{facts.name} (generated)"
        self._contents: dict[str, bytes] = {}
        n = sum(sum(counts) for counts in facts.counts.values())
        sizes = self._sizes(n, storage.scratch.raw_dir(facts.name) / UNPACKED, progress)
        placed = ((place(path, facts), size) for path, size in sizes.items())
        self.recordings = check_recordings(((where, size) for where, size in placed if where), self.describe, facts)
        check_counts(self.recordings, self.describe, facts, allow_subset=False)

    def read(self, recording: Recording) -> bytes:
        data = self._contents.get(recording.path)
        if data is None:
            from difflogic_tonic.events.digits import recording as generate

            data = generate(int(recording.path.rpartition("/")[2].removesuffix(".bin")))
        return check_size(data, recording, self.describe)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_contents": {}}

    def _sizes(self, n: int, folder: Path, progress: bool) -> dict[str, int]:
        """Size of each of the `n` recordings by path; makes and keeps the list if there is none."""
        from difflogic_tonic.events.versions import DIGITS_VERSION

        memo = folder / f"digits-v{DIGITS_VERSION}.json"
        try:
            known = json.loads(memo.read_bytes())
            if isinstance(known, dict) and len(known) == n:
                return known
        except FileNotFoundError:
            pass
        except ValueError:
            log.warning("%s is damaged; making it again", memo)
        self._contents = _generate(progress)
        sizes = {path: len(data) for path, data in self._contents.items()}
        with storage_errors(folder, "making a folder"):
            folder.mkdir(parents=True, exist_ok=True)
        write_text(memo, json.dumps(sizes, separators=(",", ":")))
        return sizes


def _generate(progress: bool) -> dict[str, bytes]:
    from difflogic_tonic.events import digits

    contents = {}
    bar = Progress(len(digits.paths()), "recordings", "generating digits", progress)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool, bar:
        for path, data in zip(digits.paths(), pool.map(digits.recording, digits.numbers()), strict=True):
            contents[path] = data
            bar.advance()
            bar.show()
    return contents


def check_recordings(found: Iterable[tuple[Placed, int]], where: str, facts: DatasetFacts) -> tuple[Recording, ...]:
    """The files found (with their sizes) as recordings by path; `DatasetMismatch` if a file should not be there."""
    placed = list(found)
    strays = sorted(f"{each.prefix}/{each.path.partition('/')[2]}" for each, _ in placed if not each.is_recording)
    if strays:
        more = f" and {len(strays) - 1:,} more" if len(strays) > 1 else ""
        raise DatasetMismatch(f"{where}: unexpected {strays[0]}{more}; expected {expected(facts)}; remove what is not")
    for split in ("train", "test"):
        prefixes = sorted({each.prefix for each, _ in placed if each.split == split})
        if len(prefixes) > 1:
            raise DatasetMismatch(f"{where}: two {split} folders, {prefixes[0]} and {prefixes[1]}; keep one of them")
    numbered: dict[tuple[str, int, int], str] = {}
    for each, _ in placed:
        other = numbered.setdefault((each.split, each.label, each.number), each.path)
        if other is not each.path:
            raise DatasetMismatch(f"{where}: {other} and {each.path} are one recording twice; remove one of them")
    return tuple(sorted(Recording(each.path, size, each.label, each.split) for each, size in placed))


def check_counts(recordings: Iterable[Recording], where: str, facts: DatasetFacts, allow_subset: bool) -> str | None:
    """None if there are as many recordings of each class as there officially are, else what part it is.

    `DatasetMismatch` instead of the latter unless `allow_subset`: a half-unpacked archive must not become a dataset.
    """
    counts = Counter((recording.split, recording.label) for recording in recordings)
    wrong, totals = [], []
    for split, official in facts.counts.items():
        found = [counts[split, label] for label in range(len(official))]
        totals.append(f"{sum(found):,} of {sum(official):,} {split}")
        for name, n, wanted in zip(facts.classes, found, official, strict=True):
            if n != wanted:
                wrong.append(f"{split} class {name} has {n:,} instead of {wanted:,}")
    if not wrong:
        return None
    subset = ", ".join(totals)
    if allow_subset:
        return subset
    raise DatasetMismatch(
        f"{where}: not the complete {facts.name}: {subset} recordings ({wrong[0]}); unpack or fetch it again, "
        "or accept it as a part with data.allow_subset=true"
    )


def check_size(data: bytes, recording: Recording, where: str) -> bytes:
    """`data` if it is as long as listed; `RecordingError` otherwise."""
    if len(data) != recording.size:
        raise RecordingError(
            f"{where}: {recording.path} has {len(data):,} bytes, listed were {recording.size:,}; "
            "it was changed meanwhile: run the same command again"
        )
    return data


def _open_path(facts: DatasetFacts, path: Path, storage: Storage, allow_subset: bool, progress: bool) -> Source:
    """A folder of recordings, a folder of archives, or an archive."""
    with storage_errors(path, "opening data.data_root"):
        exists = path.exists()
    if not exists:
        raise DatasetMissing(f"data.data_root={path} does not exist; expected a folder or archive of {facts.name}")
    if facts.packs:
        from difflogic_tonic.cache.packs import PackSource

        return PackSource(facts, path, allow_subset)
    if path.is_dir():
        folders = _split_folders(path, facts)
        if folders:
            return FolderSource(facts, path, folders, allow_subset)
        archives = _archives_in(path, facts)
    else:
        archives = (path,)
    from difflogic_tonic.cache.unpack import ArchiveSource

    folder = storage.scratch.raw_dir(facts.name) / UNPACKED
    return ArchiveSource(facts, archives, folder, allow_subset, progress)


def _split_folders(root: Path, facts: DatasetFacts) -> dict[Split, Path]:
    """The `Train` and `Test` folders with class folders in them, at or below `root`; not everything is searched."""
    found: dict[Split, Path] = {}

    def is_split(folder: Path, inner: list[Path]) -> bool:
        return folder.name.lower() in SPLIT_FOLDERS and any(path.name in facts.classes for path in inner)

    for folder, inner in folders_below(root, stop=is_split):
        split = SPLIT_FOLDERS.get(folder.name.lower())
        if split is None or not is_split(folder, inner):
            continue
        if split in found:
            raise DatasetMismatch(f"{root}: two {split} folders, {found[split]} and {folder}; keep one of them")
        found[split] = folder
    return found


def folders_below(
    root: Path, stop: Callable[[Path, list[Path]], bool] = lambda folder, inner: False
) -> Iterator[tuple[Path, list[Path]]]:
    """`root` and the folders below it with the folders in each, level by level; not everything is searched.

    Nothing below a folder for which `stop` is true is visited.
    """
    level = [root]
    for _ in range(SEARCH_DEPTH):
        deeper: list[Path] = []
        for folder in level[:SEARCH_FOLDERS]:
            with storage_errors(folder, "looking for recordings"):
                inner = sorted(
                    Path(entry.path) for entry in os.scandir(folder) if entry.is_dir() and not is_hidden(entry.name)
                )
            yield folder, inner
            if not stop(folder, inner):
                deeper += inner
        level = deeper


def _list_folders(folders: dict[Split, Path], facts: DatasetFacts) -> Iterator[tuple[Placed, int]]:
    for folder in folders.values():
        for class_folder in sorted(entry.path for entry in os.scandir(folder) if entry.is_dir()):
            parent = f"{folder.name}/{os.path.basename(class_folder)}"
            for entry in list(os.scandir(class_folder)):
                placed = place(f"{parent}/{entry.name}", facts)
                if placed is None:
                    continue
                try:
                    size = entry.stat().st_size if entry.is_file() else -1
                except FileNotFoundError:
                    size = -1
                if size < 0:
                    raise DatasetMismatch(
                        f"{entry.path}: a folder, or a link to nothing; expected a recording; remove it"
                    )
                yield placed, size


def _archives_in(folder: Path, facts: DatasetFacts) -> tuple[Path, ...]:
    """The archives of the dataset in a folder: those called Train and Test or as published, or the only one."""
    from difflogic_tonic.cache.archives import is_archive_name

    archives = sorted(path for path in folder.iterdir() if is_archive_name(path.name) and path.is_file())
    published = {file.name.lower() for file in facts.files}
    named = [p for p in archives if p.name.lower() in published or p.name.split(".")[0].lower() in SPLIT_FOLDERS]
    chosen = named or archives
    if not chosen:
        raise DatasetMissing(f"{folder} holds no recordings of {facts.name}; expected {expected(facts)}, or an archive")
    if not named and len(chosen) > 1:
        names = ", ".join(path.name for path in chosen[:4])
        raise DatasetMismatch(
            f"{folder} holds several archives ({names}); name one of them: data.data_root={chosen[0]}"
        )
    return tuple(chosen)


def _holds_recordings(folder: Path, facts: DatasetFacts) -> bool:
    """Whether a storage place has the recordings: as files, as all the published archives, or as archives of others."""
    if not folder.is_dir():
        return False
    published = {file.name.lower() for file in facts.files}
    present = {path.name.lower() for path in folder.iterdir()}
    if facts.packs:
        from difflogic_tonic.cache.packs import holds_packs

        return holds_packs(facts, folder)
    if _split_folders(folder, facts) or (published and published <= present):
        return True
    from difflogic_tonic.cache.archives import is_archive_name

    return not published & present and any(map(is_archive_name, present))
