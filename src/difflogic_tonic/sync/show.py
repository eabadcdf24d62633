"""`show DATASET`: pictures of a prepared variant and of one of its recordings, in files."""

from pathlib import Path

from difflogic_tonic.cache.fingerprint import short_fingerprint
from difflogic_tonic.cache.manifest import load_manifest
from difflogic_tonic.cache.reader import CacheReader
from difflogic_tonic.config.slicing import Slice
from difflogic_tonic.errors import CacheAmbiguous, CacheMissing, ConfigError
from difflogic_tonic.storage import Storage, storage_errors
from difflogic_tonic.sync.inventory import Copies, Inventory, take_inventory

SHOWN = Slice(frames_by_number=8)
"""How events that are kept unsliced are shown if nobody says how: something of every recording, however long."""


def make_pictures(
    storage: Storage,
    dataset: str,
    prefix: str,
    split: str,
    row: int,
    output: Path | None,
    slicing: Slice | None = None,
) -> list[Path]:
    """Write contact sheet and animation of recording `row` of a split, and the charts of that split.

    `slicing` says how a variant of events is shown.

    Returns the files. The variant is read from scratch if it is there; without `output` they go to
    pictures/<dataset>-<fingerprint> in project storage. CacheMissing, CacheAmbiguous or ConfigError say what there is
    to choose from.
    """
    variant = choose_variant(take_inventory(storage), dataset, prefix)
    path = variant.complete[0].path
    if slicing is None and load_manifest(path).storage == "events":
        slicing = SHOWN
    cache = CacheReader(path, slicing)
    manifest, reader = cache.manifest, cache.split(split)
    if not 0 <= row < reader.n_recordings:
        there = f"0 to {reader.n_recordings - 1}" if reader.n_recordings else "none"
        raise ConfigError(f"--sample {row}: recordings of {split} of {variant.name}: {there}; choose with --split too")

    from difflogic_tonic.sync.charts import save_statistics
    from difflogic_tonic.sync.pictures import save_animation, save_contact_sheet
    from difflogic_tonic.sync.sampling import measure, read_sample

    folder = output or storage.project.root / "pictures" / f"{variant.dataset}-{short_fingerprint(variant.fingerprint)}"
    with storage_errors(folder, "making a folder"):
        folder.mkdir(parents=True, exist_ok=True)
    sample = read_sample(manifest, reader, split, row)
    sheet, animation = (folder / f"sample-{split}-{row:05d}.{ending}" for ending in ("png", "gif"))
    charts = folder / f"statistics-{split}.png"
    save_contact_sheet(sheet, sample, manifest)
    save_animation(animation, sample, manifest)
    save_statistics(charts, measure(manifest, reader, split), manifest)
    return [sheet, animation, charts]


def choose_variant(inventory: Inventory, dataset: str, prefix: str) -> Copies:
    """The one complete variant of a dataset whose fingerprint starts so; its name may be in any case."""
    whole = [variant for variant in inventory.variants if variant.complete]
    named = [variant for variant in whole if variant.dataset.lower() == dataset.lower()]
    fitting = [variant for variant in named if variant.fingerprint.startswith(prefix)]
    if len(fitting) == 1:
        return fitting[0]
    listed = ", ".join(variant.name for variant in named or whole) or "no prepared datasets"
    if fitting:
        raise CacheAmbiguous(f"{len(fitting)} variants of {dataset} fit: {listed}; choose one with --variant START")
    wanted = f"{dataset} whose fingerprint starts with {prefix}" if prefix else dataset
    raise CacheMissing(f"there is no prepared {wanted}; there are: {listed}")
