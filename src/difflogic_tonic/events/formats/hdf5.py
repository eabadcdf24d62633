"""HDF5 files with the columns of one recording, as datasets or as one structured dataset.

The file is searched for a dataset with the fields x, y, t and p, or a group that holds datasets of these names (see
`columns`): the root, `events` of several cameras' recordings, `data/0` of tonic's cached samples. Other datasets are
left alone, but two recordings in a file are an error.
"""

from typing import Any

import h5py
import numpy as np

from difflogic_tonic.errors import RecordingError
from difflogic_tonic.events.formats.columns import has_roles, recorded, roles_of
from difflogic_tonic.events.formats.recorded import Raw, Recorded, damaged

MAGIC = b"\x89HDF\r\n\x1a\n"
OBJECTS_LIMIT = 1000
GROWTH = 1100  # deflate at its best; a damaged file may claim any size
FILTERS = {32001: "blosc", 32004: "lz4", 32008: "bitshuffle", 32015: "zstd", 32026: "blosc2", 36559: "Prophesee's ECF"}


def decode_hdf5(raw: Raw, where: str) -> Recorded:
    """The events of an HDF5 file. `RecordingError` if it has not exactly one recording, or a filter is missing."""
    if raw[: len(MAGIC)].tobytes() != MAGIC:
        raise damaged(where, "no signature of HDF5", 0)
    try:
        with opened(raw) as file:
            columns, power = columns_in(file, len(raw), where)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, UnicodeDecodeError, OverflowError) as error:
        reason = " ".join(str(error).split())[:200]
        raise RecordingError(f"{where}: HDF5 cannot read it ({reason}); copy or unpack the file again") from error
    return recorded(columns, where, power)


def opened(raw: Raw) -> h5py.File:
    """The file in memory."""
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_fapl_core(backing_store=False)
    access.set_file_image(raw.tobytes())
    return h5py.File(h5py.h5f.open(b"recording", h5py.h5f.ACC_RDONLY, fapl=access))


def columns_in(file: h5py.File, n_bytes: int, where: str) -> tuple[dict[str, Any], int | None]:
    """The columns of the only recording in the file, and the power of ten that makes µs of its time, if known."""
    found: list[Any] = []
    groups: dict[str, list[str]] = {}
    seen = 0

    def look(name: str, item: Any) -> bool | None:
        nonlocal seen
        seen += 1
        if isinstance(item, h5py.Dataset):
            if item.dtype.names and has_roles(list(item.dtype.names)):
                found.append(item)
            group, _, column = str(name).rpartition("/")
            groups.setdefault(group, []).append(column)
        return True if seen >= OBJECTS_LIMIT else None

    file.visititems(look)
    found += [file[group or "/"] for group, names in groups.items() if has_roles(names)]
    if len(found) != 1:
        places = ", ".join(item.name for item in found[:5]) or "no place"
        raise RecordingError(f"{where}: recordings at {places}; expected one dataset or group with x, y, t and p")
    if isinstance(found[0], h5py.Dataset):
        roles, power = roles_of(list(found[0].dtype.names), where)
        table = values_of(found[0], n_bytes, where)
        return {role: table[name] for role, name in roles.items()}, power
    names = groups[found[0].name.strip("/")]
    roles, power = roles_of(names, where)
    return {role: values_of(found[0][name], n_bytes, where) for role, name in roles.items()}, power


def values_of(dataset: h5py.Dataset, n_bytes: int, where: str) -> np.ndarray[Any, Any]:
    """The content of a dataset, whose size must be one that the bytes of the file can hold."""
    properties = dataset.id.get_create_plist()
    for number in range(properties.get_nfilters()):
        code = properties.get_filter(number)[0]
        if not h5py.h5z.filter_avail(code):
            name = FILTERS.get(code, f"number {code}")
            raise RecordingError(
                f"{where}: {dataset.name} is compressed with the filter {name}, which HDF5 here cannot undo; "
                "write it again with gzip, lzf or none (h5repack)"
            )
    stored = dataset.id.get_storage_size()
    size = dataset.size * dataset.dtype.itemsize if dataset.shape is not None else 0
    if stored > n_bytes or size > GROWTH * stored or dataset.ndim != 1:
        shape = "x".join(map(str, dataset.shape or ()))
        raise RecordingError(f"{where}: {dataset.name} claims {shape} values in {stored:,} bytes; the file is damaged")
    return np.asarray(dataset[()])
