"""The config of `prepare_data.sh`: which recordings, and how they become frames."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PrivateAttr, field_validator, model_validator

from difflogic_tonic.config.datasets import DATASETS, DatasetFacts
from difflogic_tonic.config.sections import PathValue, Section, nearest


class PrepareBase(Section):
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 42
    """Seed of the split of Train into training and validation recordings."""


class PrepareData(Section):
    name: str
    """Dataset: NMNIST or DIGITS_DVS."""

    data_root: PathValue | None = None
    """Folder or archive with the raw recordings. Without it: `raw/<name>` of either storage place, else a download."""

    events_per_frame: Annotated[int, Field(ge=1, le=2**31 - 1)] = 1500
    """Events in one frame."""

    overlap: Annotated[int, Field(ge=0)] | Annotated[float, Field(ge=0, lt=1)] = 0
    """Events that a frame shares with the one before: a count, or with a decimal point a fraction of a frame."""

    include_incomplete: bool = False
    """Keep the last frame although it has fewer events. A recording shorter than one frame always gives one frame."""

    denoise_time: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    """Keep an event only if a neighbouring pixel had one in the last so many µs; 0 keeps all."""

    denoise_warmup: Literal["keep", "drop"] = "keep"
    """Events of the first `denoise_time` µs have no past to be judged by: `keep` (as tonic does) or `drop` them."""

    frames: Literal["u8", "bits"] = "u8"
    """What is stored: counts per pixel up to 255 (`u8`), or whether there was an event (`bits`, 1/8 of the size)."""

    on_empty: Literal["error", "skip"] = "error"
    """A recording without events (or none left after denoising): stop, or leave it out and count it."""

    val_fraction: Annotated[float, Field(ge=0, le=0.9)] = 0.1
    """Part of every class of Train that is kept for validation."""

    reset_cache: bool = False
    """Build this variant anew although it is there. Other variants are not touched."""

    allow_subset: bool = False
    """Accept a `data_root` that does not hold the official number of recordings of each class."""

    workers: Annotated[int, Field(ge=0, le=1024)] = 0
    """Recordings are framed by so many threads; 0 is one per core."""

    shard_recordings: Annotated[int, Field(ge=1, le=1_000_000)] = 1000
    """Recordings in one file of the cache; bounds the memory of a worker."""

    @field_validator("name")
    @classmethod
    def _known_dataset(cls, name: str) -> str:
        return check_dataset(name)

    @model_validator(mode="after")
    def _frames_advance(self) -> "PrepareData":
        if isinstance(self.overlap, int) and self.overlap >= self.events_per_frame:
            raise ValueError(
                f"data.overlap {self.overlap} must be below data.events_per_frame {self.events_per_frame}, "
                "or frames would never advance"
            )
        return self


class PrepareConfig(Section):
    """A whole prepare config. `source` is the file it was read from."""

    base: PrepareBase = PrepareBase()
    data: PrepareData
    _source: Path = PrivateAttr(default=Path())

    @property
    def source(self) -> Path:
        return self._source

    @property
    def facts(self) -> DatasetFacts:
        return DATASETS[self.data.name]


def check_dataset(name: str) -> str:
    """`name` if the table of datasets has it; `ValueError` with the nearest name if not."""
    if name not in DATASETS:
        raise ValueError(f"unknown dataset {name!r}{nearest(name, DATASETS)}; there are {', '.join(DATASETS)}")
    return name
