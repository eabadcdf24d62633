"""Removing one variant: never the last complete copy unless told so, never one that somebody is making."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path

from difflogic_tonic.cache.fingerprint import short_fingerprint
from difflogic_tonic.cache.publish import damage_of, lock_path
from difflogic_tonic.errors import CacheAmbiguous, CacheError, CacheMissing, StorageError
from difflogic_tonic.storage import file_lock, partial_path, remove, storage_errors
from difflogic_tonic.storage.places import PlaceName
from difflogic_tonic.sync.inventory import PARTIAL, Copies, Copy, Inventory

log = logging.getLogger(__name__)

WORKED_ON_SECONDS = 3600
"""Parts of a preparation (`--shard`) hold no lock: a folder in which something was written so lately may have some."""


def choose(inventory: Inventory, wanted: str) -> Copies:
    """The one variant whose fingerprint starts with `wanted`, which may be DATASET/START.

    CacheMissing or CacheAmbiguous naming what there is.
    """
    dataset, slash, start = wanted.rpartition("/")
    fitting = [
        variant
        for variant in inventory.variants
        if start and variant.fingerprint.startswith(start) and (not slash or variant.dataset == dataset)
    ]
    if len(fitting) == 1:
        return fitting[0]
    listed = ", ".join(
        f"{variant.dataset}/{short_fingerprint(variant.fingerprint)}" for variant in (fitting or inventory.variants)
    )
    if fitting:
        raise CacheAmbiguous(f"{len(fitting)} variants start with {wanted}: {listed}; give more of the fingerprint")
    raise CacheMissing(f"no variant starts with {wanted!r}; there are: {listed or 'none'}")


def doomed(variant: Copies, place: PlaceName | None, anyway: bool) -> list[Copy]:
    """The copies to remove: all, or those in `place`. CacheError if no good complete copy were left, unless `anyway`.

    A complete copy that stays is read first: it may be complete and yet damaged.
    """
    going = [copy for copy in variant.at.values() if place in (None, copy.place.name)]
    if not going:
        raise CacheMissing(f"{variant.name} is not in {place} storage, only in {', '.join(variant.at)}")
    if anyway or not any(copy.state == "present" for copy in going):
        return going
    staying = [copy for copy in variant.complete if copy not in going]
    if not staying:
        what = "both copies" if len(variant.complete) > 1 else "the only complete copy"
        raise CacheError(
            f"this would remove {what} of {variant.name}, {going[0].path}; "
            "add --yes if you mean it, or --place scratch|project to remove one of two"
        )
    log.info("checking the copy that stays: %s", staying[0].path)
    manifest = staying[0].manifest
    assert manifest is not None, staying
    if damage := damage_of(staying[0].path, manifest):
        raise CacheError(
            f"{going[0].path} is the only good copy of {variant.name} ({damage}); add --yes if you mean it"
        )
    return going


def remove_copies(copies: Sequence[Copy], anyway: bool) -> list[Path]:
    """Remove copies, each at once for every reader, and what was being built of them; returns the folders removed.

    StorageError if another process is making one of them, or parts perhaps are, unless `anyway`.
    """
    finals = [copy.path.with_name(copy.path.name.removesuffix(PARTIAL)) for copy in copies]
    for partial in (final.with_name(final.name + PARTIAL) for final in finals):
        if not anyway and maybe_worked_on(partial):
            raise StorageError(f"{partial} was written to in the last hour, perhaps by a part; wait, or add --yes")
    removed = []
    for final in finals:
        with file_lock(lock_path(final), wait=False) as free:
            if not free and not anyway:
                raise StorageError(f"{final} is being made by another process; wait for it, or add --yes")
            removed += [folder for folder in (final, final.with_name(final.name + PARTIAL)) if take_away(folder)]
    return removed


def maybe_worked_on(partial: Path) -> bool:
    """Whether parts may be building in this folder, going by when something was written there. False if absent."""
    return partial.exists() and time.time() - last_written(partial) < WORKED_ON_SECONDS


def last_written(path: Path) -> float:
    """When something was last written in a folder (or file), seconds since 1970; now if it goes away meanwhile."""
    try:
        return max(entry.lstat().st_mtime for entry in (path, *path.rglob("*")))
    except FileNotFoundError:
        return time.time()


def take_away(path: Path) -> bool:
    """Remove a file or folder under a name that marks it as a leftover, should this be interrupted. False if absent."""
    aside = partial_path(path)
    try:
        with storage_errors(path, "removing"):
            path.rename(aside)
    except FileNotFoundError:
        return False
    remove(aside)
    return True
