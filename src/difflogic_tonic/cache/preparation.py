"""From raw recordings to a prepared variant in both storage places. Killed anywhere, the same command goes on."""

import logging
import os
import sys
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from difflogic_tonic import __version__
from difflogic_tonic.cache.fingerprint import fingerprint_of, parameters_hash, parameters_of, short_fingerprint
from difflogic_tonic.cache.manifest import SPLITS, Manifest, Recordings, split_facts
from difflogic_tonic.cache.publish import complete_manifest, copy_variant, lock_path, publish
from difflogic_tonic.cache.splits import ShardPlan, assign_splits, check_test_keys, plan_shards
from difflogic_tonic.config import DatasetFacts, PrepareConfig, SensorSize
from difflogic_tonic.errors import CacheCorrupt, ConfigError, StorageError
from difflogic_tonic.storage import Place, Storage, check_space, file_lock, reap_leftovers, storage_errors

if TYPE_CHECKING:
    from difflogic_tonic.cache.build import BuiltShard
    from difflogic_tonic.cache.sources import Source
    from difflogic_tonic.events import FrameRecipe
    from difflogic_tonic.events.images import ImageRecipe

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """What `prepare` made or found. `paths` are all copies, `path` the one to read; `built` is false if it was there.

    `manifest` is None only for a part (`shard=`) whose other parts are not all built yet: `path` is then unfinished.
    """

    path: Path
    fingerprint: str
    built: bool
    paths: tuple[Path, ...]
    manifest: Manifest | None


@dataclass(frozen=True)
class _Variant:
    """A variant to be made: its name is known, its frames are not. `facts` are those of the recordings in `source`."""

    config: PrepareConfig
    facts: DatasetFacts
    source: "Source"
    parameters: dict[str, Any]
    fingerprint: str

    def folder(self, place: Place) -> Path:
        return place.data_dir(self.config.data.name) / self.fingerprint


def prepare(
    config: PrepareConfig, storage: Storage, *, progress: bool = True, shard: tuple[int, int] | None = None
) -> Prepared:
    """Make the variant that `config` describes, unless it is there, and fill both storage places with it.

    `progress` shows how far it is. `shard=(i, n)`, i from 1, builds every n-th shard in project storage, for jobs side
    by side; the one that completes the set publishes it. Raises DataError for bad recordings, StorageError for bad
    storage; what was published before and what is finished of this variant stays.
    """
    from difflogic_tonic.cache.sources import open_source

    data = config.data
    source = open_source(config.facts, data.data_root, storage, data.allow_subset, progress)
    return prepare_source(config, storage, source, progress=progress, shard=shard)


def prepare_source(
    config: PrepareConfig,
    storage: Storage,
    source: "Source",
    *,
    progress: bool = True,
    shard: tuple[int, int] | None = None,
) -> Prepared:
    """`prepare` with the recordings already opened."""
    from difflogic_tonic.cache.cuts import CutSource

    check_test_keys(config, source.recordings, source.describe)
    facts = facts_of(config, source)
    _recipe(config, facts)  # what cannot be made is an error before anything is read
    parameters = parameters_of(config)
    fingerprint = fingerprint_of(parameters, source.recordings, labelled=isinstance(source, CutSource))
    variant = _Variant(config, facts, source, parameters, fingerprint)
    found = None if config.data.reset_cache else _fill_from_existing(variant, storage)
    if found:
        return found
    home = storage.project if shard else storage.scratch
    manifest = _build(variant, storage, home, progress, shard)
    if manifest is None:
        folder = variant.folder(home)
        return Prepared(folder.with_name(f"{folder.name}.partial"), variant.fingerprint, True, (), None)
    for place in storage.places:
        if place.root != home.root:
            copy_variant(variant.folder(home), variant.folder(place), replace=config.data.reset_cache)
    return _prepared(variant, storage, manifest, built=True)


def _fill_from_existing(variant: _Variant, storage: Storage) -> Prepared | None:
    """Copy the variant to the places that lack it from one that has it; None if none has."""
    manifests = {place: complete_manifest(variant.folder(place)) for place in storage.places}
    have = next((place for place, manifest in manifests.items() if manifest), None)
    if have is None:
        return None
    for place, manifest in manifests.items():
        if manifest is None:
            log.info("copying it to %s storage: %s", place.name, variant.folder(place))
            copy_variant(variant.folder(have), variant.folder(place))
    return _prepared(variant, storage, manifests[have], built=False)


def _prepared(variant: _Variant, storage: Storage, manifest: Manifest | None, built: bool) -> Prepared:
    paths = tuple(variant.folder(place) for place in storage.places)
    return Prepared(paths[0], variant.fingerprint, built, paths, manifest)


def _build(
    variant: _Variant, storage: Storage, home: Place, progress: bool, shard: tuple[int, int] | None
) -> Manifest | None:
    """Build under the lock of the variant; None if shards of other parts are missing.

    The lock saves work and decides nothing: with locks that do not lock, all writers write the same bytes.
    """
    final = variant.folder(home)
    with storage_errors(final.parent, "making a folder"):
        final.parent.mkdir(parents=True, exist_ok=True)
    if shard and not _build_part(variant, storage, home, progress, shard):
        return None
    # Of a part all that is left is what a whole run does when every shard is there: read them back, and publish.
    with file_lock(lock_path(final), wait=False) as free:
        if free:
            return _build_unless_done(variant, storage, home, progress, shard is not None)
    log.info("another process is preparing %s; waiting for it", short_fingerprint(variant.fingerprint))
    with file_lock(lock_path(final)):
        return _build_unless_done(variant, storage, home, progress, shard is not None)


def _build_unless_done(variant: _Variant, storage: Storage, home: Place, progress: bool, is_part: bool) -> Manifest:
    """Build the variant, unless another process has done so while this one built its part or waited for the lock.

    With `reset_cache` a variant that is there is the old one, except that a part whose folder is gone was published.
    """
    final = variant.folder(home)
    reset = variant.config.data.reset_cache
    manifest = None if reset and not (is_part and not _partial(final).exists()) else complete_manifest(final)
    if manifest:
        log.info("another process has prepared it")
        return manifest
    return _build_unlocked(variant, storage, home, progress)


def _build_unlocked(variant: _Variant, storage: Storage, home: Place, progress: bool) -> Manifest:
    final = variant.folder(home)
    partial = _partial_folder(final)
    try:
        plans = _plans(variant)
        built = _build_in(variant, storage, partial, plans, plans, progress)
        manifest = _manifest(variant, built)
        publish(partial, final, manifest, replace=variant.config.data.reset_cache)
    except (FileNotFoundError, StorageError, CacheCorrupt):
        # A racing writer renamed the folder under us, so that a file or a shard just written was not found, or its
        # folder was not: then the variant is published, with the bytes that ours has.
        manifest_of_other = _published_by_other(final)
        if manifest_of_other is None:
            raise
        return manifest_of_other
    return manifest


def _build_part(variant: _Variant, storage: Storage, home: Place, progress: bool, shard: tuple[int, int]) -> bool:
    """Build the shards of one part; whether those of all the others are there, too, by name alone.

    Every part that opened the shards of the others would read the variant as often as there are parts.
    """
    final = variant.folder(home)
    partial = _partial_folder(final)
    plans = _plans(variant)
    mine = plans[shard[0] - 1 :: shard[1]]
    try:
        _build_in(variant, storage, partial, plans, mine, progress)
        there = {entry.name for entry in os.scandir(partial)}
    except (FileNotFoundError, StorageError, CacheCorrupt):
        if _published_by_other(final) is None:
            raise
        return True
    missing = sum(plan.name not in there for plan in plans)
    if missing:
        log.info("built %d of %d shards; %d are left to the other parts", len(mine), len(plans), missing)
    return not missing


def _partial(final: Path) -> Path:
    return final.with_name(f"{final.name}.partial")


def _partial_folder(final: Path) -> Path:
    """The folder in which shards are collected, made and rid of what dead writers left."""
    partial = _partial(final)
    reap_leftovers(final.parent)
    reap_leftovers(partial)
    with storage_errors(partial, "making a folder"):
        partial.mkdir(exist_ok=True)
        with suppress(FileNotFoundError):  # another process may publish it this moment
            os.utime(partial)  # who cleans up goes by this, for parts hold no lock
    return partial


def _published_by_other(final: Path) -> Manifest | None:
    reap_leftovers(final, own=True)
    manifest = complete_manifest(final)
    if manifest:
        log.info("another process has published it meanwhile")
    return manifest


def _plans(variant: _Variant) -> tuple[ShardPlan, ...]:
    config = variant.config
    splits = assign_splits(
        *(variant.source.recordings, config.data.val_fraction, config.base.seed),
        *(config.test_fraction, config.data.split or "seeded"),
    )
    return plan_shards(splits, config.data.shard_recordings)


def _build_in(
    variant: _Variant,
    storage: Storage,
    partial: Path,
    plans: tuple[ShardPlan, ...],
    mine: tuple[ShardPlan, ...],
    progress: bool,
) -> "list[BuiltShard]":
    """Those of the shards `plans` that are `mine`, found in `partial` or built there."""
    # Here and not at the top: a second `prepare` finds its variant without loading numba and h5py.
    from difflogic_tonic.cache.build import Job, build_shards
    from difflogic_tonic.cache.progress import Progress

    data = variant.config.data
    job = Job(variant.source, _recipe(variant.config, variant.facts), variant.fingerprint, data.on_empty)
    _check_space(job, plans, storage, partial)
    with Progress(sum(len(plan.rows) for plan in mine), "recordings", "framing", progress) as shown:
        return build_shards(job, mine, partial, data.workers, shown)


def facts_of(config: PrepareConfig, source: "Source") -> DatasetFacts:
    """The facts of a dataset, completed by what only its recordings tell: format, classes, and size of a frame.

    `ConfigError` if neither the config nor the first recording (that is not skipped as empty) tells the size.
    """
    facts = config.facts
    layout = replace(facts.layout, format=source.format)
    return replace(facts, layouts=(layout,), classes=source.classes, sensor=facts.sensor or _size_of(config, source))


def _size_of(config: PrepareConfig, source: "Source") -> SensorSize:
    from difflogic_tonic.cache.build import format_of
    from difflogic_tonic.events.formats import decode
    from difflogic_tonic.events.images import picture_size

    skip = config.data.on_empty == "skip"
    first = next((each for each in source.recordings if each.size or not skip), source.recordings[0])
    where, data = f"{source.describe}: {first.path}", source.read(first)
    if config.facts.kind == "images":
        return SensorSize(*picture_size(data, where), polarities=3)
    found = decode(data, format_of(source, first, data), where)
    if found.width is None or found.height is None:
        raise ConfigError(f"{where} does not say how many pixels its camera has; add data.sensor=[width, height]")
    return SensorSize(found.width, found.height, polarities=2)


def _recipe(config: PrepareConfig, facts: DatasetFacts) -> "FrameRecipe | ImageRecipe":
    from difflogic_tonic.events import recipe_from_config
    from difflogic_tonic.events.images import image_recipe

    return image_recipe(config, facts) if facts.kind == "images" else recipe_from_config(config, facts)


def _check_space(job: Any, plans: tuple[ShardPlan, ...], storage: Storage, partial: Path) -> None:
    """Refuse before hours of work what cannot fit: places on one file system need room for one copy each."""
    from difflogic_tonic.cache.build import estimate_bytes

    whole = estimate_bytes(job, plans)
    done = sum(entry.stat().st_size for entry in partial.glob("*.h5"))
    needs: dict[int, int] = {}
    for place in storage.places:
        device = place.root.stat().st_dev
        at_home = partial.is_relative_to(place.root)
        needs[device] = needs.get(device, 0) + (max(0, whole - done) if at_home else whole)
    for place in storage.places:
        check_space(place.root, needs[place.root.stat().st_dev], "the prepared dataset", len(plans) + 2)


def _manifest(variant: _Variant, built: "list[BuiltShard]") -> Manifest:
    config, recordings = variant.config, variant.source.recordings
    facts, recipe = variant.facts, _recipe(config, variant.facts)
    crcs, splits, kept = [0] * len(recordings), [""] * len(recordings), set()
    for each in built:
        for row, crc in zip(each.index.assigned.tolist(), each.index.assigned_crc32.tolist(), strict=True):
            crcs[row], splits[row] = crc, each.plan.split
        kept.update(each.index.source.tolist())
    return Manifest(
        dataset=facts.name,
        fingerprint=variant.fingerprint,
        parameters=variant.parameters,
        parameters_hash=parameters_hash(variant.parameters),
        classes=facts.classes,
        sensor=recipe.stored,
        storage=recipe.storage,
        splits={name: _split_facts(built, name, len(facts.classes)) for name in SPLITS},
        recordings=Recordings(
            tuple(recording.path for recording in recordings),
            tuple(recording.size for recording in recordings),
            tuple(crcs),
            tuple(recording.label for recording in recordings),
            tuple(splits),
        ),
        skipped=tuple(row for row in range(len(recordings)) if row not in kept),
        subset=variant.source.subset,
        n_saturated=sum(each.index.n_saturated for each in built),
        versions=_versions(),
    )


def _split_facts(built: "list[BuiltShard]", name: str, classes: int) -> Any:
    parts = [each for each in built if each.plan.split == name]
    labels = [label for each in parts for label in each.index.labels.tolist()]
    return split_facts([each.shard for each in parts], labels, classes)


def _versions() -> dict[str, str]:
    import h5py
    import numpy

    return {
        "difflogic_tonic": __version__,
        "python": ".".join(map(str, sys.version_info[:3])),
        "numpy": numpy.__version__,
        "h5py": h5py.__version__,
        "hdf5": h5py.version.hdf5_version,
    }
