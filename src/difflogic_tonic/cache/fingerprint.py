"""Names of prepared variants: a fingerprint of everything that decides their bytes, and a hash of the parameters alone.

The fingerprint names the folder. Training often runs where the raw recordings are not, so it looks a variant up by
the hash of the parameters, which the manifest keeps.
"""

import hashlib
import json
from collections.abc import Iterable
from typing import Any, Protocol

from difflogic_tonic.config import PrepareConfig
from difflogic_tonic.events import SEMANTICS_VERSION

LAYOUT_VERSION = 1
"""Version of shards and manifest; a reader refuses others."""


class Listed(Protocol):
    """A source file as a listing shows it."""

    @property
    def path(self) -> str: ...

    @property
    def size(self) -> int: ...


def parameters_of(config: PrepareConfig) -> dict[str, Any]:
    """Every parameter that can change a byte of the cache, as plain JSON data. Where the data lie is none of them."""
    data, sensor = config.data, config.facts.sensor
    return {
        "dataset": data.name,
        "sensor": [sensor.width, sensor.height, sensor.polarities],
        "events_per_frame": data.events_per_frame,
        "overlap": data.overlap or 0,  # 0.0 means the same as 0
        "include_incomplete": data.include_incomplete,
        "denoise_us": data.denoise_time,
        "denoise_warmup": data.denoise_warmup,
        "frames": data.frames,
        "on_empty": data.on_empty,
        "val_fraction": float(data.val_fraction),
        "seed": config.base.seed,
        "shard_recordings": data.shard_recordings,
        "semantics_version": SEMANTICS_VERSION,
        "layout_version": LAYOUT_VERSION,
    }


def parameters_hash(parameters: dict[str, Any]) -> str:
    """SHA-256 (hex) of the parameters as canonical JSON."""
    return hashlib.sha256(canonical_json(parameters)).hexdigest()


def fingerprint_of(parameters: dict[str, Any], recordings: Iterable[Listed]) -> str:
    """SHA-256 (hex) of the parameters and of relative path and size of every source file, in the order of the paths."""
    return fingerprint_of_files(parameters, ((recording.path, recording.size) for recording in recordings))


def fingerprint_of_files(parameters: dict[str, Any], files: Iterable[tuple[str, int]]) -> str:
    """`fingerprint_of` for (path, size) pairs in any order; 70,000 take about 0.15 s."""
    files = sorted(files)
    return hashlib.sha256(canonical_json({"parameters": parameters, "files": files})).hexdigest()


def canonical_json(value: Any) -> bytes:
    """The one spelling of plain data: sorted keys, no spaces, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")
