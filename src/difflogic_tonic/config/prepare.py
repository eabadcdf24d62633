"""The config of `prepare_data.sh`: which recordings, and how they become frames."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr, Strict, field_validator, model_validator

from difflogic_tonic.config.datasets import DATASETS, DatasetFacts, SensorSize
from difflogic_tonic.config.reading import find_config, read_yaml
from difflogic_tonic.config.sections import PathValue, Positive, Section, build_section, nearest
from difflogic_tonic.errors import ConfigError

DEFAULT_EVENTS_PER_FRAME = 1500
SLICING_KEYS = (
    "events_per_frame", "time_window", "time_bins", "event_bins",
    "frames_by_number", "frames_by_time", "frame_duration", "custom_slicing",
)  # fmt: skip
"""Keys of `data` of which one, at most, says how recordings are sliced."""

ADVANCING_KEYS = ("events_per_frame", "time_window")
SLICING_OPTIONS = {"overlap": SLICING_KEYS[:4], "include_incomplete": ADVANCING_KEYS}
"""Option → the ways to slice that it belongs to."""

_FUNCTION = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*", re.ASCII)


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


class PrepareData(Section):
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

    events_per_frame: Positive | None = None
    """A frame is so many events. Give one of the eight ways to slice; without any, frames have 1500 events."""

    time_window: Positive | None = None
    """A frame is so many µs."""

    time_bins: Positive | None = None
    """So many frames of equal duration for every recording."""

    event_bins: Positive | None = None
    """So many frames of equally many events for every recording."""

    frames_by_number: Positive | None = None
    """So many frames of equally many events, the last with what is left over (SpikingJelly, `split_by="number"`)."""

    frames_by_time: Positive | None = None
    """So many frames of equal duration, the last with what is left over (SpikingJelly, `split_by="time"`)."""

    frame_duration: Positive | None = None
    """Frames of so many µs, the last with what is left over (SpikingJelly's fixed duration)."""

    custom_slicing: str | None = None
    """`module:function`, called with a dict of t, x, y, p, and with H and W; it returns integer counts [T, P, H, W]."""

    overlap: Annotated[int, Field(ge=0, le=2**31 - 1)] | Annotated[float, Field(ge=0, lt=1)] = 0
    """What a frame shares with the one before: events or µs, or with a decimal point a fraction of a frame. Only with
    `events_per_frame`, `time_window`, `time_bins`, `event_bins`."""

    include_incomplete: bool = False
    """Keep the last frame although it is not full. A recording shorter than one frame always gives one frame. Only with
    `events_per_frame` and `time_window`."""

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

    frames: Literal["u8", "bits", "thermometer"] = "u8"
    """What is stored: counts per pixel up to 255 (`u8`), whether there was an event (`bits`, 1/8 of the size), or
    a bit for each of the `levels` (`thermometer`)."""

    levels: Annotated[tuple[Annotated[int, Field(ge=1, le=255)], ...], Strict(False)] = ()
    """Ascending counts of `frames: thermometer`: a polarity becomes as many channels, each 1 from its count on."""

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
    def _slicing_is_one_way(self) -> "PrepareData":
        if len(given := [key for key in SLICING_KEYS if getattr(self, key) is not None]) > 1:
            raise ValueError(
                f"data.{given[0]} and data.{given[1]} are two ways to slice; keep one, e.g. with data.{given[0]}=null"
            )
        key, size = self.slicing
        for option, keys in SLICING_OPTIONS.items():
            if getattr(self, option) and key not in keys:
                raise ValueError(f"data.{option} has no meaning with data.{key}; it goes with {', '.join(keys)}")
        if isinstance(self.overlap, int) and key in ADVANCING_KEYS and self.overlap >= size:
            raise ValueError(
                f"data.overlap {self.overlap} must be below data.{key} {size}, or frames would never advance"
            )
        if self.custom_slicing is not None and not _FUNCTION.fullmatch(self.custom_slicing):
            raise ValueError(f"data.custom_slicing: expected module:function, found {self.custom_slicing!r}")
        return self

    @model_validator(mode="after")
    def _planes_and_crop_have_a_meaning(self) -> "PrepareData":
        if (self.frames == "thermometer") != bool(self.levels):
            raise ValueError("data.frames: thermometer and data.levels belong together, e.g. data.levels=[1, 2, 4]")
        if list(self.levels) != sorted(set(self.levels)):
            raise ValueError(f"data.levels: expected ascending counts, found {list(self.levels)}")
        if self.crop is not None and (len(self.crop) != 4 or min(self.crop[:2]) < 0 or min(self.crop[2:]) < 1):
            raise ValueError(f"data.crop: expected [x, y, width, height], found {list(self.crop)}")
        return self

    @property
    def slicing(self) -> tuple[str, Any]:
        """The key that says how recordings are sliced, and its value."""
        given = ((key, getattr(self, key)) for key in SLICING_KEYS)
        return next((pair for pair in given if pair[1] is not None), ("events_per_frame", DEFAULT_EVENTS_PER_FRAME))


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


def shape_of_prepared(path: Path) -> tuple[int, int, int] | None:
    """Channels, height, width of the frames that a prepare config makes; None if it cannot be read or does not say."""
    try:
        found = find_config(path)
        return build_section(PrepareConfig, read_yaml(found), str(found)).frame_shape
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
