"""The raw recordings of a dataset, wherever they are: a folder, archives, the generator, or a download."""

import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Protocol

from difflogic_tonic.config import DatasetFacts
from difflogic_tonic.config.datasets import Split
from difflogic_tonic.errors import DatasetMismatch, DatasetMissing, RecordingError
from difflogic_tonic.events.layout import Placed, expected
from difflogic_tonic.storage import Storage, storage_errors

log = logging.getLogger(__name__)

UNPACKED = "unpacked"
"""Folder in `raw/<dataset>/` for what is ours: indices of archives, packs, the listing of generated recordings."""


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
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; a label is a position in them."""

    @property
    def format(self) -> str:
        """Format of the recordings, "auto" if that of each has to be found out."""

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
        from difflogic_tonic.cache.embedded import EmbeddedSource

        return EmbeddedSource(facts, storage, progress)
    if facts.n_classes is None:
        raise DatasetMissing(f"{facts.name} is a folder of your own; name it: data.data_root=PATH")
    for found in storage.places:
        folder = found.raw_dir(facts.name)
        if _holds_recordings(folder, facts):
            log.info("recordings of %s from %s storage: %s", facts.name, found.name, folder)
            return _open_path(facts, folder, storage, allow_subset, progress)
    from difflogic_tonic.cache.download import download_dataset

    folder = storage.project.raw_dir(facts.name)
    download_dataset(facts, folder, progress)
    return _open_path(facts, folder, storage, allow_subset, progress)


def class_names(found: Iterable[Placed], facts: DatasetFacts, where: str) -> tuple[str, ...]:
    """The classes of the dataset: by its facts, or else those that recordings were found of, sorted."""
    if facts.classes or facts.layout.holds != "recording":
        return facts.classes or ("",)
    names = tuple(sorted({each.label for each in found if each.label}))
    if facts.official_classes and len(names) > facts.official_classes:
        raise DatasetMismatch(
            f"{where}: {len(names):,} folders of classes; expected the {facts.official_classes:,} of {facts.name}"
        )
    return names


def check_recordings(
    found: Iterable[tuple[Placed, int]], where: str, facts: DatasetFacts, classes: tuple[str, ...]
) -> tuple[Recording, ...]:
    """The files found (with their sizes) as recordings by path; `DatasetMismatch` if a file should not be there."""
    placed = list(found)
    strays = sorted(f"{each.prefix}/{each.path.partition('/')[2]}" for each, _ in placed if not each.is_recording)
    if strays:
        more = f" and {len(strays) - 1:,} more" if len(strays) > 1 else ""
        raise DatasetMismatch(f"{where}: unexpected {strays[0]}{more}; expected {expected(facts)}; remove what is not")
    for split in ("train", "test") if facts.has_split else ():
        prefixes = sorted({each.prefix for each, _ in placed if each.split == split})
        if len(prefixes) > 1:
            raise DatasetMismatch(f"{where}: two {split} folders, {prefixes[0]} and {prefixes[1]}; keep one of them")
    above = sorted({each.prefix for each, _ in placed if each.split == "all"})
    if len(above) > 1 and not facts.classes and facts.layout.holds == "recording":
        raise DatasetMismatch(
            f"{where}: recordings in {above[0] or '.'} and in {above[1]}; expected {expected(facts)} in one folder"
        )
    numbered: dict[tuple[str, str | None, str | None], Placed] = {}
    for each, _ in placed:
        other = numbered.setdefault((each.split, each.label, each.number), each)
        if other is not each:
            one, two = (f"{a.prefix}/{a.path}" if other.path == each.path else a.path for a in (other, each))
            raise DatasetMismatch(f"{where}: {one} and {two} are one recording twice; remove one of them")
    labels = {name: label for label, name in enumerate(classes)}
    return tuple(sorted(Recording(each.path, size, labels[each.label or ""], each.split) for each, size in placed))


def check_counts(recordings: Iterable[Recording], where: str, facts: DatasetFacts, allow_subset: bool) -> str | None:
    """None if there are as many recordings of each class as there officially are, else what part it is.

    `DatasetMismatch` instead of the latter unless `allow_subset`: a half-unpacked archive must not become a dataset.
    """
    counts = Counter((recording.split, recording.label) for recording in recordings)
    totals = Counter(recording.split for recording in recordings)
    wrong, parts = [], []
    for split, official in facts.counts.items():
        shown = "" if split == "all" else f" {split}"
        parts.append(f"{totals[split]:,} of {official_total(official):,}{shown}")
        if isinstance(official, int):
            if totals[split] != official:
                wrong.append(f"{shown.lstrip()} has {totals[split]:,} instead of {official:,}".lstrip())
            continue
        for label, (name, wanted) in enumerate(zip(facts.classes, official, strict=True)):
            if counts[split, label] != wanted:
                wrong.append(
                    f"{shown.lstrip()} class {name} has {counts[split, label]:,} instead of {wanted:,}".lstrip()
                )
    if not wrong:
        return None
    subset = ", ".join(parts)
    if allow_subset:
        return subset
    raise DatasetMismatch(
        f"{where}: not the complete {facts.name}: {subset} recordings ({wrong[0]}); unpack or fetch it again, "
        "or accept it as a part with data.allow_subset=true"
    )


def official_total(counts: tuple[int, ...] | int) -> int:
    """Official number of recordings of a split."""
    return counts if isinstance(counts, int) else sum(counts)


def check_size(data: bytes, recording: Recording, where: str) -> bytes:
    """`data` if it is as long as listed; `RecordingError` otherwise."""
    if len(data) != recording.size:
        raise RecordingError(
            f"{where}: {recording.path} has {len(data):,} bytes, listed were {recording.size:,}; "
            "it was changed meanwhile: run the same command again"
        )
    return data


def _open_path(facts: DatasetFacts, path: Path, storage: Storage, allow_subset: bool, progress: bool) -> Source:
    """A folder of recordings, a folder of archives, or an archive, in the first layout that has recordings there."""
    from difflogic_tonic.cache.folders import FolderSource, holds_recordings
    from difflogic_tonic.cache.unpack import ArchiveSource

    with storage_errors(path, "opening data.data_root"):
        exists = path.exists()
    if not exists:
        raise DatasetMissing(f"data.data_root={path} does not exist; expected a folder or archive of {facts.name}")
    folder = storage.scratch.raw_dir(facts.name) / UNPACKED
    archives: tuple[Path, ...] = (path,)
    if path.is_dir():
        for layout in facts.layouts:
            if holds_recordings(found := facts.in_layout(layout), path):
                wanted = found if layout.holds == "recording" else container_facts(found)
                return _of_files(found, FolderSource(wanted, path, allow_subset), allow_subset)
        archives = _archives_in(path, facts)
    for layout in facts.layouts:
        found = facts.in_layout(layout)
        wanted = found if layout.holds == "recording" else container_facts(found)
        try:
            source = ArchiveSource(wanted, archives, folder, allow_subset, progress)
        except DatasetMissing:
            if layout is facts.layouts[-1]:
                raise
            continue
        return _of_files(found, source, allow_subset)
    raise AssertionError(facts)


def container_facts(facts: DatasetFacts) -> DatasetFacts:
    """Facts by which the files that hold many recordings are listed as if each were one, and not counted."""
    return replace(facts, counts={}, classes=())


def _of_files(facts: DatasetFacts, files: Source, allow_subset: bool) -> Source:
    """The recordings in `files`, which may hold many each."""
    match facts.layout.holds:
        case "recording":
            return files
        case "packs":
            from difflogic_tonic.cache.packs import PackSource

            return PackSource(facts, files, allow_subset)
        case "cuts":
            from difflogic_tonic.cache.cuts import CutSource

            return CutSource(facts, files, allow_subset)
        case "annotated":
            from difflogic_tonic.cache.annotated import AnnotatedSource

            return AnnotatedSource(facts, files, allow_subset)


def _archives_in(folder: Path, facts: DatasetFacts) -> tuple[Path, ...]:
    """The archives of the dataset in a folder: those called Train and Test or as published, or the only one."""
    from difflogic_tonic.cache.archives import is_archive_name

    with storage_errors(folder, "looking for archives"):
        archives = sorted(path for path in folder.iterdir() if is_archive_name(path.name) and path.is_file())
    published = {file.name.lower() for file in facts.files}
    split_names = {name.lower() for layout in facts.layouts for name, _ in layout.splits}
    named = [p for p in archives if p.name.lower() in published or p.name.split(".")[0].lower() in split_names]
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
    from difflogic_tonic.cache.archives import is_archive_name
    from difflogic_tonic.cache.folders import holds_recordings

    with storage_errors(folder, "looking for recordings"):
        if not folder.is_dir():
            return False
        present = {path.name.lower() for path in folder.iterdir()}
    published = {file.name.lower() for file in facts.files}
    if published and published <= present:
        return True
    if any(holds_recordings(facts.in_layout(layout), folder) for layout in facts.layouts):
        return True
    return not published & present and any(map(is_archive_name, present))
