"""One shard of a split: an HDF5 file whose payload can be read without the HDF5 library.

    /frames u8[F, P, H, W]  or  /bits u8[F, ceil(P·H·W/8)]  or  /events u16[F]   contiguous, unchunked, unfiltered
    /offsets i64[n+1]        recording i has the frames, or words of packed events, offsets[i]:offsets[i+1]
    /labels i64[n]  /source i64[n] (row in the manifest)  /n_events i64[n] (kept by denoising)
    /spans_us i64[n, 2]      of packed events: when the earliest and the latest was
    /assigned i64[m]  /assigned_crc32 u32[m]   every source file of this shard, the skipped ones too
    attributes: fingerprint, layout_version, storage, frame_shape, n_saturated, crc32 (payload), index_crc32, complete

Equal contents give equal bytes: fixed library version bounds, no times, no variable-length text.
"""

import errno
import os
import resource
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from difflogic_tonic.cache.fingerprint import LAYOUT_VERSION
from difflogic_tonic.cache.manifest import again
from difflogic_tonic.errors import CacheCorrupt, StorageFull
from difflogic_tonic.events.recipe import Stored
from difflogic_tonic.storage import atomic_write, full_message, storage_errors

if TYPE_CHECKING:
    import h5py

LIBRARY_VERSIONS = ("v108", "v108")
PAYLOAD: dict[str, str] = {"u8": "frames", "bits": "bits", "events": "events"}
SHARD_OVERHEAD_BYTES = 8192
INDEX = ("offsets", "labels", "source", "n_events", "assigned", "assigned_crc32")
SPANS = "spans_us"


@dataclass(frozen=True)
class ShardContent:
    """A shard in memory. `frames` are u8[T, nbytes] per recording with frames; the index arrays are as on disk.

    Those of packed events are their words, u8[W, 2], and they have `spans_us`.
    """

    fingerprint: str
    storage: Stored
    frame_shape: tuple[int, int, int]
    frames: Sequence[np.ndarray]
    labels: np.ndarray
    source: np.ndarray
    n_events: np.ndarray
    assigned: np.ndarray
    assigned_crc32: np.ndarray
    n_saturated: int
    spans_us: np.ndarray = field(default_factory=lambda: np.empty((0, 2), np.int64))

    @property
    def offsets(self) -> np.ndarray:
        return np.concatenate([[0], np.cumsum([len(part) for part in self.frames])]).astype(np.int64)

    @property
    def index(self) -> dict[str, np.ndarray]:
        """The index arrays with the types they have on disk."""
        names = index_names(self.storage)
        return {name: getattr(self, name).astype("<u4" if "crc32" in name else "<i8") for name in names}


@dataclass(frozen=True)
class ShardIndex:
    """What `open_shard` read: everything but the frames, which lie at `payload_at`, `frame_nbytes` each."""

    payload_at: int
    frame_nbytes: int
    n_saturated: int
    payload_crc32: int
    offsets: np.ndarray
    labels: np.ndarray
    source: np.ndarray
    n_events: np.ndarray
    assigned: np.ndarray
    assigned_crc32: np.ndarray
    spans_us: np.ndarray = field(default_factory=lambda: np.empty((0, 2), np.int64))


def index_names(storage: str) -> tuple[str, ...]:
    """The index arrays of a shard."""
    return (*INDEX, SPANS) if storage == "events" else INDEX


def write_shard(path: Path, content: ShardContent) -> None:
    """Write a shard under a temporary name, fsync, rename, fsync the folder. StorageFull when the disk is full."""
    _check_file_size_limit(path, content)
    before, after = _surroundings(content)
    payload = [np.ascontiguousarray(part).data for part in content.frames]
    needed = len(before) + sum(part.nbytes for part in payload) + len(after)
    with atomic_write(path, needed) as partial, open(partial, "wb") as file:
        file.write(before)
        for part in payload:
            file.write(part)
        file.write(after)


def _check_file_size_limit(path: Path, content: ShardContent) -> None:
    """StorageFull if `ulimit -f` forbids a file of this size: HDF5 would hit it first, and not say what it hit."""
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    parts = (*content.frames, *content.index.values())
    needed = SHARD_OVERHEAD_BYTES + sum(part.nbytes for part in parts)
    if limit != resource.RLIM_INFINITY and needed > limit:
        raise StorageFull(full_message(path.parent, path.name, needed, errno.EFBIG))


def open_shard(path: Path, fingerprint: str, size: int | None = None) -> ShardIndex:
    """Read and check the index of a shard: size, attributes, checksum of the index, offsets. The payload is not read.

    `size` is what the manifest states, where there is one. Raises CacheCorrupt naming file and defect, or StorageError
    if the file may not be read.
    """
    import h5py

    try:
        # plainly first: the HDF5 library does not tell a file that may not be read from one that is no HDF5
        with storage_errors(path, "opening a shard"), open(path, "rb", buffering=0) as plain:
            found = os.fstat(plain.fileno()).st_size
        if size is not None and found != size:
            raise _damaged(path, f"it has {found:,} bytes, expected {size:,}")
        with h5py.File(path, "r", locking=False) as file:
            return _read_index(path, file, fingerprint, found)
    except FileNotFoundError:
        raise _damaged(path, "it is missing") from None
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise _damaged(path, " ".join(str(error).split())) from error


def payload_crc32(path: Path, index: ShardIndex) -> int:
    """CRC-32 of the frames as they lie on disk, read in blocks."""
    crc, left = 0, int(index.offsets[-1]) * index.frame_nbytes
    with open(path, "rb", buffering=0) as file:
        file.seek(index.payload_at)
        while left and (block := file.read(min(left, 4 << 20))):
            crc, left = zlib.crc32(block, crc), left - len(block)
    return crc


def index_crc32(index: dict[str, np.ndarray]) -> int:
    """CRC-32 over the index arrays in the order of `index_names`."""
    crc = 0
    for values in index.values():
        crc = zlib.crc32(np.ascontiguousarray(values).data, crc)
    return crc


def _surroundings(content: ShardContent) -> tuple[bytes, bytes]:
    """What HDF5 writes before and after the payload, as two pieces of the file.

    HDF5 writes them to a file in memory, in which the payload is a hole: on a disk that fills up the library fails in
    ways that cannot be told from others, and corrupts its heap. Plain writes to the disk report plain errors.
    """
    with open(os.memfd_create("shard"), "w+b", buffering=0) as memory:
        payload_at = _write_header(memory, content)
        end = payload_at + sum(part.nbytes for part in content.frames)
        size = os.fstat(memory.fileno()).st_size
        return os.pread(memory.fileno(), payload_at, 0), os.pread(memory.fileno(), size - end, end)


def _write_header(memory: BinaryIO, content: ShardContent) -> int:
    """Everything but the payload, for which room is left; returns the byte at which it starts."""
    import h5py

    n_frames = int(content.offsets[-1])
    shapes = {"u8": content.frame_shape, "bits": (_packed(content.frame_shape),), "events": ()}
    index = content.index
    crc = 0
    for part in content.frames:
        crc = zlib.crc32(np.ascontiguousarray(part).data, crc)
    with h5py.File(memory, "w", libver=LIBRARY_VERSIONS) as file:
        payload_at = _reserve_payload(file, PAYLOAD[content.storage], (n_frames, *shapes[content.storage]))
        for name, values in index.items():
            file.create_dataset(name, data=values, track_times=False)
        file.attrs["fingerprint"] = np.bytes_(content.fingerprint)
        file.attrs["layout_version"] = np.int64(LAYOUT_VERSION)
        file.attrs["storage"] = np.bytes_(content.storage)
        file.attrs["frame_shape"] = np.array(content.frame_shape, np.int64)
        file.attrs["n_saturated"] = np.int64(content.n_saturated)
        file.attrs["crc32"] = np.uint32(crc)
        file.attrs["index_crc32"] = np.uint32(index_crc32(index))
        file.attrs["complete"] = np.int64(1)
    return payload_at


def _reserve_payload(file: "h5py.File", name: str, shape: tuple[int, ...]) -> int:
    """Create the payload dataset without writing it, so that it stays a hole."""
    from h5py import h5d, h5p, h5s, h5t

    layout = h5p.create(h5p.DATASET_CREATE)
    layout.set_layout(h5d.CONTIGUOUS)
    layout.set_alloc_time(h5d.ALLOC_TIME_EARLY)
    layout.set_fill_time(h5d.FILL_TIME_NEVER)
    layout.set_obj_track_times(False)
    of_type = h5t.STD_U16LE if name == PAYLOAD["events"] else h5t.STD_U8LE
    dataset = h5d.create(file.id, name.encode(), of_type, h5s.create_simple(shape), layout)
    return int(dataset.get_offset() or 0)  # None for a shard without frames


def _read_index(path: Path, file: "h5py.File", fingerprint: str, size: int) -> ShardIndex:
    attributes = file.attrs
    if int(attributes["complete"]) != 1 or int(attributes["layout_version"]) != LAYOUT_VERSION:
        raise _damaged(path, "it is not a complete shard of this version")
    if bytes(attributes["fingerprint"]).decode() != fingerprint:
        raise _damaged(path, "it belongs to another variant")
    storage = bytes(attributes["storage"]).decode()
    index = {name: file[name][()] for name in index_names(storage)}
    if index_crc32(index) != int(attributes["index_crc32"]):
        raise _damaged(path, "its index does not have its checksum")
    payload = file[PAYLOAD[storage]]
    frame_nbytes = int(np.prod(payload.shape[1:])) * payload.dtype.itemsize
    payload_at = int(payload.id.get_offset() or 0)
    offsets = index["offsets"]
    if offsets[0] != 0 or offsets[-1] != len(payload) or (np.diff(offsets) <= 0).any():
        raise _damaged(path, "its offsets do not ascend from 0 to its number of frames")
    if payload_at + len(payload) * frame_nbytes > size:
        raise _damaged(path, "it ends before its last frame")
    return ShardIndex(payload_at, frame_nbytes, int(attributes["n_saturated"]), int(attributes["crc32"]), **index)


def _packed(frame_shape: tuple[int, int, int]) -> int:
    return -(-int(np.prod(frame_shape)) // 8)


def _damaged(path: Path, reason: str) -> CacheCorrupt:
    return CacheCorrupt(f"{path} is damaged: {reason}; {again(path.parent)}")
