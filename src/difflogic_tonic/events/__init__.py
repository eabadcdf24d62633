"""Raw recordings → events → frames, in memory: formats, denoising, slicing, framing, the embedded digits."""

from typing import TYPE_CHECKING, Any

from difflogic_tonic.events.atis import decode_atis, encode_atis
from difflogic_tonic.events.recipe import FrameRecipe, recipe_from_config
from difflogic_tonic.events.slicing import slice_by_count
from difflogic_tonic.events.stream import Events, count_frames, denoise, make_events, pack_bits
from difflogic_tonic.events.versions import SEMANTICS_VERSION

if TYPE_CHECKING:
    from difflogic_tonic.events.framing import (
        Framed,
        frame_events,
        frame_events_plain,
        frame_recording,
        frame_recording_plain,
    )

__all__ = [
    "SEMANTICS_VERSION",
    "Events",
    "FrameRecipe",
    "Framed",
    "count_frames",
    "decode_atis",
    "denoise",
    "encode_atis",
    "frame_events",
    "frame_events_plain",
    "frame_recording",
    "frame_recording_plain",
    "make_events",
    "pack_bits",
    "recipe_from_config",
    "slice_by_count",
]


def __getattr__(name: str) -> Any:
    """Import numba with the first use of a kernel: a `prepare` with nothing to do never needs it."""
    if name in {"Framed", "frame_events", "frame_events_plain", "frame_recording", "frame_recording_plain"}:
        from difflogic_tonic.events import framing

        return getattr(framing, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
