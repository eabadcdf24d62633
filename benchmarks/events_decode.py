"""Section `decode` of `events.py`: from a file to columns in memory, for each format.

The recordings are synthetic, three moving edges and a tenth of noise on 128x128 pixels, written by `events_files.py`;
where the folder of real recordings has one in the format, that is a case of its own. Every variant opens and reads the
file itself, and ends with the whole recording in memory, in whatever layout the library gives it. Formats that come
down to one library, which we use as well (NumPy, HDF5), have no floor: what is left to be faster at is little.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

import numpy as np

from difflogic_tonic.events import Events, encode_atis
from difflogic_tonic.events.formats import decode
from events import Case, Settings
from events_files import (
    lz4,
    moving_edges,
    write_aedat2,
    write_aedat3,
    write_aedat4,
    write_dat,
    write_es,
    write_evt2,
    write_evt3,
    write_hdf5,
    write_npy,
    write_npz,
    write_text,
    zstd,
)

FLOOR = 1.3
LIBRARIES = ("hdf5", "npy", "npz")


def cases(settings: Settings) -> Iterator[Case]:
    events = moving_edges(settings.events)
    for name, (write, suffix, format_name, peers) in SYNTHETIC.items():
        path = settings.folder / f"recording{suffix}"
        path.write_bytes(write(events))
        yield case(name, path, format_name, peers, None if format_name in LIBRARIES else FLOOR)
    for relative, (format_name, peers) in REAL.items():
        path = settings.data / relative
        if path.exists():
            yield case(
                f"{format_name}, {path.name}", path, format_name, peers, None if format_name in LIBRARIES else FLOOR
            )


def case(name: str, path: Path, format_name: str, peers: dict[str, Callable[[Path], int]], floor: float | None) -> Case:
    def ours() -> int:
        return len(decode(path.read_bytes(), format_name, path.name).events)

    return Case(name, ours(), ours, {peer: bound(read, path) for peer, read in peers.items()}, floor)


def bound(read: Callable[[Path], int], path: Path) -> Callable[[], int]:
    return lambda: read(path)


def spikingjelly(name: str) -> ModuleType:
    """A module of SpikingJelly's datasets, which import torchvision and torchaudio for downloads only."""
    import importlib

    for missing in (
        "torchvision",
        "torchvision.datasets",
        "torchvision.datasets.utils",
        "torchvision.transforms",
        "torchaudio",
    ):
        try:
            importlib.import_module(missing)
        except (ImportError, AttributeError):
            sys.modules[missing] = MagicMock(DatasetFolder=object)
    return importlib.import_module(f"spikingjelly.datasets.{name}")


def tonic_atis(path: Path) -> int:
    import tonic.io

    return len(tonic.io.read_mnist_file(str(path), np.dtype([("x", int), ("y", int), ("t", int), ("p", int)])))


def spikingjelly_atis(path: Path) -> int:
    return len(spikingjelly("utils").load_ATIS_bin(path)["t"])


def spikingjelly_aedat2(path: Path) -> int:
    return len(spikingjelly("cifar10_dvs")._load_origin_data(path)["t"])


def spikingjelly_aedat3(path: Path) -> int:
    return len(spikingjelly("utils").load_aedat_v3(path)["t"])


def whole(parts: list[np.ndarray[Any, Any]]) -> int:
    """The length of a recording that comes in parts, once it is in one piece."""
    return len(np.concatenate(parts))


def aedat_package(path: Path) -> int:
    import aedat

    return whole([packet["events"] for packet in aedat.Decoder(str(path)) if "events" in packet])


def dv_processing(path: Path) -> int:
    import dv_processing

    recording = dv_processing.io.MonoCameraRecording(str(path))
    parts = []
    while (batch := recording.getNextEventBatch()) is not None:
        parts.append(batch.numpy())
    return whole(parts)


def faery(path: Path) -> int:
    import faery

    return whole(list(faery.events_stream_from_file(path)))


def evlib(path: Path) -> int:
    import evlib

    return int(evlib.load_events(str(path), sort=False).collect().height)


def expelliarmus(encoding: str) -> Callable[[Path], int]:
    def read(path: Path) -> int:
        import expelliarmus

        return len(expelliarmus.Wizard(encoding=encoding).read(path))

    return read


def event_stream(path: Path) -> int:
    import event_stream

    with event_stream.Decoder(str(path)) as decoder:
        return whole(list(decoder))


def numpy_load(path: Path) -> int:
    """With the columns made of it that ours gives."""
    content = np.load(path)
    columns = [
        content[name].astype(kind)
        for name, kind in zip("xytp", (np.uint16, np.uint16, np.int64, np.uint8), strict=True)
    ]
    return len(columns[2])


def h5py_read(path: Path) -> int:
    import h5py

    with h5py.File(path) as file:
        return len([file["events"][name][()] for name in "xytp"][2])


def h5py_cached(path: Path) -> int:
    """A sample of tonic's cache, with the columns made of it that ours gives."""
    import h5py

    with h5py.File(path) as file:
        table = file["data/0"][()]
    return len([np.ascontiguousarray(table[name]) for name in "xytp"][2])


def numpy_text(path: Path) -> int:
    return len(np.loadtxt(path, np.int64, delimiter=",", skiprows=1))


def without(peers: dict[str, Callable[[Path], int]], name: str) -> dict[str, Callable[[Path], int]]:
    """Peers without the one that cannot read the file."""
    return {peer: read for peer, read in peers.items() if peer != name}


AEDAT4 = {"aedat": aedat_package, "dv-processing": dv_processing, "faery": faery, "evlib": evlib}
EVT2 = {"expelliarmus": expelliarmus("evt2"), "faery": faery, "evlib": evlib}
EVT3 = {"expelliarmus": expelliarmus("evt3"), "faery": faery, "evlib": evlib}
ES = {"event_stream": event_stream, "faery": faery}

SYNTHETIC: dict[str, tuple[Callable[[Events], bytes], str, str, dict[str, Callable[[Path], int]]]] = {
    "atis": (encode_atis, ".bin", "atis", {"tonic": tonic_atis, "SpikingJelly": spikingjelly_atis}),
    "aedat2, CIFAR10-DVS": (write_aedat2, ".aedat", "aedat2-cifar10dvs", {"SpikingJelly": spikingjelly_aedat2}),
    "aedat3": (write_aedat3, ".aedat", "aedat3", {"SpikingJelly": spikingjelly_aedat3}),
    "aedat4, uncompressed": (write_aedat4(0, bytes), ".aedat4", "aedat4", AEDAT4),
    "aedat4, LZ4": (write_aedat4(1, lz4), ".aedat4", "aedat4", AEDAT4),
    "aedat4, Zstandard": (write_aedat4(3, zstd), ".aedat4", "aedat4", without(AEDAT4, "evlib")),
    "dat": (write_dat, ".dat", "dat", {"expelliarmus": expelliarmus("dat"), "faery": faery}),
    "evt2": (write_evt2, ".raw", "evt2", EVT2),
    "evt3": (write_evt3, ".raw", "evt3", EVT3),
    "es": (write_es, ".es", "es", ES),
    "hdf5, columns": (write_hdf5(None), ".hdf5", "hdf5", {"h5py": h5py_read}),
    "hdf5, gzip": (write_hdf5("gzip"), ".hdf5", "hdf5", {"h5py": h5py_read}),
    "npy, structured": (write_npy, ".npy", "npy", {"numpy": numpy_load}),
    "npz, stored": (write_npz(False), ".npz", "npz", {"numpy": numpy_load}),
    "npz, compressed": (write_npz(True), ".npz", "npz", {"numpy": numpy_load}),
    "text": (write_text, ".csv", "text", {"faery": faery, "numpy": numpy_text}),
}

REAL: dict[str, tuple[str, dict[str, Callable[[Path], int]]]] = {
    "fixtures/sample.aedat4": ("aedat4", AEDAT4),
    "fixtures/davis.aedat4": ("aedat4", AEDAT4),
    "fixtures/evt2_sample.raw": ("evt2", EVT2),
    "fixtures/evt3_sample.raw": ("evt3", EVT3),
    "fixtures/dvs.es": ("es", ES),
    "dvs-gesture/0_0.hdf5": ("hdf5", {"h5py": h5py_cached}),
}
