"""Damaged files: whatever the bytes, a decoder gives events or a `RecordingError`, soon and in little memory.

Each format starts from small whole files, of which bytes are changed, cut and inserted: by hypothesis 200 times in each
run, and with `-m slow` DIFFLOGIC_FUZZ times (100,000 if it is not set) by a generator that is seeded with the number of
the input, and a hundred times faster.
"""

import io
import struct
import zipfile
from collections.abc import Callable

import h5py
import lz4.frame as lz4_frame
import numpy as np
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from damage import changed, changes, long_run, peak_kib
from difflogic_tonic.errors import RecordingError
from difflogic_tonic.events import encode_atis, make_events
from difflogic_tonic.events.formats import FORMATS, decode

N = 20
EVENTS = make_events(np.arange(N) % 5, np.arange(N) % 3, np.arange(N) * 100, np.arange(N) % 2)
MEMORY_KIB = 200 << 10  # the files are at most 20 kB, and nothing grows more than a thousandfold


def aedat2() -> bytes:
    address = (127 - EVENTS.y.astype(int)) << 8 | (127 - EVENTS.x.astype(int)) << 1 | (1 - EVENTS.p)
    return b"#!AER-DAT2.0\r\n# AEChip: DVS128\r\n" + np.stack([address, EVENTS.t], axis=1).astype(">u4").tobytes()


def aedat3() -> bytes:
    words = np.stack([EVENTS.x.astype(int) << 17 | EVENTS.y.astype(int) << 2 | EVENTS.p << 1 | 1, EVENTS.t], axis=1)
    header = b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n#!END-HEADER\r\n"
    packet = struct.pack("<hhiiiiii", 1, 1, 8, 4, 0, N, N, N) + words.astype("<u4").tobytes()
    return header + packet + struct.pack("<hhiiiiii", 3, 1, 36, 4, 0, 1, 1, 1) + bytes(36) + packet


def aedat4(compression: int, compress: Callable[[bytes], bytes]) -> bytes:
    stream = b'<node name="0"><attr key="typeIdentifier">EVTS</attr></node>'
    xml = b'<dv version="2.0"><node name="outInfo">' + stream + b"</node></dv>"
    head = struct.pack("<I4sHHHHHxxiiqI4x", 20, b"IOHE", 10, 24, 4, 8, 16, 12, compression, -1, 8)
    head += struct.pack("<I", len(xml)) + xml
    structures = b"".join(struct.pack("<qhhb3x", t, x, y, p) for x, y, t, p in zip(*columns(), strict=True))
    content = struct.pack("<I4sHHHxxiII", 16, b"EVTS", 6, 8, 4, 8, 4, N) + structures
    body = compress(struct.pack("<I", len(content)) + content)
    packet = struct.pack("<ii", 0, len(body)) + body
    return b"#!AER-DAT4.0\r\n" + struct.pack("<I", len(head)) + head + packet * 2


def lz4(data: bytes) -> bytes:
    return lz4_frame.compress(data)


def zstd(data: bytes) -> bytes:
    return zstandard.compress(data)


def columns() -> tuple[list[int], ...]:
    return EVENTS.x.tolist(), EVENTS.y.tolist(), EVENTS.t.tolist(), EVENTS.p.tolist()


def dat() -> bytes:
    words = np.stack([EVENTS.t, EVENTS.x.astype(int) | EVENTS.y.astype(int) << 14 | EVENTS.p.astype(int) << 28], axis=1)
    return b"% Version 2\n% Height 3\n% Width 5\n\x0c\x08" + words.astype("<u4").tobytes()


def evt2() -> bytes:
    words = [8 << 28]
    for x, y, t, p in zip(*columns(), strict=True):
        words += [8 << 28 | t >> 6, p << 28 | (t & 63) << 22 | x << 11 | y]
    return b"% evt 2.0\n% geometry 5x3\n" + struct.pack(f"<{len(words)}I", *words)


def evt3() -> bytes:
    words = [0x8000]
    for x, y, t, p in zip(*columns(), strict=True):
        words += [0x6000 | t, y, 0x2000 | p << 11 | x, 0x3000 | p << 11, 0x4000 | 0b11011, 0x5000, 0xA001]
    return b"% format EVT3;height=3;width=50\n% end\n" + struct.pack(f"<{len(words)}H", *words)


def es(kind: int) -> bytes:
    events = [b"\xff" + struct.pack("<BHH", 8 | p << 1, x, y) for x, y, _, p in zip(*columns(), strict=True)]
    return b"Event Stream\x02\x00\x00" + struct.pack("<BHH", kind, 5, 3) + b"".join(events)


def structured() -> np.ndarray:
    table = np.zeros(N, [("x", "<i2"), ("y", "<i2"), ("p", "?"), ("t", "<i8")])
    for name in table.dtype.names:
        table[name] = getattr(EVENTS, name)
    return table


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npz(method: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name in "xytp":
            archive.writestr(f"{name}.npy", npy(getattr(EVENTS, name)))
    return file.getvalue()


def hdf5(compression: str | None) -> bytes:
    file = io.BytesIO()
    with h5py.File(file, "w") as out:
        if compression == "lzf":
            out.create_dataset("data/0", data=structured(), compression=compression)
        else:
            for name in "xytp":
                out.create_dataset(name, data=getattr(EVENTS, name), compression=compression)
    return file.getvalue()


def text(names: str, seconds: bool) -> bytes:
    lines = [f"{x},{y} {t / 1e6 if seconds else t}\t{p}\n" for x, y, t, p in zip(*columns(), strict=True)]
    return (names + "".join(lines)).encode()


SEEDS: dict[str, list[Callable[[], bytes]]] = {
    "atis": [lambda: encode_atis(EVENTS)],
    "aedat2": [aedat2],
    "aedat3": [aedat3],
    "aedat4": [lambda: aedat4(0, bytes), lambda: aedat4(1, lz4), lambda: aedat4(3, zstd)],
    "dat": [dat],
    "evt2": [evt2],
    "evt3": [evt3],
    "es": [lambda: es(1), lambda: es(2)],
    "hdf5": [lambda: hdf5(None), lambda: hdf5("gzip"), lambda: hdf5("lzf")],
    "npy": [lambda: npy(structured()), lambda: npy(np.stack(columns()[2:3] + columns()[:2] + columns()[3:], axis=1))],
    "npz": [lambda: npz(zipfile.ZIP_STORED), lambda: npz(zipfile.ZIP_DEFLATED)],
    "text": [lambda: text("", False), lambda: text("# x y t p\n", True)],
}
"""Format → small whole files of it. Formats that differ only in a map or an order share these."""


def check(data: bytes, format_name: str) -> None:
    """Decode, whatever comes of it: events in equal columns, or an error of one line that names the file."""
    message = None
    try:
        events = decode(data, format_name, "a").events
    except RecordingError as error:
        message = str(error)
    if message is not None:
        assert message.startswith("a: ")
        assert "\n" not in message
        return
    found = (events.x, events.y, events.t, events.p)
    assert len({len(column) for column in found}) == 1
    assert [column.dtype for column in found] == [np.uint16, np.uint16, np.int64, np.uint8]
    assert not len(events) or events.p.max() <= 1


def files(format_name: str) -> list[bytes]:
    """The whole files of a format, each decoded once: it is damage that the errors are to be about."""
    seeds = [make() for make in SEEDS[format_name]]
    for seed in seeds:
        assert len(decode(seed, format_name, "a").events) >= N
    return seeds


def test_every_decoder_is_fuzzed():
    decoders = {getattr(each.decoder, "func", each.decoder) for each in FORMATS.values()}
    assert decoders - {FORMATS["mat-asldvs"].decoder} == {
        getattr(FORMATS[name].decoder, "func", FORMATS[name].decoder) for name in SEEDS
    }


@pytest.mark.parametrize("format_name", SEEDS)
def test_damage_gives_events_or_an_error(format_name: str):
    seeds = files(format_name)
    before = peak_kib()

    @settings(max_examples=200, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(seeds), st.lists(changes, min_size=1, max_size=6))
    def run(seed: bytes, steps: list[tuple[str, float, object]]) -> None:
        check(changed(seed, steps), format_name)

    run()
    assert peak_kib() - before < MEMORY_KIB


@pytest.mark.slow
@pytest.mark.parametrize("format_name", SEEDS)
def test_much_damage_gives_events_or_an_error(format_name: str):
    seeds = files(format_name)
    before = peak_kib()
    long_run(seeds, lambda data: check(data, format_name))
    assert peak_kib() - before < MEMORY_KIB
