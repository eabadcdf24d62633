"""Slicing by a function of one's own, named `module:function`.

It is called as `function(events, H, W)`: `events` is a dict of the columns t (i64, µs), x, y (u16) and p (u8) of a
recording after all filters, H and W the height and width that x and y are within. It returns an array of integers
≥ 0, [T, P, H, W]: counts. The same events must always give the same counts.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from difflogic_tonic.config import own_code
from difflogic_tonic.errors import ConfigError
from difflogic_tonic.events.recipe import FrameRecipe
from difflogic_tonic.events.stream import Events

KEY = "data.custom_slicing"

Slicer: TypeAlias = Callable[[dict[str, npt.NDArray[Any]], int, int], npt.NDArray[np.integer]]


def count_custom(events: Events, recipe: FrameRecipe, where: str, key: str = KEY) -> tuple[npt.NDArray[np.uint8], int]:
    """Counts u8[T, P, H, W] that the function of the recipe makes, clipped at 255, and how many pixels that concerns.

    `key` of the config names the function, for errors.

    `ConfigError` if the function cannot be had or returns something else. What it raises itself is not caught.
    """
    function, expected = load_function(recipe.custom, key), recipe.counted
    columns: dict[str, npt.NDArray[Any]] = {
        "t": events.t.copy(),
        "x": events.x.copy(),
        "y": events.y.copy(),
        "p": events.p.copy(),
    }
    counts = function(columns, expected.height, expected.width)
    shape = (expected.polarities, expected.height, expected.width)
    if not isinstance(counts, np.ndarray) or counts.dtype.kind not in "biu" or counts.shape[1:] != shape:
        found = f"{counts.dtype}{list(counts.shape)}" if isinstance(counts, np.ndarray) else type(counts).__name__
        raise ConfigError(
            f"{key}: {recipe.custom}: returned {found} for {where}; expected an array of integers "
            f"[T, {', '.join(map(str, shape))}]"
        )
    if not len(counts):
        raise ConfigError(f"{key}: {recipe.custom}: made 0 frames of {where}; expected at least one")
    if counts.min() < 0:
        raise ConfigError(f"{key}: {recipe.custom}: returned counts below 0 for {where}")
    return np.minimum(counts, 255).astype(np.uint8), int(np.count_nonzero(counts > 255))


@lru_cache(maxsize=8)
def load_function(name: str, key: str = KEY) -> Slicer:
    """The function `module:function`. `ConfigError` if there is none that can be called like that."""
    return own_code.load_own_function(key, name, "events", "H", "W")


def source_digest(name: str, key: str = KEY) -> str:
    """SHA-256 (hex) of the file in which the function is: also what it calls there decides its frames."""
    return own_code.source_digest(key, name)
