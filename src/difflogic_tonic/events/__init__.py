"""Raw recordings → events → frames, in memory: formats, denoising, slicing, framing, the embedded digits."""

from difflogic_tonic.events.atis import decode_atis, encode_atis
from difflogic_tonic.events.framing import Framed, frame_recording, frame_recording_plain
from difflogic_tonic.events.recipe import SEMANTICS_VERSION, FrameRecipe, overlap_events, recipe_from_config
from difflogic_tonic.events.stream import Events, count_frames, denoise, make_events, pack_bits, slice_by_count

__all__ = [
    "SEMANTICS_VERSION",
    "Events",
    "FrameRecipe",
    "Framed",
    "count_frames",
    "decode_atis",
    "denoise",
    "encode_atis",
    "frame_recording",
    "frame_recording_plain",
    "make_events",
    "overlap_events",
    "pack_bits",
    "recipe_from_config",
    "slice_by_count",
]
