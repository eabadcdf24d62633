"""Reading everything again: is each byte what the manifest says?"""

import logging
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from difflogic_tonic.cache.manifest import MANIFEST, Manifest, Shard, again, load_manifest
from difflogic_tonic.cache.preparation import Prepared
from difflogic_tonic.cache.shard import open_shard
from difflogic_tonic.config import PrepareConfig
from difflogic_tonic.errors import CacheCorrupt, DataError, StorageError
from difflogic_tonic.storage import Storage, file_crc32

if TYPE_CHECKING:
    from difflogic_tonic.cache.sources import Source

log = logging.getLogger(__name__)


def verify(path: Path, source: "Source | None" = None) -> list[str]:
    """What is wrong with a variant, one line a defect, naming the file; empty if every checksum holds.

    With `source`, the raw recordings are read and compared with the digests in the manifest, too.
    """
    try:
        manifest = load_manifest(path)
    except FileNotFoundError:
        return [f"{path / MANIFEST} is missing"]
    except (CacheCorrupt, StorageError) as error:
        return [_defect(error, path)]
    problems = [problem for shard in manifest.shards for problem in _verify_shard(path, manifest, shard)]
    known = {MANIFEST, *(shard.name for shard in manifest.shards)}
    problems += [f"{entry} does not belong here" for entry in sorted(path.iterdir()) if entry.name not in known]
    return problems + (_verify_source(manifest, source) if source else [])


def check_prepared(prepared: Prepared, config: PrepareConfig, storage: Storage) -> str:
    """Verify all copies and the recordings that they were made of; returns one line saying so.

    CacheCorrupt has the first defect and the next command; the others are a line each in the log.
    """
    from difflogic_tonic.cache.sources import open_source

    data = config.data
    source = open_source(config.facts, data.data_root, storage, data.allow_subset, progress=False)
    found = [(problem, copy) for copy in prepared.paths for problem in verify(copy)]
    found = found or [(problem, prepared.path) for problem in _verify_source(load_manifest(prepared.path), source)]
    if found:
        (first, copy), *others = found
        for problem, _ in others:
            log.error("%s", problem)
        more = f" (and {len(others)} more defect{'s' if len(others) > 1 else ''})" if others else ""
        raise CacheCorrupt(f"{first}{more}; {again(copy)}")
    return f"verified: all checksums of {len(prepared.paths)} copies and {len(source.recordings):,} recordings hold"


def _defect(error: Exception, folder: Path) -> str:
    """What is wrong without what to do: that is said once, however many defects there are."""
    return str(error).removesuffix(f"; {again(folder)}")


def _verify_shard(path: Path, manifest: Manifest, shard: Shard) -> list[str]:
    file = path / shard.name
    try:
        open_shard(file, manifest.fingerprint, shard.size)
        if file_crc32(file) != shard.crc32:
            return [f"{file} is damaged: it does not have the checksum in {MANIFEST}"]
    except (CacheCorrupt, StorageError) as error:
        return [_defect(error, path)]
    except OSError as error:
        return [f"{file} cannot be read: {error.strerror}"]
    return []


def _verify_source(manifest: Manifest, source: "Source") -> list[str]:
    found = {recording.path: recording for recording in source.recordings}
    problems = []
    columns = zip(manifest.recordings.paths, manifest.recordings.crc32s, strict=True)
    for path, crc in columns:
        try:
            data = source.read(found[path])
        except (KeyError, OSError, DataError) as error:
            problems.append(f"source {path} cannot be read: {error}")
            continue
        if zlib.crc32(data) != crc:
            problems.append(f"source {path} changed: its content is not what was prepared")
    extra = found.keys() - set(manifest.recordings.paths)
    return problems + [f"source {path} was not there when this was prepared" for path in sorted(extra)]
