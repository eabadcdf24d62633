"""The config of `prepare_data.sh`: which recordings, and how they become frames."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PrivateAttr, Strict, field_validator, model_validator

from difflogic_tonic.config.datasets import DATASETS, DatasetFacts, SensorSize
from difflogic_tonic.config.reading import find_config, read_yaml
from difflogic_tonic.config.sections import PathValue, Section, build_section, nearest
from difflogic_tonic.config.slicing import Slice, Slicing
from difflogic_tonic.errors import ConfigError

DEFAULT_TEST_FRACTION = 0.1
OWN_KEYS = {"sensor": "FOLDER", "format": "FOLDER", "image_size": "IMAGEFOLDER and IMAGENET"}
"""Key that says of recordings what the table of datasets does not → datasets that it is for."""

Side = Annotated[int, Field(ge=1, le=65535)]


class PrepareBase(Section):
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 42
    """Seed of the split of Train into training and validation recordings."""


IMAGE_KEYS = {
    *("name", "data_root", "frames", "val_fraction", "reset_cache", "allow_subset", "workers", "shard_recordings"),
    *("image_size", "split", "test_fraction"),
}
"""Keys that mean something for a dataset of images. A new key is one of events unless it is named here."""


class Origin(Section):
    """Which recordings."""

    name: str
    """Dataset, one of the names in data.md."""

    data_root: PathValue | None = None
    """Folder or archive with the raw recordings. Without it: `raw/<name>` of either storage place, else a download."""

    sensor: Annotated[tuple[Side, ...], Strict(False), Field(min_length=2, max_length=2)] | None = None
    """Pixels of the camera, [width, height]: only for FOLDER, whose files may not say it."""

    format: str | None = None
    """Format of the files of FOLDER, e.g. text-txyp (formats.md). Without it, name and content of each file say it."""

    image_size: Annotated[tuple[Side, ...], Strict(False), Field(min_length=2, max_length=2)] | None = None
    """Frames of IMAGEFOLDER and IMAGENET, [width, height]: images are scaled to cover it and cut around the centre."""

    split: Literal["seeded", "fixed"] | None = None
    """Test recordings where none are official: a `seeded` part of every class (default), or the first by name."""

    test_fraction: Annotated[float, Field(gt=0, le=0.9)] | None = None
    """Part of every class that is for testing where none is official. Default: 0.1."""


class PrepareData(Slicing, Origin):
    """Which recordings, their slicing, their filters, and how all of it is done."""

    hot_pixels: Annotated[float, Field(ge=1, le=1e6)] | None = None
    """Remove pixels with more than so many times the average number of events of the pixels that fired."""

    refractory_time: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    """Remove an event if its pixel had another in the last so many µs; 0 keeps all."""

    denoise_time: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    """Keep an event only if a neighbouring pixel had one in the last so many µs; 0 keeps all."""

    denoise_warmup: Literal["keep", "drop"] = "keep"
    """Events of the first `denoise_time` µs have no past to be judged by: `keep` (as tonic does) or `drop` them."""

    crop: Annotated[tuple[int, ...], Strict(False)] | None = None
    """Part of the sensor that is used: [x, y, width, height] in its pixels."""

    downsample: Annotated[int, Field(ge=1, le=4096)] = 1
    """Side of the square of pixels that becomes one pixel of a frame."""

    frames: Literal["u8", "bits", "thermometer", "events"] = "u8"  # type: ignore[assignment]  # one more
    """What is stored: counts per pixel up to 255 (`u8`), whether there was an event (`bits`, 1/8 of the size), a bit
    for each of the `levels` (`thermometer`), or the `events`, which training slices as its `data.slice` says."""

    on_empty: Literal["error", "skip"] = "error"
    """A recording without events (or none left after filtering): stop, or leave it out and count it."""

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
    def _keys_fit_the_dataset(self) -> "PrepareData":
        check_image_keys(self)
        check_dataset_keys(self)
        return self

    @model_validator(mode="after")
    def _crop_is_a_rectangle(self) -> "PrepareData":
        if self.crop is not None and (len(self.crop) != 4 or min(self.crop[:2]) < 0 or min(self.crop[2:]) < 1):
            raise ValueError(f"data.crop: expected [x, y, width, height], found {list(self.crop)}")
        return self

    def as_slice(self) -> Slice:
        """The slicing of this config as `data.slice` of a training config."""
        key, size = self.slicing
        return Slice.model_validate({key: size, "overlap": self.overlap, "include_incomplete": self.include_incomplete})


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
        """What is known of the dataset, with the size and the format that this config gives where it has none."""
        facts = DATASETS[self.data.name]
        if given := self.data.format:
            facts = replace(facts, layouts=tuple(replace(layout, format=given) for layout in facts.layouts))
        size = self.data.sensor or self.data.image_size
        if size is None:
            return facts
        return replace(facts, sensor=SensorSize(size[0], size[1], polarities=3 if facts.kind == "images" else 2))

    @property
    def frame_shape(self) -> tuple[int, int, int] | None:
        """Channels, height, width of a frame as it is stored; None if only the recordings tell."""
        data, sensor = self.data, self.facts.sensor
        if sensor is None:
            return None
        width, height = data.crop[2:] if data.crop else sensor[:2]
        channels = sensor.polarities * max(1, len(data.levels))
        return channels, -(-height // data.downsample), -(-width // data.downsample)

    @property
    def test_fraction(self) -> float:
        """Part of every class that is for testing where no recordings are officially."""
        return DEFAULT_TEST_FRACTION if self.data.test_fraction is None else self.data.test_fraction


def read_prepared(path: Path) -> PrepareConfig | None:
    """The prepare config in this file; None if it cannot be read."""
    try:
        found = find_config(path)
        return build_section(PrepareConfig, read_yaml(found), str(found))
    except ConfigError:
        return None  # whoever needs the file says what is wrong with it


def check_dataset(name: str) -> str:
    """`name` if the table of datasets has it; `ValueError` with the nearest name if not."""
    if name not in DATASETS:
        raise ValueError(f"unknown dataset {name!r}{nearest(name, DATASETS)}; there are {', '.join(DATASETS)}")
    return name


def check_image_keys(data: PrepareData) -> None:
    """`ValueError` for a key that was given, though with its default value, to images that it can do nothing with."""
    if DATASETS[data.name].kind != "images":
        return
    for key in type(data).model_fields:
        if key in data.model_fields_set - IMAGE_KEYS:
            raise ValueError(f"data.{key} is for events, and {data.name} has images; remove it")
    if data.frames != "u8":
        raise ValueError(
            f"data.frames: {data.frames} is for events; the images of {data.name} are kept as they are, u8: remove it"
        )


def check_dataset_keys(data: PrepareData) -> None:
    """`ValueError` for what the dataset says itself, and for a way to divide what is divided officially."""
    facts = DATASETS[data.name]
    for key, datasets in OWN_KEYS.items():
        kind = "images" if key == "image_size" else "events"
        if getattr(data, key) is not None and (facts.sensor is not None or facts.kind != kind):
            raise ValueError(f"data.{key} is for {datasets}; remove it")
    if facts.counts and facts.has_split:
        for key in ("split", "test_fraction"):
            if getattr(data, key) is not None:
                raise ValueError(f"data.{key}: {data.name} has official test recordings; remove it")
