"""What decides the bytes of a frame."""

from dataclasses import dataclass
from typing import Literal

from difflogic_tonic.config import PrepareConfig, SensorSize
from difflogic_tonic.errors import ConfigError
from difflogic_tonic.events.stream import Warmup


@dataclass(frozen=True)
class FrameRecipe:
    """How a recording becomes frames. `overlap` is in events; `denoise_us` in µs, 0 for no denoising."""

    sensor: SensorSize
    events_per_frame: int
    overlap: int = 0
    include_incomplete: bool = False
    denoise_us: int = 0
    denoise_warmup: Warmup = "keep"
    storage: Literal["u8", "bits"] = "u8"

    def __post_init__(self) -> None:
        assert 0 <= self.overlap < self.events_per_frame, self
        assert self.denoise_us >= 0, self

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """(P, H, W)"""
        return self.sensor.polarities, self.sensor.height, self.sensor.width

    @property
    def frame_nbytes(self) -> int:
        """Bytes of one stored frame."""
        return self.sensor.values if self.storage == "u8" else -(-self.sensor.values // 8)


def recipe_from_config(config: PrepareConfig) -> FrameRecipe:
    """The recipe of a prepare config. `ConfigError` if frames would not move on from one to the next."""
    data = config.data
    return FrameRecipe(
        sensor=config.facts.sensor,
        events_per_frame=data.events_per_frame,
        overlap=overlap_events(data.overlap, data.events_per_frame),
        include_incomplete=data.include_incomplete,
        denoise_us=data.denoise_time,
        denoise_warmup=data.denoise_warmup,
        storage=data.frames,
    )


def overlap_events(overlap: int | float, events_per_frame: int) -> int:
    """`overlap` in events: an integer is that already, a float in [0, 1) is a fraction of the frame, rounded.

    A fraction always leaves at least one new event per frame. `ConfigError` for an integer of a whole frame or more.
    """
    if isinstance(overlap, float):
        return min(round(overlap * events_per_frame), events_per_frame - 1)
    if overlap >= events_per_frame:
        raise ConfigError(
            f"data.overlap={overlap} leaves no new event in a frame of data.events_per_frame={events_per_frame}; "
            f"expected at most {events_per_frame - 1} events, or a fraction such as 0.5"
        )
    return overlap
