"""Event files of other cameras and datasets: which format a file has, and its events.

`docs/formats.md` describes them. Every decoder checks sizes before it allocates, gives the events in the order of the
file without sorting or dropping any, and answers damage with a `RecordingError` that names the file and the byte.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from difflogic_tonic.errors import ConfigError, RecordingError
from difflogic_tonic.events.formats import aedat2, aedat4, arrays, es, hdf5, mat, text
from difflogic_tonic.events.formats.aedat3 import decode_aedat3
from difflogic_tonic.events.formats.atis import decode_bin
from difflogic_tonic.events.formats.dat import decode_dat
from difflogic_tonic.events.formats.evt import decode_evt2, decode_evt3
from difflogic_tonic.events.formats.recorded import Decoder, Recorded
from difflogic_tonic.events.formats.recorded import Raw as Raw

HEAD_BYTES = 4096
"""How much of the start of a file `detect` should see."""


@dataclass(frozen=True)
class Format:
    """A file format. `suffixes` are in lower case with the dot; `is_head` looks at the first `HEAD_BYTES` of a file.

    A format without suffixes is never detected: it has to be asked for by name.
    """

    title: str
    decoder: Decoder
    suffixes: tuple[str, ...] = ()
    is_head: Callable[[bytes], bool] = lambda head: True


def starts(magic: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(magic)


def mentions(*words: bytes) -> Callable[[bytes], bool]:
    """Whether a header of lines with % has one of the words."""
    return lambda head: head.startswith(b"%") and any(word in head.lower() for word in words)


FORMATS: dict[str, Format] = {
    "atis": Format("ATIS .bin", decode_bin, (".bin",)),
    "aedat2": Format(
        "AEDAT 2.0, by the camera in its header", aedat2.decode_aedat2, (".aedat",), starts(b"#!AER-DAT2")
    ),
    "aedat2-dvs128": Format("AEDAT 2.0 of a DVS128", aedat2.decoder_for("dvs128")),
    "aedat2-cifar10dvs": Format("AEDAT 2.0 of CIFAR10-DVS", aedat2.decoder_for("cifar10dvs")),
    "aedat2-pokerdvs": Format("AEDAT 2.0 of POKER-DVS", aedat2.decoder_for("pokerdvs")),
    "aedat2-davis240": Format("AEDAT 2.0 of a DAVIS240", aedat2.decoder_for("davis240")),
    "aedat2-davis346": Format("AEDAT 2.0 of a DAVIS346", aedat2.decoder_for("davis346")),
    "aedat3": Format("AEDAT 3.1", decode_aedat3, (".aedat",), starts(b"#!AER-DAT3")),
    "aedat4": Format("AEDAT 4", aedat4.decode_aedat4, (".aedat4", ".aedat"), starts(aedat4.MAGIC)),
    "dat": Format("Prophesee DAT", decode_dat, (".dat",), starts(b"%")),
    "evt2": Format(
        "Prophesee RAW, EVT 2.0", decode_evt2, (".raw",), mentions(b"evt 2.0", b"format evt2;", b"format evt2\n")
    ),
    "evt3": Format("Prophesee RAW, EVT 3.0", decode_evt3, (".raw",), mentions(b"evt 3.0", b"format evt3")),
    "es": Format("Event Stream", es.decode_es, (".es",), starts(es.MAGIC)),
    "hdf5": Format("HDF5", hdf5.decode_hdf5, (".h5", ".hdf5"), starts(hdf5.MAGIC)),
    "npy": Format("NumPy array", arrays.decode_npy, (".npy",), starts(arrays.MAGIC)),
    "npy-xytp": Format("NumPy array, columns x y t p", arrays.decoder_for(arrays.decode_npy, "xytp")),
    "npy-txyp": Format("NumPy array, columns t x y p", arrays.decoder_for(arrays.decode_npy, "txyp")),
    "npy-xypt-ms": Format(
        "NumPy array, columns x y p t, times in ms", arrays.decoder_for(arrays.decode_npy, "xypt", power=3)
    ),
    "npz": Format("NumPy archive", arrays.decode_npz, (".npz",), starts(b"PK")),
    "npz-xytp": Format("NumPy archive, columns x y t p", arrays.decoder_for(arrays.decode_npz, "xytp")),
    "npz-txyp": Format("NumPy archive, columns t x y p", arrays.decoder_for(arrays.decode_npz, "txyp")),
    "mat-asldvs": Format("MATLAB file of ASL-DVS", mat.decode_asldvs),
    "text": Format("text", text.decode_text, (".txt", ".csv", ".tsv"), lambda head: b"\0" not in head),
    "text-xytp": Format("text, columns x y t p", text.decoder_for("xytp")),
    "text-txyp": Format("text, columns t x y p", text.decoder_for("txyp")),
}
"""Name → format; `detect` gives the first that fits."""


def detect(name: str, head: bytes) -> str | None:
    """The format of a file by its name and its first `HEAD_BYTES`; None if it is none of `FORMATS`."""
    suffix = PurePosixPath(name).suffix.lower()
    for format_name, each in FORMATS.items():
        if suffix in each.suffixes and each.is_head(head[:HEAD_BYTES]):
            return format_name
    return None


def decode(data: bytes | bytearray | memoryview, format: str, where: str) -> Recorded:
    """The events of a file with content `data` in one of `FORMATS`; `where` names it in errors.

    `RecordingError` if it is empty, damaged or of another format; `ConfigError` for an unknown format.
    """
    if format not in FORMATS:
        raise ConfigError(f"format {format!r} is unknown; expected one of {', '.join(FORMATS)}")
    raw = np.frombuffer(data, np.uint8)
    if not len(raw):
        raise RecordingError(f"{where}: empty file; expected a recording, {FORMATS[format].title}; unpack it again")
    raw.flags.writeable = False  # kernels are compiled for read-only content
    return FORMATS[format].decoder(raw, where)


__all__ = ["FORMATS", "HEAD_BYTES", "Decoder", "Format", "Recorded", "decode", "detect"]
