"""How training finds its variant, and brings it to fast storage."""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from difflogic_tonic.cache.fingerprint import is_fingerprint, short_fingerprint
from difflogic_tonic.cache.manifest import Manifest
from difflogic_tonic.cache.publish import complete_manifest, copy_variant, damage_of, replace_damaged
from difflogic_tonic.config.slicing import SLICING_KEYS
from difflogic_tonic.errors import CacheAmbiguous, CacheCorrupt, CacheMissing, StorageError
from difflogic_tonic.storage import Place, Storage, storage_errors

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Variant:
    """A complete prepared dataset. `place_name` says where it is read from."""

    path: Path
    place_name: Literal["scratch", "project"]
    fingerprint: str


@dataclass(frozen=True)
class _Candidate:
    place: Place
    path: Path
    manifest: Manifest


def find_variant(
    storage: Storage,
    dataset: str,
    *,
    parameters_hash: str | None,
    prefix: str | None,
    prepare_command: str,
    progress: Callable[[int], None] | None = None,
) -> Variant:
    """The variant with these parameters or this fingerprint prefix, or the only one there is; in scratch if possible.

    Scratch is read; if it has none, or a damaged one, the copy in project storage is staged to scratch, verified; if
    that cannot be done it is read where it is, with a warning. Whatever is returned has had all its checksums read;
    CacheCorrupt names the damaged file if no copy is good. CacheMissing names the places and `prepare_command`, or
    the candidates. `progress` is called with the bytes of each file that is copied.
    """
    candidates, refusals = _candidates(storage, dataset)
    chosen = [
        candidate
        for candidate in candidates
        if parameters_hash in {None, candidate.manifest.parameters_hash}
        and candidate.manifest.fingerprint.startswith(prefix or "")
    ]
    fingerprints = {candidate.manifest.fingerprint for candidate in chosen}
    if not fingerprints and refusals:
        raise refusals[0]
    if not fingerprints:
        raise CacheMissing(_missing(storage, dataset, prefix, candidates, prepare_command))
    if len(fingerprints) > 1:
        raise CacheAmbiguous(
            f"{len(fingerprints)} prepared variants of {dataset} fit; choose one with data.variant=PREFIX: "
            f"{_listed(chosen)}"
        )
    return _resolve(storage, {candidate.place.name: candidate for candidate in chosen}, progress)


def _resolve(storage: Storage, copies: dict[str, _Candidate], progress: Callable[[int], None] | None) -> Variant:
    """Scratch, else staged, else project; what is returned has its checksums. At least one copy is complete."""
    scratch, project = copies.get("scratch"), copies.get("project")
    damage = _damage_of(scratch) if scratch else None
    if scratch and damage is None:
        log.info("reading %s", scratch.path)
        return Variant(scratch.path, "scratch", scratch.manifest.fingerprint)
    if damage and project is None:
        raise damage
    if damage:
        log.warning("%s; copying it again from project storage", damage)
    assert project is not None
    return _staged(storage, project, partial(copy_variant if damage is None else replace_damaged, progress=progress))


def _staged(storage: Storage, project: _Candidate, copy: Callable[[Path, Path], bool]) -> Variant:
    """The copy in project storage, brought to scratch if that can take it. CacheCorrupt if it is damaged."""
    fingerprint = project.manifest.fingerprint
    target = storage.scratch.data_dir(project.manifest.dataset) / fingerprint
    try:
        copied = copy(project.path, target)
    except StorageError as error:
        log.warning("reading %s from project storage, which is slower: %s", project.path, error)
        if damage := _damage_of(project):
            raise damage from error
        return Variant(project.path, "project", fingerprint)
    size = f"{project.manifest.n_bytes / 1e6:,.0f} MB"
    log.info("%s %s from %s; reading %s", "staged" if copied else "another job staged", size, project.path, target)
    return Variant(target, "scratch", fingerprint)


def _damage_of(candidate: _Candidate) -> CacheCorrupt | StorageError | None:
    log.info("checking %s MB of %s", f"{candidate.manifest.n_bytes / 1e6:,.0f}", candidate.path)
    return damage_of(candidate.path, candidate.manifest)


def _candidates(storage: Storage, dataset: str) -> tuple[list[_Candidate], list[StorageError]]:
    """The complete variants of both places, and why folders could not be read, each of which is a warning."""
    candidates: list[_Candidate] = []
    refusals: list[StorageError] = []
    for place in storage.places:
        folders: list[Path] = []
        with _passed_by(refusals):
            folders = _variant_folders(place.data_dir(dataset))
        for path in folders:
            with _passed_by(refusals):
                if manifest := complete_manifest(path):
                    candidates.append(_Candidate(place, path, manifest))
    return candidates, refusals


@contextmanager
def _passed_by(refusals: list[StorageError]) -> Iterator[None]:
    """What may not be read is a warning and remembered: another copy may be good."""
    try:
        yield
    except StorageError as error:
        log.warning("%s; this place is not used", error)
        refusals.append(error)


def _variant_folders(folder: Path) -> list[Path]:
    with storage_errors(folder, "looking for prepared data"):
        paths = sorted(folder.iterdir()) if folder.is_dir() else []
    return [path for path in paths if is_fingerprint(path.name)]


def _missing(
    storage: Storage, dataset: str, prefix: str | None, candidates: list[_Candidate], prepare_command: str
) -> str:
    wanted = f" whose fingerprint starts with {prefix}" if prefix else " with these parameters" if candidates else ""
    looked = " and ".join(f"{place.data_dir(dataset)} ({place.name})" for place in storage.places)
    others = f"; there are others: {_listed(candidates)}" if candidates else ""
    return f"no prepared {dataset}{wanted} in {looked}; make it: {prepare_command}{others}"


def _listed(candidates: Iterable[_Candidate]) -> str:
    """One entry for each variant: enough of its fingerprint to choose it, and its parameters."""
    manifests = {candidate.manifest.fingerprint: candidate.manifest for candidate in candidates}
    return "; ".join(
        f"{short_fingerprint(fingerprint)} ({describe(manifest)})" for fingerprint, manifest in manifests.items()
    )


def describe(manifest: Manifest) -> str:
    """The parameters by which variants differ, and the subset, in a few words."""
    parameters = manifest.parameters
    words = [
        *([] if parameters.get("kind") == "images" else _slicing(parameters)),
        manifest.storage,
        f"val {parameters['val_fraction']:g}",
        f"seed {parameters['seed']}",
    ]
    return ", ".join(words + ([f"subset: {manifest.subset}"] if manifest.subset else []))


def _slicing(parameters: dict[str, Any]) -> list[str]:
    words = []
    for key in SLICING_KEYS:  # one of them, or none of packed events
        if size := parameters.get(key):
            words.append(f"{size} events a frame" if key == "events_per_frame" else f"{key} {size}")
            words.append(f"overlap {parameters['overlap']}")
    words.append(f"denoise {parameters['denoise_us']} µs")
    others = ("hot_pixels", "refractory_us", "crop", "downsample", "levels")
    return words + [f"{key} {parameters[key]}" for key in others if key in parameters]
