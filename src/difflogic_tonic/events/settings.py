"""What the kernels are told, and what they answer: a recipe in numbers."""

from typing import NamedTuple

EVENTS, TIME, TIME_BINS, EVENT_BINS, NUMBER, NUMBER_BY_TIME, DURATION = range(7)
"""The rules of `slicing`."""

OK, OUTSIDE, DISORDER, TOO_MANY = range(4)
"""What became of a recording: frames; a pixel outside the sensor; times that do not ascend where they are to slice;
more frames than `Settings.most_frames` (then they are counted in place of the events)."""


class Settings(NamedTuple):
    """A recipe in numbers. `width`, `height`, `polarities`: what is counted in. `overlap`: events or µs.

    Kernels are called with them as an array i64[13]: a named tuple takes longer to hand over than 1,000 events take.
    """

    width: int
    height: int
    polarities: int
    denoise_us: int
    keep_warmup: int
    rule: int
    size: int
    overlap: int
    include_incomplete: int
    as_bits: int
    n_levels: int
    frame_nbytes: int
    most_frames: int
