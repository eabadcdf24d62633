"""Small recordings and images as files, and prepared from them."""

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from difflogic_tonic.cache import CacheReader, prepare
from difflogic_tonic.cache.sources import Source, open_source
from difflogic_tonic.config import DATASETS, PrepareConfig
from difflogic_tonic.events import encode_atis, make_events
from difflogic_tonic.storage import Storage


def aedat2(*events: tuple[int, int, int, int]) -> bytes:
    """An AEDAT 2.0 file as CIFAR10-DVS has them, of (x, y, t, p) as its readers give them."""
    words = ((127 - x) << 8 | (127 - y) << 1 | (1 - p) for x, y, _, p in events)
    body = b"".join(struct.pack(">II", word, t) for word, (_, _, t, _) in zip(words, events, strict=True))
    return b"#!AER-DAT2.0\r\n# This is a raw AE data file\r\n" + body


def atis(n: int = 3) -> bytes:
    return encode_atis(make_events(range(n), [1] * n, [i * 10 for i in range(n)], [1] * n))


def npy(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def png(value: int, width: int = 4, height: int = 2) -> bytes:
    out = io.BytesIO()
    PIL.Image.fromarray(np.full((height, width, 3), value, np.uint8)).save(out, "PNG")
    return out.getvalue()


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


def source_of(name: str, root: Path, storage: Storage) -> Source:
    return open_source(DATASETS[name], root, storage, allow_subset=True, progress=False)


def reader_of(name: str, root: Path, storage: Storage, **data: Any) -> CacheReader:
    values = {"name": name, "data_root": str(root), "allow_subset": True} | data
    return CacheReader(prepare(PrepareConfig.model_validate({"data": values}), storage, progress=False).path)
