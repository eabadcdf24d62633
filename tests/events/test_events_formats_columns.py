"""Columns with and without names: npy, npz, HDF5 and text."""

import io
import struct
import zipfile
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from difflogic_tonic.errors import RecordingError
from difflogic_tonic.events import Events
from difflogic_tonic.events.formats import decode

EVENTS = [(4, 2, 10, 1), (0, 1, 20, 0), (3, 0, 20, 1)]


def rows(events: Events) -> list[tuple[int, int, int, int]]:
    return list(zip(events.x.tolist(), events.y.tolist(), events.t.tolist(), events.p.tolist(), strict=True))


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npz(compressed: bool = False, **arrays: Any) -> bytes:
    file = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(file, **arrays)
    return file.getvalue()


def hdf5(compression: str | None = None, **datasets: Any) -> bytes:
    """Names with __ for /."""
    file = io.BytesIO()
    with h5py.File(file, "w") as out:
        for name, data in datasets.items():
            out.create_dataset(name.replace("__", "/"), data=data, compression=compression)
    return file.getvalue()


def structured(dtype: list[tuple[str, str]]) -> np.ndarray:
    table = np.zeros(len(EVENTS), dtype)
    for event, values in zip(table, EVENTS, strict=True):
        for name in table.dtype.names:
            event[name] = values["xytp".index(name[0])]
    return table


def columns(dtype: Any = np.int64) -> dict[str, np.ndarray]:
    return {name: np.array(values, dtype) for name, values in zip("xytp", zip(*EVENTS, strict=True), strict=True)}


FILES = {
    "npy, structured": ("npy", npy(structured([("x", "<i2"), ("y", "<i2"), ("t", "<i8"), ("p", "?")]))),
    "npy, other names and order": (
        "npy",
        npy(structured([("timestamp", "<u4"), ("x", "u1"), ("y", "u1"), ("pol", "i1")])),
    ),
    "npy, big-endian": ("npy", npy(structured([("x", ">u2"), ("y", ">u2"), ("t", ">i8"), ("p", "u1")]))),
    "npy, x y t p": ("npy", npy(np.array(EVENTS, np.int32))),
    "npy, t x y p": ("npy", npy(np.array(EVENTS, np.uint64)[:, [2, 0, 1, 3]])),
    "npy, t x y p of floats in columns": ("npy", npy(np.asfortranarray(np.array(EVENTS, float)[:, [2, 0, 1, 3]]))),
    "npy, order by the format": ("npy-txyp", npy(np.array(EVENTS)[:1, [2, 0, 1, 3]])),
    "npz, columns": ("npz", npz(**columns())),
    "npz, compressed, beside other arrays": ("npz", npz(compressed=True, **columns(np.uint16), label=np.array([3]))),
    "npz, one array": ("npz", npz(events=np.array(EVENTS))),
    "hdf5, columns at the root": ("hdf5", hdf5(**columns())),
    "hdf5, columns in events": (
        "hdf5",
        hdf5(**{f"events__{name}": each for name, each in columns().items()}, ms_to_idx=[0]),
    ),
    "hdf5, structured": (
        "hdf5",
        hdf5(compression="lzf", data__0=structured([("x", "i2"), ("y", "i2"), ("p", "?"), ("t", "i8")])),
    ),
    "hdf5, compressed": ("hdf5", hdf5(compression="gzip", **columns(np.float32))),
    "text, x y t p": ("text", b"4 2 10 1\n0 1 20 0\n3 0 20 1\n"),
    "text, t x y p": ("text", b"10 4 2 1\n20 0 1 0\n20 3 0 1"),
    "text, seconds": ("text", b"0.00001 4 2 1\n0.000020 0 1 0\n2e-5 3 0 1\n"),
    "text, names": ("text", b"p, y ,x,timestamp\r\n1,2,4,10\r\n0,1,0,20\r\n\r\n1,0,3,20\r\n"),
    "text, names in a comment": (
        "text",
        b"# recorded yesterday\n# y;x;t_ms;polarity;frame\n2;4;0.01;1;0\n1;0;0.02;-1;0\n0;3;2e-2;+1;9\n",
    ),
    "text, exponents": ("text", b"4.000e+00 2.000e+00 1.000e+01 1.0\n0e0 1 2E+1 0\n300e-2 0. 20.0 1\n# end"),
    "text, byte order mark": ("text-xytp", b"\xef\xbb\xbf4 2 10 1\n0 1 20 0\n\t3  0\t20 1\n"),
}


@pytest.mark.parametrize("name", FILES)
def test_the_same_events_in_every_layout(name: str):
    format_name, data = FILES[name]
    events = decode(data, format_name, "a").events
    assert rows(events) == EVENTS[: len(events)]
    assert [str(column.dtype) for column in (events.x, events.y, events.t, events.p)] == [
        "uint16",
        "uint16",
        "int64",
        "uint8",
    ]


def with_column(name: str, values: list[Any], dtype: Any = None) -> bytes:
    return npz(**{**columns(), name: np.array(values, dtype)})


@pytest.mark.parametrize(
    ("format_name", "data", "message"),
    [
        ("npz", with_column("x", [1, -2, 3]), "a: x=-2 of event 1; expected 0 to 65535"),
        ("npz", with_column("y", [1, 2, 65536]), "a: y=65536 of event 2; expected 0 to 65535"),
        ("npz", with_column("x", [1, 0.5, 3]), "a: x=0.5 of event 1; expected a whole number"),
        ("npz", with_column("t", [1, np.nan, 3]), "a: t=nan of event 1; expected a number"),
        ("npz", with_column("t", [1, 2**63 + 1, 3], np.uint64), "event 1; expected"),
        ("npz", with_column("p", [1, 2, 0]), "a: p=2 of event 1; expected -1 to 1"),
        ("npz", with_column("p", [1, 0, -1]), "a: p=0 of event 1; expected 1 or -1"),
        ("npz", with_column("p", [1, 0]), "expected four lists of the same length"),
        ("npz", with_column("time", [1, 2, 3]), "columns 't' and 'time' both mean t"),
        ("npz", npz(x=[1], y=[1], p=[1]), "a: members x, y, p; expected x, y, t and p, or a single array"),
        ("npy", npy(np.zeros((3, 5), int)), "an array of shape (3, 5); expected fields x, y, t, p or shape [n, 4]"),
        ("npy", npy(np.zeros(3, [("x", int), ("t", int)])), "no column for y, p in x, t"),
        ("npy", npy(np.zeros((3, 4), int)), "neither of the first and the third go back in time"),
        ("npy", npy(np.array([[2, 0, 2, 0], [1, 0, 1, 0]])), "both of the first and the third go back in time"),
        ("npy", npy(np.zeros((3, 4), int))[:-1], "95 bytes of data, expected 96, at byte 128"),
        ("npy", npy(np.array([None])), "a header that is no description of an array of numbers at byte 10"),
        ("npy", npy(np.zeros((3, 4), int)).replace(b"(3, 4)", b"(9**9)"), "a header that is no description"),
        ("npy", npy(np.zeros((3, 4), int)).replace(b"(3, 4), ", b"(10**9, 4"[:8]), "a header that is no description"),
        ("npy", bytes(100), "no header of a .npy file at byte 0"),
        ("npz", npz(**columns())[:-30], "the archive is damaged"),
        ("hdf5", hdf5(**columns())[:1000], "HDF5 cannot read it"),
        ("hdf5", hdf5(x=[1], y=[1]), "recordings at no place; expected one dataset or group with x, y, t and p"),
        ("hdf5", hdf5(**{f"{group}__{name}": [1] for group in "ab" for name in "xytp"}), "recordings at /a, /b"),
        ("hdf5", bytes(100), "no signature of HDF5 at byte 0"),
        ("text", b"x y t p\n1 2 3 1\n1 2 z 1\n", "no number in line 3 at byte 20"),
        ("text", b"x y t p\n1 2-3 1 0\n", "no number in line 2 at byte 10"),
        ("text", b"x y t p\n1 2 3\n", "a line with too few columns in line 2 at byte 13"),
        ("text", b"x y t p\n1 2 3 1 0\n", "a line with too many columns in line 2 at byte 16"),
        (
            "text",
            b"x y t p\n65536 2 3 1\n",
            "a coordinate that is not a whole number from 0 to 65,535 in line 2 at byte 8",
        ),
        ("text", b"x y t p\n1.5 2 3 1\n", "a coordinate that is not a whole number"),
        ("text", b"x y t p\n1 2 3 2\n", "a polarity that is not 0, 1 or -1 in line 2 at byte 14"),
        ("text", b"x y t p\n1 2 1e99 1\n", "a time beyond 64 bits in line 2 at byte 12"),
        ("text", b"1 2 3 1\n", "neither of the first and the third go back in time"),
    ],
)
def test_damage_is_one_line_that_says_what_and_where(format_name: str, data: bytes, message: str):
    with pytest.raises(RecordingError) as error:
        decode(data, format_name, "a")
    assert str(error.value).startswith("a: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_failed_checksum_of_an_archive_is_an_error():
    data = bytearray(npz(**columns()))
    at = data.index(struct.pack("<q", 20))
    data[at] ^= 1
    with pytest.raises(RecordingError, match="CRC"):
        decode(bytes(data), "npz", "a.npz")


def test_an_archive_that_would_fill_the_memory_is_refused():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", bytes(10**6))
    data = file.getvalue().replace(struct.pack("<I", 10**6), struct.pack("<I", 2**32 - 2))
    with pytest.raises(RecordingError, match="claims 4,294,967,294 bytes"):
        decode(data, "npz", "a.npz")


def test_an_hdf5_dataset_that_claims_more_than_the_file_holds_is_refused():
    file = io.BytesIO()
    with h5py.File(file, "w") as out:
        for name in "xytp":
            out.create_dataset(name, (10**12,), "u1", chunks=(1024,))  # nothing is stored: all of it the fill value
    with pytest.raises(RecordingError, match="claims 1000000000000 values in 0 bytes"):
        decode(file.getvalue(), "hdf5", "a.h5")


def test_a_filter_that_is_not_installed_is_named():
    file = io.BytesIO()
    with h5py.File(file, "w") as out:
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk((4,))
        properties.set_filter(36559, h5py.h5z.FLAG_OPTIONAL, ())
        for name in "xytp":
            h5py.h5d.create(out.id, name.encode(), h5py.h5t.STD_I64LE, h5py.h5s.create_simple((4,)), properties)
    with pytest.raises(RecordingError, match=r"/[xytp] is compressed with the filter Prophesee's ECF"):
        decode(file.getvalue(), "hdf5", "a.h5")


@pytest.mark.parametrize(
    ("name", "values", "microseconds"),
    [
        ("t", [1, 2, 3], [1, 2, 3]),
        ("t", [0.5, 1.0, 1.0000014], [500_000, 1_000_000, 1_000_001]),
        ("t", [5.0, 6.0, 7.0], [5, 6, 7]),
        ("t_s", [5, 6, 7], [5_000_000, 6_000_000, 7_000_000]),
        ("timestamp_ms", [5, 6, 7], [5000, 6000, 7000]),
        ("ts_ns", [499, 500, 1999], [0, 1, 2]),
        ("t_us", [0.4, 0.6, 2.0], [0, 1, 2]),
        ("t_us", [-1.6, -0.4, 0.04], [-2, 0, 0]),
    ],
)
def test_the_unit_of_time_is_in_its_name_or_in_its_fraction(name: str, values: list[float], microseconds: list[int]):
    others = {key: values for key, values in columns().items() if key != "t"}
    assert decode(npz(**others, **{name: np.array(values)}), "npz", "a").events.t.tolist() == microseconds
    lines = [f"x y p {name}", *(f"1 2 0 {value}" for value in values)]
    assert decode("\n".join(lines).encode(), "text", "a").events.t.tolist() == microseconds


@given(
    st.lists(
        st.tuples(st.integers(0, 65535), st.integers(0, 65535), st.integers(-(2**53), 2**53), st.integers(0, 1)),
        max_size=30,
    )
)
def test_text_is_read_as_python_writes_it(events: list[tuple[int, int, int, int]]):
    lines = "".join(f"{x},{y} {t}\t{p}\n" for x, y, t, p in events)
    assert rows(decode(f"x y t p\n{lines}".encode(), "text", "a").events) == events


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=30), st.sampled_from(["{!r}", "{:.18e}", "{:.9f}"]))
def test_seconds_in_text_are_read_to_the_nearest_microsecond(times: list[float], layout: str):
    written = [layout.format(t) for t in times]
    lines = "".join(f"{t} 1 2 0\n" for t in written)
    found = decode(f"t_s x y p\n{lines}".encode(), "text", "a").events.t
    expected = np.array([float(t) for t in written]) * 1e6
    assert np.abs(found - expected).max() <= 0.5 + 1e-3
