"""What decides the bytes of a frame."""

from dataclasses import dataclass, replace
from typing import Any, Literal

from difflogic_tonic.config import DatasetFacts, PrepareConfig, SensorSize
from difflogic_tonic.config.slicing import Slicing
from difflogic_tonic.errors import ConfigError
from difflogic_tonic.events.slicing import overlap_units
from difflogic_tonic.events.stream import Warmup

SliceBy = Literal["events", "time", "time_bins", "event_bins", "number", "number_by_time", "duration", "custom"]

Stored = Literal["u8", "bits", "events"]
"""What a shard holds: counts, bits, or packed events."""

SLICE_BY: dict[str, SliceBy] = {
    "events_per_frame": "events",
    "time_window": "time",
    "time_bins": "time_bins",
    "event_bins": "event_bins",
    "frames_by_number": "number",
    "frames_by_time": "number_by_time",
    "frame_duration": "duration",
    "custom_slicing": "custom",
}
"""Key of a config → rule by which it slices."""

EVENTS_ROW_BYTES = 2
"""Of stored events: see `packed`."""

MOST_U16 = 1 << 16


@dataclass(frozen=True)
class FrameRecipe:
    """How a recording becomes frames.

    `sensor`: of the recording, in pixels. `slice_size`: events or µs of a frame, or the number of frames, as
    `slice_by` says; 0 for a `custom` function. `overlap`: events or µs; of bins it may also be a fraction, a float.
    Times in µs and `hot_pixels` are 0 where that filter is off. `crop`: x, y, width, height. `levels`: ascending
    counts, each of which is a plane of bits; then `storage` is "bits". `format`: a key of the table of formats.
    Where `storage` is "events" they are not sliced, and what says how means nothing.
    """

    sensor: SensorSize
    slice_size: int
    overlap: int | float = 0
    include_incomplete: bool = False
    denoise_us: int = 0
    denoise_warmup: Warmup = "keep"
    storage: Stored = "u8"
    slice_by: SliceBy = "events"
    custom: str = ""
    hot_pixels: float = 0.0
    refractory_us: int = 0
    crop: tuple[int, int, int, int] | None = None
    downsample: int = 1
    levels: tuple[int, ...] = ()
    format: str = "atis"
    one_camera: bool = False

    def __post_init__(self) -> None:
        assert (self.slice_by == "custom") == bool(self.custom) == (self.slice_size == 0), self
        assert self.slice_by not in ("events", "time") or 0 <= self.overlap < self.slice_size, self
        assert self.overlap == 0 or self.slice_by in ("events", "time", "time_bins", "event_bins"), self
        assert self.denoise_us >= 0, self
        assert not self.levels or self.storage == "bits", self

    @property
    def filters(self) -> tuple[str, ...]:
        """The keys of the filters that are on and may leave out events, in their order."""
        keys = {
            "hot_pixels": self.hot_pixels,
            "refractory_time": self.refractory_us,
            "denoise_time": self.denoise_us,
            "crop": self.crop,
        }
        return tuple(key for key, value in keys.items() if value)

    @property
    def counted(self) -> SensorSize:
        """Pixels and polarities after cropping and downsampling: those that events are counted in."""
        width, height = self.crop[2:] if self.crop else self.sensor[:2]
        return SensorSize(-(-width // self.downsample), -(-height // self.downsample), self.sensor.polarities)

    @property
    def stored(self) -> SensorSize:
        """Pixels and channels of a frame: every polarity has one channel for each level."""
        counted = self.counted
        return counted._replace(polarities=counted.polarities * max(1, len(self.levels)))

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """(P, H, W) of a frame; P are channels."""
        return self.stored.polarities, self.stored.height, self.stored.width

    @property
    def frame_nbytes(self) -> int:
        """Bytes of one stored frame; of stored events, of one row."""
        if self.storage == "events":
            return EVENTS_ROW_BYTES
        return self.stored.values if self.storage == "u8" else -(-self.stored.values // 8)


def position_words(sensor: SensorSize) -> int:
    """Words of a position in a frame of this size: 1 or 2."""
    return 1 if sensor.values <= MOST_U16 else 2


def recipe_from_config(config: PrepareConfig, facts: DatasetFacts | None = None) -> FrameRecipe:
    """The recipe of a prepare config, for the recordings of `facts`, by default those of its dataset.

    `ConfigError` for a crop that is not inside the sensor.
    """
    data, facts = config.data, facts or config.facts
    assert facts.sensor is not None, facts.name
    recipe = recipe_from_slicing(data, facts.sensor)
    return replace(
        recipe,
        denoise_us=data.denoise_time,
        denoise_warmup=data.denoise_warmup,
        storage="events" if data.frames == "events" else recipe.storage,
        hot_pixels=data.hot_pixels or 0.0,
        refractory_us=data.refractory_time,
        crop=_checked_crop(data.crop, facts.sensor),
        downsample=data.downsample,
        format=facts.format,
        one_camera=config.facts.sensor is None,
    )


def recipe_from_slicing(slicing: Slicing, sensor: SensorSize) -> FrameRecipe:
    """The recipe for events that need no filter any more, on a `sensor` of the size that frames have."""
    key, size = slicing.slicing
    slice_by = SLICE_BY[key]
    overlap = slicing.overlap
    if slice_by in ("events", "time"):
        overlap = overlap_units(overlap, size)
    return FrameRecipe(
        sensor=sensor,
        slice_size=0 if slice_by == "custom" else size,
        overlap=overlap or 0,
        include_incomplete=slicing.include_incomplete,
        storage="u8" if slicing.frames == "u8" else "bits",
        slice_by=slice_by,
        custom=size if slice_by == "custom" else "",
        levels=slicing.levels,
    )


def recipe_from_parameters(parameters: dict[str, Any]) -> FrameRecipe:
    """The recipe of a prepared variant of events, from the `parameters` in its manifest; `ConfigError` for images."""
    if parameters.get("kind") == "images" or not parameters.get("sensor"):
        raise ConfigError(f"{parameters['dataset']} has no events, or none of one camera; there is nothing to slice")
    given = {key: parameters[key] for key in Slicing.model_fields if key in parameters and key != "frames"}
    given["frames"] = "thermometer" if parameters.get("levels") else parameters["frames"]
    recipe = recipe_from_slicing(Slicing(**given), SensorSize(*parameters["sensor"]))
    crop = parameters.get("crop")
    return replace(
        recipe,
        denoise_us=parameters["denoise_us"],
        denoise_warmup=parameters["denoise_warmup"],
        hot_pixels=parameters.get("hot_pixels", 0.0),
        refractory_us=parameters.get("refractory_us", 0),
        crop=None if crop is None else tuple(crop),
        downsample=parameters.get("downsample", 1),
    )


def _checked_crop(crop: tuple[int, ...] | None, sensor: SensorSize) -> tuple[int, int, int, int] | None:
    if crop is None:
        return None
    x, y, width, height = crop
    if x + width > sensor.width or y + height > sensor.height:
        raise ConfigError(
            f"data.crop={list(crop)} reaches beyond the {sensor.width}x{sensor.height} sensor; expected "
            f"x + width up to {sensor.width} and y + height up to {sensor.height}"
        )
    return x, y, width, height
