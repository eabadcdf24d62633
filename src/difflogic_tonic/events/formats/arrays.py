"""NumPy's own files: `.npy` with one array, `.npz` with several.

Source: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html. An array of events is structured, with
fields that are named as columns, or has four columns: [n, 4]. An archive holds one such array, or an array for each
column. Headers are read here rather than by `numpy.load`, which allocates what a damaged header claims.
"""

import ast
import io
import math
import re
import struct
import zipfile
import zlib
from functools import partial
from typing import Any

import numpy as np

from difflogic_tonic.errors import RecordingError
from difflogic_tonic.events.formats.columns import has_roles, order_of, recorded, roles_of
from difflogic_tonic.events.formats.recorded import Decoder, Raw, Recorded, damaged, text_of

MAGIC = b"\x93NUMPY"
HEADER_LIMIT = 10_000
TYPE = re.compile(r"[<>|=]?([?b]1?|[iuf][1248])")
BROKEN_ZIP = (
    zipfile.BadZipFile, zlib.error, struct.error, NotImplementedError, RuntimeError, EOFError, OSError,
    ValueError, OverflowError, IndexError,
)  # fmt: skip
"""What zipfile raises for archives that are damaged; its documentation names the first only."""

DEFLATE_RATIO = 1032  # no stream of deflate grows more than that


def decode_npy(raw: Raw, where: str, order: str | None = None, power: int | None = None) -> Recorded:
    """The events of a `.npy` file. `order` says what four columns without names are, e.g. "xytp"; `power` of ten makes
    µs of their times."""
    return events_of(read_npy(raw, where), where, order, power)


def decode_npz(raw: Raw, where: str, order: str | None = None) -> Recorded:
    """The events of a `.npz` file. `RecordingError` if its members are not those of one recording."""
    arrays = read_npz(raw, where)
    if has_roles(list(arrays)):
        roles, power = roles_of(list(arrays), where)
        return recorded({role: arrays[name] for role, name in roles.items()}, where, power)
    if len(arrays) != 1:
        raise RecordingError(
            f"{where}: members {', '.join(arrays) or 'none'}; expected x, y, t and p, or a single array"
        )
    return events_of(next(iter(arrays.values())), where, order)


def decoder_for(decoder: Any, order: str, **unit: int) -> Decoder:
    """One of the decoders above with a fixed order, and `power=3` for times in ms."""
    return partial(decoder, order=order, **unit)


def events_of(array: np.ndarray[Any, Any], where: str, order: str | None, power: int | None = None) -> Recorded:
    """The events of one array, structured or with four columns."""
    if array.dtype.names:
        roles, power = roles_of(list(array.dtype.names), where)
        return recorded({role: array[name] for role, name in roles.items()}, where, power)
    if array.ndim != 2 or array.shape[1] != 4:
        raise RecordingError(f"{where}: an array of shape {array.shape}; expected fields x, y, t, p or shape [n, 4]")
    if order is None:
        goes_back = [bool((array[1:, column] < array[:-1, column]).any()) for column in (0, 2)]
        order = order_of(goes_back[0], goes_back[1], where)
    return recorded(dict(zip(order, array.T, strict=True)), where, power)


def read_npy(raw: Raw, where: str) -> np.ndarray[Any, Any]:
    """The array of a `.npy` file, a view of its content."""
    head = raw[:12].tobytes()
    if not head.startswith(MAGIC) or len(head) < 12 or head[6] not in (1, 2, 3):
        raise damaged(where, "no header of a .npy file", 0)
    start, size = (
        (10, struct.unpack_from("<H", head, 8)[0]) if head[6] == 1 else (12, struct.unpack_from("<I", head, 8)[0])
    )
    if size > HEADER_LIMIT or start + size > len(raw):
        raise damaged(where, f"a header of {size:,} bytes", 8)
    header = parsed(text_of(raw, start, start + size))
    dtype, shape = None, None
    if isinstance(header, dict) and header.keys() == {"descr", "fortran_order", "shape"}:
        dtype, shape = dtype_of(header["descr"]), shape_of(header["shape"])
    if dtype is None or shape is None:
        raise damaged(where, "a header that is no description of an array of numbers", start)
    body = raw[start + size :]
    if math.prod(shape) * dtype.itemsize != len(body):
        raise damaged(
            where, f"{len(body):,} bytes of data, expected {math.prod(shape) * dtype.itemsize:,},", start + size
        )
    fortran = header["fortran_order"] is True
    return body.view(dtype).reshape(shape, order="F" if fortran else "C")


def parsed(text: str) -> Any:
    """The Python literal that `text` is, None if it is none."""
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def dtype_of(description: Any) -> np.dtype[Any] | None:
    """The type of one number, or of a structure of numbers; None for anything else."""
    if isinstance(description, str):
        return np.dtype(description) if TYPE.fullmatch(description) and description[1:] != "f1" else None
    if not isinstance(description, list) or not description:
        return None
    fields: list[tuple[str, np.dtype[Any]]] = []
    for field in description:
        if not (isinstance(field, tuple) and len(field) == 2 and all(isinstance(part, str) for part in field)):
            return None
        name, kind = field
        inner = dtype_of(kind) if kind else None
        if inner is None or name in (each[0] for each in fields):
            return None
        fields.append((name, inner))
    return np.dtype(fields)


def shape_of(shape: Any) -> tuple[int, ...] | None:
    """`shape`, if it is the shape of a list or a table."""
    if not isinstance(shape, tuple) or len(shape) not in (1, 2):
        return None
    return shape if all(type(size) is int and 0 <= size < 2**62 for size in shape) else None


def read_npz(raw: Raw, where: str) -> dict[str, np.ndarray[Any, Any]]:
    """Name → array of a `.npz` archive. Checksums of members are verified; sizes are, before anything is unpacked."""
    contents: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(raw.data)) as archive:
            for member in archive.infolist():
                if member.file_size > DEFLATE_RATIO * max(member.compress_size, 1) or member.compress_size > len(raw):
                    raise damaged(where, f"member {member.filename!r} claims {member.file_size:,} bytes", 0)
                contents[member.filename] = archive.read(member)
    except BROKEN_ZIP as error:
        raise RecordingError(f"{where}: the archive is damaged ({error}); copy or unpack the file again") from error
    return {
        name.removesuffix(".npy"): read_npy(np.frombuffer(content, np.uint8), f"{where}: {name!r}")
        for name, content in contents.items()
    }
