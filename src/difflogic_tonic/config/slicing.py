"""How recordings become frames: the keys that prepare configs and `data.slice` of training configs share."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, Strict, model_validator

from difflogic_tonic.config.overrides import parse_overrides
from difflogic_tonic.config.own_code import is_own_code
from difflogic_tonic.config.sections import Positive, Section, build_section
from difflogic_tonic.errors import ConfigError

DEFAULT_EVENTS_PER_FRAME = 1500
SLICING_KEYS = (
    "events_per_frame", "time_window", "time_bins", "event_bins",
    "frames_by_number", "frames_by_time", "frame_duration", "custom_slicing",
)  # fmt: skip
"""Keys of which one, at most, says how recordings are sliced."""

ADVANCING_KEYS = ("events_per_frame", "time_window")
SLICING_OPTIONS = {"overlap": SLICING_KEYS[:4], "include_incomplete": ADVANCING_KEYS}
"""Option → the ways to slice that it belongs to."""


class Slicing(Section):
    """One way to slice with its options, and what is stored of a frame."""

    section: ClassVar[str] = "data"
    """Where the keys stand in a config, for errors."""

    events_per_frame: Positive | None = None
    """A frame is so many events. Give one of the eight ways to slice; in a prepare config without any, frames have 1500
    events."""

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

    frames: Literal["u8", "bits", "thermometer"] = "u8"
    """What a frame holds: counts per pixel up to 255 (`u8`), whether there was an event (`bits`), or a bit for each of
    the `levels` (`thermometer`)."""

    levels: Annotated[tuple[Annotated[int, Field(ge=1, le=255)], ...], Strict(False)] = ()
    """Ascending counts of `frames: thermometer`: a polarity becomes as many channels, each 1 from its count on."""

    @property
    def slicing(self) -> tuple[str, Any]:
        """The key that says how recordings are sliced, and its value."""
        given = ((key, getattr(self, key)) for key in SLICING_KEYS)
        return next((pair for pair in given if pair[1] is not None), ("events_per_frame", DEFAULT_EVENTS_PER_FRAME))

    @model_validator(mode="after")
    def _slicing_is_one_way(self) -> "Slicing":
        given = [f"{self.section}.{key}" for key in SLICING_KEYS if getattr(self, key) is not None]
        if len(given) > 1:
            raise ValueError(f"{given[0]} and {given[1]} are two ways to slice; keep one, e.g. with {given[0]}=null")
        key, size = self.slicing
        way = f"{self.section}.{key}"
        for option, keys in SLICING_OPTIONS.items():
            if getattr(self, option) and key not in keys:
                raise ValueError(f"{self.section}.{option} has no meaning with {way}; it goes with {', '.join(keys)}")
        if isinstance(self.overlap, int) and key in ADVANCING_KEYS and self.overlap >= size:
            raise ValueError(
                f"{self.section}.overlap {self.overlap} must be below {way} {size}, or frames would never advance"
            )
        if self.custom_slicing is not None and not is_own_code(self.custom_slicing):
            raise ValueError(f"{way}: expected module:function, found {self.custom_slicing!r}")
        return self

    @model_validator(mode="after")
    def _planes_have_levels(self) -> "Slicing":
        frames, levels = f"{self.section}.frames", f"{self.section}.levels"
        if (self.frames == "thermometer") != bool(self.levels):
            raise ValueError(f"{frames}: thermometer and {levels} belong together, e.g. {levels}=[1, 2, 4]")
        if list(self.levels) != sorted(set(self.levels)):
            raise ValueError(f"{levels}: expected ascending counts, found {list(self.levels)}")
        return self


class Slice(Slicing):
    """`data.slice` of a training config: how recordings that were prepared as events become frames."""

    section: ClassVar[str] = "data.slice"

    @model_validator(mode="after")
    def _says_a_way(self) -> "Slice":
        if not any(getattr(self, key) is not None for key in SLICING_KEYS):
            raise ValueError(f"{self.section} does not say how to slice; add one of {', '.join(SLICING_KEYS)}")
        return self


def slice_from_words(text: str, where: str) -> Slice:
    """The slicing that assignments with spaces between them make, e.g. `time_bins=8 overlap=0.5`.

    `where` names them in the `ConfigError` for what cannot be one.
    """
    if wrong := [word for word in text.split() if "=" not in word]:
        raise ConfigError(f"{where}: {wrong[0]!r}; expected KEY=VALUE, e.g. time_bins=8")
    prefix = f"{Slice.section}."
    values = parse_overrides(" ".join(prefix + word for word in text.split()).splitlines())
    return build_section(Slice, {key.removeprefix(prefix): value for key, value in values.items()}, where)
