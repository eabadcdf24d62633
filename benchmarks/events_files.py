"""Synthetic recordings for `events_decode.py`, as files of each format: three moving edges and a tenth of noise."""

import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from difflogic_tonic.events import Events, make_events

WIDTH = HEIGHT = 128
DURATION_US = 1_300_000
PACKET = 4096


def moving_edges(n: int) -> Events:
    rng = np.random.default_rng(0)
    t = np.sort(rng.integers(0, DURATION_US, n))
    turn = 2 * np.pi * (t / DURATION_US + rng.integers(0, 3, n) / 3)
    angle = rng.uniform(0, 2 * np.pi, n)
    x = np.clip(WIDTH * (0.5 + 0.28 * np.sin(turn) + 0.18 * np.cos(angle)), 0, WIDTH - 1)
    y = np.clip(HEIGHT * (0.5 + 0.28 * np.cos(turn) + 0.18 * np.sin(angle)), 0, HEIGHT - 1)
    noise = rng.random(n) < 0.1
    x = np.where(noise, rng.integers(0, WIDTH, n), x).astype(np.int64)
    y = np.where(noise, rng.integers(0, HEIGHT, n), y).astype(np.int64)
    return make_events(x, y, t, np.where(noise, rng.integers(0, 2, n), np.cos(angle - turn) > 0).astype(np.int64))


def write_aedat2(events: Events) -> bytes:
    """With the address map of CIFAR10-DVS."""
    words = np.empty((len(events), 2), ">u4")
    words[:, 0] = (127 - events.x.astype(np.uint32)) << 8 | (127 - events.y.astype(np.uint32)) << 1 | (1 - events.p)
    words[:, 1] = events.t
    return b"#!AER-DAT2.0\r\n# Timestamps tick is 1 us\r\n" + words.tobytes()


def write_aedat3(events: Events) -> bytes:
    words = np.empty((len(events), 2), "<u4")
    words[:, 0] = (
        events.x.astype(np.uint32) << 17 | events.y.astype(np.uint32) << 2 | events.p.astype(np.uint32) << 1 | 1
    )
    words[:, 1] = events.t
    out = [b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n#!END-HEADER\r\n"]
    for start in range(0, len(events), PACKET):
        body = words[start : start + PACKET]
        out.append(struct.pack("<hhiiiiii", 1, 1, 8, 4, 0, *(len(body),) * 3) + body.tobytes())
    return b"".join(out)


def write_aedat4(compression: int, compress: Callable[[bytes], bytes]) -> Callable[[Events], bytes]:
    def write(events: Events) -> bytes:
        table = np.zeros(len(events), [("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("p", "u1"), ("_", "V3")])
        for name in "xytp":
            table[name] = getattr(events, name)
        xml = (
            b'<dv version="2.0"><node name="outInfo" path="/mainloop/Recorder/outInfo/"><node name="0" '
            b'path="/mainloop/Recorder/outInfo/0/"><attr key="compression" type="string">LZ4</attr><attr '
            b'key="originalModuleName" type="string">capture</attr><attr key="originalOutputName" type="string">'
            b'events</attr><attr key="typeDescription" type="string">Array of events (polarity ON/OFF).</attr>'
            b'<attr key="typeIdentifier" type="string">EVTS</attr>'
            b'<node name="info" path="/mainloop/Recorder/outInfo/0/info/">'
            b'<attr key="sizeX" type="int">128</attr><attr key="sizeY" type="int">128</attr><attr key="source" '
            b'type="string">DVS128_0</attr></node></node></node></dv>'
        )
        head = struct.pack("<I4sHHHHHxx", 20, b"IOHE", 10, 24, 4, 8, 16) + struct.pack(
            "<iiqI4x", 12, compression, -1, 8
        )
        head += struct.pack("<I", len(xml)) + xml + bytes(-len(xml) % 4 + 4)
        out = [b"#!AER-DAT4.0\r\n", struct.pack("<I", len(head)), head]
        for start in range(0, len(events), PACKET):
            body = table[start : start + PACKET]
            content = struct.pack("<I4sHHHxxiII", 16, b"EVTS", 6, 8, 4, 8, 4, len(body)) + body.tobytes()
            packed = compress(struct.pack("<I", len(content)) + content)
            out.append(struct.pack("<ii", 0, len(packed)) + packed)
        return b"".join(out)

    return write


def lz4(data: bytes) -> bytes:
    import lz4.frame

    return bytes(lz4.frame.compress(data))


def zstd(data: bytes) -> bytes:
    import zstandard

    return zstandard.compress(data)


def write_dat(events: Events) -> bytes:
    words = np.empty((len(events), 2), "<u4")
    words[:, 0] = events.t
    words[:, 1] = events.x.astype(np.uint32) | events.y.astype(np.uint32) << 14 | events.p.astype(np.uint32) << 28
    return b"% Data file containing CD events.\n% Version 2\n% Height 128\n% Width 128\n\x0c\x08" + words.tobytes()


def write_evt2(events: Events) -> bytes:
    high = events.t >> 6
    new = np.diff(high, prepend=-1) != 0
    at = np.arange(len(events)) + np.cumsum(new)
    words = np.empty(len(events) + int(new.sum()), "<u4")
    words[at] = events.p.astype(np.int64) << 28 | (events.t & 63) << 22 | events.x.astype(np.int64) << 11 | events.y
    words[at[new] - 1] = 8 << 28 | high[new]
    return b"% evt 2.0\n% geometry 128x128\n% end\n" + words.tobytes()


def write_evt3(events: Events) -> bytes:
    """Single events; words of time and row where they change, and the high time every 16 µs as cameras send it."""
    t, y = events.t, events.y
    marks = np.diff(t >> 4, prepend=-1) != 0
    lows, rows = np.diff(t, prepend=-1) != 0, (np.diff(y.astype(np.int64), prepend=-1) != 0)
    columns = np.stack(
        [0x8000 | t >> 12 & 0xFFF, 0x6000 | t & 0xFFF, y, 0x2000 | events.p.astype(np.int64) << 11 | events.x], axis=1
    )
    chosen = np.stack([marks, lows, rows, np.ones(len(t), bool)], axis=1)
    return b"% evt 3.0\n% geometry 128x128\n% end\n" + columns[chosen].astype("<u2").tobytes()


def write_es(events: Events) -> bytes:
    steps = np.diff(events.t, prepend=events.t[0])
    overflows = steps // 127
    at = np.arange(len(events)) * 5 + np.cumsum(overflows)
    out = np.full(5 * len(events) + int(overflows.sum()), 0xFF, np.uint8)
    rows = HEIGHT - 1 - events.y
    for k, byte in enumerate(((steps % 127) << 1 | events.p, events.x, events.x >> 8, rows, rows >> 8)):
        out[at + k] = byte & 0xFF
    return b"Event Stream\x02\x00\x00\x01" + struct.pack("<HH", WIDTH, HEIGHT) + out.tobytes()


def write_text(events: Events) -> bytes:
    rows = zip(events.t.tolist(), events.x.tolist(), events.y.tolist(), events.p.tolist(), strict=True)
    return b"t,x,y,p\n" + "".join(f"{t},{x},{y},{p}\n" for t, x, y, p in rows).encode()


def write_npy(events: Events) -> bytes:
    """The structured array that tonic's datasets give: four 64-bit numbers an event."""
    import io

    file = io.BytesIO()
    np.save(file, structured(events))
    return file.getvalue()


def structured(events: Events) -> np.ndarray[Any, Any]:
    table = np.empty(len(events), [("x", "<i8"), ("y", "<i8"), ("t", "<i8"), ("p", "<i8")])
    for name in "xytp":
        table[name] = getattr(events, name)
    return table


def write_npz(compressed: bool) -> Callable[[Events], bytes]:
    def write(events: Events) -> bytes:
        import io

        file = io.BytesIO()
        (np.savez_compressed if compressed else np.savez)(file, t=events.t, x=events.x, y=events.y, p=events.p)
        return file.getvalue()

    return write


def write_hdf5(compression: str | None) -> Callable[[Events], bytes]:
    def write(events: Events) -> bytes:
        import io

        import h5py

        file = io.BytesIO()
        with h5py.File(file, "w") as out:
            for name in "xytp":
                out.create_dataset(f"events/{name}", data=getattr(events, name), compression=compression)
        return file.getvalue()

    return write
