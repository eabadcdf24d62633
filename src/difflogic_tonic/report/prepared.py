"""The prepared data of a run, found by what its folder says, without its model."""

from difflogic_tonic.cache.reader import CacheReader
from difflogic_tonic.config import StoragePaths, TrainConfig
from difflogic_tonic.config.sections import build_section
from difflogic_tonic.errors import RunError
from difflogic_tonic.report.reading import RecordedRun


def open_prepared(run: RecordedRun, places: StoragePaths) -> CacheReader:
    """The variant that the run was trained on. Raises `CacheError`, `ConfigError`, or `RunError` if none is named."""
    from difflogic_tonic.cache import find_variant
    from difflogic_tonic.storage import open_storage

    fingerprint = run.summary.get("fingerprint")
    if not fingerprint or not run.config:
        raise RunError(f"{run.files.summary} does not say which prepared data it was trained on")
    config = build_section(TrainConfig, run.config, str(run.files.config))
    variant = find_variant(
        open_storage(places),
        config.data.name,
        parameters_hash=None,
        prefix=fingerprint,
        prepare_command=f"./prepare_data.sh {config.data.prepare or config.facts.prepare_config}",
    )
    return CacheReader(variant.path, config.data.slice)
