"""Every variant of every dataset in every place, as it lies there."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from difflogic_tonic.cache.fingerprint import is_fingerprint, short_fingerprint
from difflogic_tonic.cache.manifest import MANIFEST, Manifest, Recordings, again, load_manifest
from difflogic_tonic.cache.publish import damage_of
from difflogic_tonic.errors import CacheCorrupt, StorageError
from difflogic_tonic.storage import Place, Storage, storage_errors
from difflogic_tonic.storage.places import PlaceName

State = Literal["present", "partial", "corrupt"]
PARTIAL = ".partial"
"""Ending of the folder in which `prepare_data.sh` builds a variant, and goes on after it was killed."""

NO_RECORDINGS = Recordings((), (), (), (), ())


@dataclass(frozen=True)
class Copy:
    """One variant in one place.

    `state`: `present` has its manifest and every shard with its size; `partial` is being prepared, or was when that was
    stopped; `corrupt` is neither, for `reason`. `n_bytes` and `n_files` are what lies there, `modified` is when the
    newest of it was written there (seconds since 1970). `manifest` is None where it cannot be read, and is without its
    rows of recordings, which are megabytes.
    """

    place: Place
    path: Path
    state: State
    reason: str
    n_bytes: int
    n_files: int
    modified: float
    manifest: Manifest | None


@dataclass(frozen=True)
class Copies:
    """One variant in all places in which there is something of it."""

    dataset: str
    fingerprint: str
    at: dict[PlaceName, Copy]

    @property
    def manifest(self) -> Manifest | None:
        """What the variant says of itself, from a complete copy if there is one."""
        manifests = [copy.manifest for copy in sorted(self.at.values(), key=lambda copy: copy.state != "present")]
        return next((manifest for manifest in manifests if manifest), None)

    @property
    def complete(self) -> list[Copy]:
        """The complete copies, scratch first."""
        return [copy for copy in self.at.values() if copy.state == "present"]

    @property
    def name(self) -> str:
        return f"{self.dataset} {short_fingerprint(self.fingerprint)}"


@dataclass(frozen=True)
class Inventory:
    """All variants, by dataset and fingerprint. `unread`: why folders could not be looked into, one line each."""

    variants: tuple[Copies, ...]
    unread: tuple[str, ...]


def take_inventory(storage: Storage) -> Inventory:
    """Look at every prepared variant in both places. Sizes are compared, contents are not read."""
    found: dict[tuple[str, str], dict[PlaceName, Copy]] = {}
    unread = []
    for place in storage.places:
        try:
            folders = [folder for dataset in _folders(place.data_dir("")) for folder in _folders(dataset)]
        except StorageError as error:
            unread.append(str(error))
            continue
        for folder in folders:
            try:
                copy = _look(place, folder)
            except StorageError as error:
                unread.append(str(error))
                continue
            if copy:
                key = (folder.parent.name, folder.name.removesuffix(PARTIAL))
                found.setdefault(key, {}).setdefault(place.name, copy)  # the finished folder sorts before its .partial
    variants = (Copies(dataset, fingerprint, at) for (dataset, fingerprint), at in sorted(found.items()))
    return Inventory(tuple(variants), tuple(unread))


def read_again(copy: Copy) -> Copy:
    """A complete copy with every checksum read: itself, or as corrupt. Others are returned as they are."""
    if copy.state != "present" or copy.manifest is None:
        return copy
    damage = damage_of(copy.path, copy.manifest)
    return replace(copy, state="corrupt", reason=_reason(damage, copy.path)) if damage else copy


def _folders(folder: Path) -> list[Path]:
    """The folders in a folder, hidden ones left out; none if there is no such folder."""
    with storage_errors(folder, "looking for prepared data"):
        if not folder.is_dir():
            return []
        return sorted(path for path in folder.iterdir() if not path.name.startswith(".") and path.is_dir())


def _look(place: Place, folder: Path) -> Copy | None:
    """The copy in a folder; None if it is no folder of a variant, or went away while we looked."""
    fingerprint = folder.name.removesuffix(PARTIAL)
    if not is_fingerprint(fingerprint):
        return None
    try:
        with storage_errors(folder, "looking at prepared data"):
            files = {path.name: path.stat() for path in folder.iterdir() if path.is_file()}
            modified = max((facts.st_mtime for facts in files.values()), default=folder.stat().st_mtime)
    except FileNotFoundError:
        return None
    sizes = {name: facts.st_size for name, facts in files.items()}
    manifest: Manifest | None = None
    if folder.name != fingerprint:
        state: State = "partial"
        reason = f"{sum(name.endswith('.h5') for name in sizes)} shards so far"
    else:
        manifest, reason = _manifest(folder, sizes)
        state = "corrupt" if reason else "present"
    return Copy(place, folder, state, reason, sum(sizes.values()), len(sizes), modified, manifest)


def _manifest(folder: Path, sizes: dict[str, int]) -> tuple[Manifest | None, str]:
    """The manifest of a folder with files of these sizes, and what is wrong with it or them; empty if nothing is."""
    try:
        manifest = load_manifest(folder)
    except FileNotFoundError:
        return None, f"{MANIFEST} is missing"
    except CacheCorrupt as error:
        return None, _reason(error, folder)
    manifest = replace(manifest, recordings=NO_RECORDINGS)
    if manifest.fingerprint != folder.name:
        return None, f"{MANIFEST} is that of {short_fingerprint(manifest.fingerprint)}"
    for shard in manifest.shards:
        if shard.name not in sizes:
            return manifest, f"{shard.name} is missing"
        if sizes[shard.name] != shard.size:
            return manifest, f"{shard.name} has {sizes[shard.name]:,} bytes, expected {shard.size:,}"
    return manifest, ""


def _reason(error: Exception, folder: Path) -> str:
    """What is wrong in a folder, without its path and the advice, which a table has no room for."""
    return str(error).removesuffix(f"; {again(folder)}").replace(f"{folder}/", "")
