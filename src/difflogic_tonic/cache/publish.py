"""Variants appear in a storage place whole or not at all, and are only replaced by whole ones.

Nothing here is correct because of a lock: a variant is made under a name of its own, verified, and renamed.
"""

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

from difflogic_tonic.cache.manifest import MANIFEST, Manifest, again, load_manifest, manifest_text
from difflogic_tonic.errors import CacheCorrupt, CacheError, StorageError
from difflogic_tonic.storage import (
    ChecksumMismatch,
    check_space,
    copy_files,
    file_crc32,
    file_lock,
    fsync_dir,
    partial_path,
    publish_folder,
    reap_leftovers,
    storage_errors,
    swap_folders,
    write_text,
)

log = logging.getLogger(__name__)

_reported: set[Path] = set()


def complete_manifest(folder: Path) -> Manifest | None:
    """The manifest of a variant of which every shard is there with its size; None if the folder is no such thing.

    Checksums are not read. A folder that has a manifest but lost or shortened a shard is reported in the log: scratch
    storage is cleaned file by file in some places. StorageError if it may not be read.
    """
    try:
        with storage_errors(folder, "looking for a manifest"):
            manifest = load_manifest(folder) if folder.is_dir() else None
    except FileNotFoundError:
        return None
    except CacheCorrupt as error:
        _warn_once(folder, str(error))
        return None
    if manifest is None:
        return None
    if manifest.fingerprint != folder.name.split(".")[0]:
        _warn_once(folder, f"{folder} holds the manifest of {manifest.fingerprint} and is not used")
        return None
    for shard in manifest.shards:
        path = folder / shard.name
        with storage_errors(path, "looking for a shard"):
            size = path.stat().st_size if path.is_file() else None
        if size != shard.size:
            state = "is missing" if size is None else f"has {size:,} bytes, expected {shard.size:,}"
            _warn_once(path, f"{path} {state}; this copy is not used")
            return None
    return manifest


def _warn_once(path: Path, message: str) -> None:
    """A copy is looked at several times on the way to its repair, and is damaged once."""
    if path not in _reported:
        _reported.add(path)
        log.warning("%s", message)


def damage_of(folder: Path, manifest: Manifest) -> CacheCorrupt | StorageError | None:
    """What keeps a complete variant from being read: the first shard whose checksum is wrong or that cannot be read.

    Every byte is read, one shard after the other: at the speed of the disk or of CRC-32 (1 to 3 GB/s), and what fits
    stays in the page cache for the reader.
    """
    for shard in manifest.shards:
        path = folder / shard.name
        try:
            with storage_errors(path, "checking a shard"):
                crc = file_crc32(path)
        except FileNotFoundError:
            return CacheCorrupt(f"{path} is damaged: it is missing; {again(folder)}")
        except StorageError as error:
            return error
        if crc != shard.crc32:
            return CacheCorrupt(f"{path} is damaged: its checksum is wrong; {again(folder)}")
    return None


def lock_path(folder: Path) -> Path:
    """The lock of everybody who wants to make `folder`."""
    return folder.with_name(f".{folder.name}.lock")


def publish(partial: Path, final: Path, manifest: Manifest, replace: bool) -> None:
    """Complete a folder of verified shards with its manifest and give it its final name.

    Somebody else's complete `final` is kept unless `replace`; a damaged one is always replaced.
    """
    write_text(partial / MANIFEST, manifest_text(manifest))
    reap_leftovers(partial, foreign=True)  # of parts that died on other hosts: nobody will ever come back for them
    fsync_dir(partial)
    install(partial, final, replace)


def install(made: Path, final: Path, replace: bool) -> None:
    """Give the complete folder `made` the name `final`; the old one, if any, is there until that moment."""
    if publish_folder(made, final):
        return
    if not replace and complete_manifest(final) is not None:
        if made.exists():
            _discard(made)  # another process published the same bytes first
        return
    swap_folders(made, final)
    _discard(made)


def copy_variant(
    source: Path, final: Path, replace: bool = False, progress: Callable[[int], None] | None = None
) -> bool:
    """Copy a complete variant into another place, sequentially and verified, manifest last. Ten at once copy it once.

    `progress` is called with the bytes of each finished file. Returns whether this call copied. CacheCorrupt if a file
    of the source does not have its checksum; StorageError or StorageFull if the target cannot take it, which then is as
    it was before.
    """
    with storage_errors(final.parent, "making a folder"):
        final.parent.mkdir(parents=True, exist_ok=True)
    with file_lock(lock_path(final)):
        if not replace and complete_manifest(final) is not None:
            return False
        reap_leftovers(final.parent)
        _copy(source, final, replace, progress)
    return True


def replace_damaged(source: Path, final: Path, progress: Callable[[int], None] | None = None) -> bool:
    """Copy a variant over a copy with wrong checksums, like `copy_variant`; False if another job has done so."""
    with file_lock(lock_path(final)):
        manifest = complete_manifest(final)
        if manifest is not None and damage_of(final, manifest) is None:
            return False
        reap_leftovers(final.parent)
        _copy(source, final, replace=True, progress=progress)
    return True


def _copy(source: Path, final: Path, replace: bool, progress: Callable[[int], None] | None) -> None:
    manifest = load_manifest(source)
    check_space(final.parent, manifest.n_bytes, f"a copy of {manifest.dataset} {final.name[:12]}", len(manifest.shards))
    made = partial_path(final)
    try:
        with storage_errors(made, "making a folder"):
            made.mkdir()
        copy_files(source, made, {shard.name: shard.crc32 for shard in manifest.shards}, progress)
        publish(made, final, manifest, replace)
    except ChecksumMismatch as error:
        if error.path.parent != source:
            raise
        raise CacheCorrupt(f"{error.path} is damaged: its checksum is wrong; {again(source)}") from error
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _discard(folder: Path) -> None:
    """Remove a folder with our manifest; one without is moved aside, for it may be somebody's."""
    try:
        load_manifest(folder)
    except (CacheError, StorageError, FileNotFoundError):
        replaced = folder.with_name(folder.name.split(".")[0])
        _, _, writer = partial_path(replaced).name.rpartition(".tmp-")
        aside = folder.with_name(f"{replaced.name}.damaged-{writer}")  # not the name of a leftover, which is removed
        folder.rename(aside)
        log.warning("%s had no manifest of ours: kept as %s, remove it when you have looked", replaced, aside)
        return
    doomed = partial_path(folder)  # under such a name a removal that is interrupted is finished by the next run
    folder.rename(doomed)
    shutil.rmtree(doomed, ignore_errors=True)
