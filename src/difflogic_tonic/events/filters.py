"""Filters that leave out events before they are sliced, each an event stream in and one out.

`apply_filters` is their order: what is wrong with a pixel is found where the sensor saw it, so the three filters of
noise come before cropping and downsampling.
"""

import numpy as np
import numpy.typing as npt

from difflogic_tonic.events.recipe import FrameRecipe
from difflogic_tonic.events.stream import LONG_AGO, Events, denoise


def apply_filters(events: Events, recipe: FrameRecipe) -> Events:
    """Hot pixels, refractory period, denoising, crop, downsampling: plain numpy, the reference of the kernels."""
    events = remove_hot_pixels(events, recipe.hot_pixels)
    events = refractory(events, recipe.refractory_us)
    events = denoise(events, recipe.denoise_us, recipe.denoise_warmup)
    return crop_and_downsample(events, recipe.crop, recipe.downsample)


def remove_hot_pixels(events: Events, factor: float) -> Events:
    """Without the events of pixels that have more than `factor` times the mean of all pixels with any; 0 keeps all.

    `factor` is at least 1, so that never all of them go.
    """
    if factor == 0 or len(events) == 0:
        return events
    pixel = events.y.astype(np.int64) * (int(events.x.max()) + 1) + events.x
    counts = np.bincount(pixel)
    hot = counts * np.count_nonzero(counts) > factor * len(events)
    return events[~hot[pixel]]


def refractory(events: Events, refractory_us: int) -> Events:
    """The events that come more than `refractory_us` microseconds after the one before at their pixel; 0 keeps all.

    Polarity is ignored, and the one before counts whether it was kept or not. The first event of a pixel stays. This is
    tonic 1.7.0's `RefractoryPeriod`, which however drops a first event at time 0.
    """
    if refractory_us == 0 or len(events) == 0:
        return events
    last = np.full((int(events.y.max()) + 1, int(events.x.max()) + 1), LONG_AGO, np.int64)
    kept = np.zeros(len(events), bool)
    for i, (x, y, t) in enumerate(zip(events.x.tolist(), events.y.tolist(), events.t.tolist(), strict=True)):
        kept[i] = t - last[y, x] > refractory_us
        last[y, x] = t
    return events[kept]


def crop_and_downsample(events: Events, crop: tuple[int, int, int, int] | None, factor: int) -> Events:
    """The events inside `crop` (x, y, width, height), as a sensor of that size with pixels `factor` wide would see."""
    x, y = events.x, events.y
    if crop is None and factor == 1:
        return events
    if crop is not None:
        left, top, width, height = crop
        inside = (x >= left) & (x < left + width) & (y >= top) & (y < top + height)
        events = events[inside]
        x, y = events.x - np.uint16(left), events.y - np.uint16(top)
    return Events(_divided(x, factor), _divided(y, factor), events.t, events.p)


def _divided(column: npt.NDArray[np.uint16], factor: int) -> npt.NDArray[np.uint16]:
    return column if factor == 1 else column // np.uint16(factor)
