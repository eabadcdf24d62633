"""Events that a file gives as columns with or without names: what the columns mean, and whether they can be events.

Shared by npy, npz, HDF5 and text. The rules, which `docs/formats.md` repeats:

- A column is known by its name (`NAMES`), in any case. Four columns without names are x y t p or t x y p: the column
  that never goes back is the time.
- A time is in the unit that its name ends with (`_s`, `_ms`, `_us`, `_ns`). Otherwise whole numbers are µs, and if any
  has a fraction, all are seconds.
- Polarity is 0 and 1, or -1 and 1, or false and true.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from difflogic_tonic.errors import RecordingError
from difflogic_tonic.events.formats.recorded import Recorded
from difflogic_tonic.events.stream import Events

NAMES = {
    "x": ("x", "xs", "col", "column"),
    "y": ("y", "ys", "row"),
    "t": ("t", "ts", "time", "times", "timestamp", "timestamps"),
    "p": ("p", "ps", "pol", "polarity", "polarities", "on"),
}
UNITS = {"_s": 6, "_ms": 3, "_us": 0, "_ns": -3}
"""Ending of the time's name → power of ten that makes µs of it."""

ORDERS = ("xytp", "txyp")
LATEST = 2**62
LARGEST = 2**16 - 1


def role_of(name: str) -> tuple[str | None, int | None]:
    """Which of x, y, t, p a column of this name is, None for another, and the power of ten of its unit if it says so.

    >>> role_of("Timestamp_ms"), role_of("polarity"), role_of("height")
    (('t', 3), ('p', None), (None, None))
    """
    name = name.strip().lower()
    for ending, power in UNITS.items():
        if name.removesuffix(ending) in NAMES["t"] and name.endswith(ending):
            return "t", power
    return next((role for role, names in NAMES.items() if name in names), None), None


def roles_of(names: list[str], where: str) -> tuple[dict[str, str], int | None]:
    """Role → name for x, y, t and p, and the unit's power of ten. `RecordingError` if one is missing or there twice."""
    found: dict[str, str] = {}
    power = None
    for name in names:
        role, unit = role_of(name)
        if role in found:
            raise RecordingError(
                f"{where}: columns {found[role]!r} and {name!r} both mean {role}; expected one of them"
            )
        if role:
            found[role] = name
            power = unit if role == "t" else power
    if missing := [role for role in "xytp" if role not in found]:
        listed = ", ".join(names[:12])
        raise RecordingError(
            f"{where}: no column for {', '.join(missing)} in {listed or 'the file'}; name them x y t p"
        )
    return found, power


def has_roles(names: list[str]) -> bool:
    """Whether all of x, y, t and p are among columns of these names."""
    return {role_of(name)[0] for name in names} >= set("xytp")


def order_of(first_goes_back: bool, third_goes_back: bool, where: str) -> str:
    """ "xytp" or "txyp" for four columns without names, by which of the two possible columns of the time goes back."""
    if first_goes_back != third_goes_back:
        return "xytp" if first_goes_back else "txyp"
    both = "both" if first_goes_back else "neither"
    raise RecordingError(
        f"{where}: columns without names, and {both} of the first and the third go back in time; "
        "expected names (x, y, t, p), or a format that ends in -xytp or -txyp"
    )


def recorded(columns: dict[str, Any], where: str, power: int | None = None) -> Recorded:
    """Events from equally long columns "x", "y", "t", "p" of numbers; `power` of ten makes µs of the time.

    `RecordingError` for a column that is not one of numbers, lengths that differ, and the first impossible value.
    """
    arrays = {role: np.ascontiguousarray(column) for role, column in columns.items()}
    lengths = {role: array.shape for role, array in arrays.items()}
    if len(set(lengths.values())) > 1 or arrays["t"].ndim != 1:
        raise RecordingError(f"{where}: columns of shapes {lengths}; expected four lists of the same length")
    for role, array in arrays.items():
        if array.dtype.kind not in "biuf":
            raise RecordingError(f"{where}: column {role} is of type {array.dtype}; expected numbers")
    return Recorded(
        Events(
            whole(arrays["x"], "x", 0, LARGEST, where).astype(np.uint16, copy=False),
            whole(arrays["y"], "y", 0, LARGEST, where).astype(np.uint16, copy=False),
            microseconds(arrays["t"], where, power),
            polarity(arrays["p"], where),
        )
    )


def whole(column: npt.NDArray[Any], role: str, lowest: int, highest: int, where: str) -> npt.NDArray[Any]:
    """`column`, if all of it are whole numbers in the range."""
    if not len(column) or column.dtype.kind == "b":
        return column
    if column.dtype.kind == "f":
        refuse(~(np.isfinite(column) & (np.floor(column) == column)), column, role, "a whole number", where)
    elif np.iinfo(column.dtype).min >= lowest and np.iinfo(column.dtype).max <= highest:
        return column
    if column.min() < lowest or column.max() > highest:
        refuse((column < lowest) | (column > highest), column, role, f"{lowest} to {highest}", where)
    return column


def microseconds(column: npt.NDArray[Any], where: str, power: int | None) -> npt.NDArray[np.int64]:
    """Times in µs, by the unit if it is known, else by whether any has a fraction."""
    if column.dtype.kind == "f":
        refuse(~np.isfinite(column), column, "t", "a number", where)
        if power is None:
            power = 6 if (np.floor(column) != column).any() else 0
        column = np.rint(column.astype(np.float64) * 10.0**power)
    elif power:
        whole(column, "t", -LATEST // 10**6, LATEST // 10**6, where)
        times = column.astype(np.int64)
        return times * 10**power if power > 0 else (times + 500) // 1000
    return whole(column, "t", -LATEST, LATEST, where).astype(np.int64, copy=False)


def polarity(column: npt.NDArray[Any], where: str) -> npt.NDArray[np.uint8]:
    """0 and 1 from 0 and 1, or from -1 and 1."""
    column = whole(column, "p", -1, 1, where)
    if column.dtype.kind in "bu" or not len(column) or column.min() >= 0:
        return column.astype(np.uint8, copy=False)
    refuse(column == 0, column, "p", "1 or -1, since there are negative ones", where)
    return (column > 0).astype(np.uint8)


def refuse(bad: npt.NDArray[np.bool_], column: npt.NDArray[Any], role: str, expected: str, where: str) -> None:
    """`RecordingError` for the first value that is `bad`, if any."""
    if bad.any():
        at = int(np.argmax(bad))
        raise RecordingError(f"{where}: {role}={column[at]} of event {at:,}; expected {expected}; the file is damaged")
