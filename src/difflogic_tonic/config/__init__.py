"""YAML and overrides → frozen typed objects; every check that needs no data. Imports neither torch nor numpy."""

from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from difflogic_tonic.arguments import add_override_argument, check_job_id, override_texts
from difflogic_tonic.config.datasets import DATASETS, DatasetFacts, DownloadFile, SensorSize
from difflogic_tonic.config.environment import (
    StoragePaths,
    environment_storage,
    job_report,
    outer_container,
    repository_root,
    slurm_end_time,
    slurm_job_id,
    slurm_restart_count,
)
from difflogic_tonic.config.overrides import apply_overrides, parse_overrides
from difflogic_tonic.config.prepare import PrepareConfig
from difflogic_tonic.config.ranks import RankPlace, environment_ranks
from difflogic_tonic.config.reading import find_config, read_yaml
from difflogic_tonic.config.sections import Section, build_section
from difflogic_tonic.config.train import TrainConfig, with_slice_of_prepared
from difflogic_tonic.errors import ConfigError

__all__ = [
    "DATASETS",
    "DatasetFacts",
    "DownloadFile",
    "PrepareConfig",
    "RankPlace",
    "SensorSize",
    "StoragePaths",
    "TrainConfig",
    "add_override_argument",
    "check_job_id",
    "environment_ranks",
    "environment_storage",
    "job_report",
    "load_prepare_config",
    "load_train_config",
    "outer_container",
    "override_texts",
    "repository_root",
    "slurm_end_time",
    "slurm_job_id",
    "slurm_restart_count",
]


_Config = TypeVar("_Config", PrepareConfig, TrainConfig)


def load_prepare_config(path: str | Path, overrides: Iterable[str] = ()) -> PrepareConfig:
    """Read and check a prepare config. `overrides` are strings as after `--override`. Raises `ConfigError`."""
    return _load(PrepareConfig, Path(path), overrides)


def load_train_config(path: str | Path, overrides: Iterable[str] = (), job_id: str | None = None) -> TrainConfig:
    """Read and check a training config; `job_id` of the command line wins over `base.job_id`. Raises `ConfigError`."""
    config = with_slice_of_prepared(_load(TrainConfig, Path(path), overrides))
    if job_id is None:
        return config
    changed = config.model_copy(update={"base": config.base.model_copy(update={"job_id": check_job_id(job_id)})})
    changed._source = config.source
    return changed


def _load(kind: type[_Config], path: Path, overrides: Iterable[str]) -> _Config:
    found = find_config(path)
    content = read_yaml(found)
    _refuse_other_kind(kind, content, found)
    values = parse_overrides(overrides)
    config = build_section(kind, apply_overrides(content, values), str(found), values)
    config._source = found
    return config


def _refuse_other_kind(kind: type[Section], content: dict[str, object], path: Path) -> None:
    """A prepare config given to `train.sh`, or the reverse, would otherwise fail with a puzzling list of keys."""
    if kind is TrainConfig and "data" in content and not {"train", "model"} & content.keys():
        raise ConfigError(f"{path}: is a prepare config; expected one with a model section: ./prepare_data.sh {path}")
    if kind is PrepareConfig and "model" in content:
        raise ConfigError(f"{path}: is a training config; expected a prepare config: ./train.sh {path} JOB_ID")
