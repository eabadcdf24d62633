"""What a prepared variant says of itself: `manifest.json`, written last, so that a folder with one is complete."""

import hashlib
import json
from collections import Counter
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from difflogic_tonic.cache.fingerprint import LAYOUT_VERSION
from difflogic_tonic.config import DATASETS, SensorSize
from difflogic_tonic.errors import CacheCorrupt
from difflogic_tonic.events.recipe import EVENTS_ROW_BYTES, Stored
from difflogic_tonic.storage import storage_errors

MANIFEST = "manifest.json"

SplitName = Literal["train", "val", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "val", "test")


@dataclass(frozen=True)
class Shard:
    """One file of a split; `size` in bytes and `crc32` are of the whole file. `n_frames` of stored events is theirs."""

    name: str
    size: int
    crc32: int
    n_recordings: int
    n_frames: int


@dataclass(frozen=True)
class SplitFacts:
    """One split. `per_class[label]` counts its recordings; `n_frames` of stored events is how many they are."""

    shards: tuple[Shard, ...]
    n_recordings: int
    n_frames: int
    per_class: tuple[int, ...]


@dataclass(frozen=True)
class Recordings:
    """The source files, one row each, as columns in the order of their paths. A recording id is a row number here.

    `splits[row]` is train, val or test; a skipped recording (no events left) has a split but no frames.
    """

    paths: tuple[str, ...]
    sizes: tuple[int, ...]
    crc32s: tuple[int, ...]
    labels: tuple[int, ...]
    splits: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.paths)


@dataclass(frozen=True)
class Manifest:
    """Everything about one variant except its frames. Equal inputs give equal manifests, byte by byte: no dates here.

    `subset` is None for the complete official dataset, else a text that belongs beside every accuracy.
    `n_saturated` counts pixels of frames that had more than 255 events; `skipped` lists the rows without frames.
    """

    dataset: str
    fingerprint: str
    parameters: dict[str, Any]
    parameters_hash: str
    classes: tuple[str, ...]
    sensor: SensorSize
    storage: Stored
    splits: dict[str, SplitFacts]
    recordings: Recordings
    skipped: tuple[int, ...]
    subset: str | None
    n_saturated: int
    versions: dict[str, str]
    layout_version: int = LAYOUT_VERSION

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """(P, H, W) of one frame."""
        return (self.sensor.polarities, self.sensor.height, self.sensor.width)

    @property
    def frame_nbytes(self) -> int:
        """Bytes of one stored frame: P·H·W as u8, an eighth of it rounded up as bits; of stored events, of one row."""
        if self.storage == "events":
            return EVENTS_ROW_BYTES
        return self.sensor.values if self.storage == "u8" else -(-self.sensor.values // 8)

    @property
    def shards(self) -> tuple[Shard, ...]:
        """The shards of all splits."""
        return tuple(shard for split in self.splits.values() for shard in split.shards)

    @property
    def n_bytes(self) -> int:
        """Bytes of all shards on disk."""
        return sum(shard.size for shard in self.shards)


def split_facts(shards: list[Shard], labels: list[int], classes: int) -> SplitFacts:
    """Sum up the shards of one split; `labels` are those of its recordings with frames."""
    counts = Counter(labels)
    per_class = tuple(counts[label] for label in range(classes))
    return SplitFacts(tuple(shards), len(labels), sum(shard.n_frames for shard in shards), per_class)


def manifest_text(manifest: Manifest) -> str:
    """The content of `manifest.json`: one top-level key a line, readable and small, the last of them a checksum."""
    value = vars(manifest) | {  # asdict would copy every recording, which takes longer than all the rest
        "sensor": manifest.sensor._asdict(),
        "splits": {name: asdict(split) for name, split in manifest.splits.items()},
        "recordings": vars(manifest.recordings),
    }
    lines = (f"{json.dumps(key)}: {json.dumps(value[key], separators=(', ', ': '))}" for key in value)
    return sealed("{\n" + "".join(f"{line},\n" for line in lines))


def load_manifest(folder: Path) -> Manifest:
    """Read the manifest of a variant. FileNotFoundError if there is none, CacheCorrupt if it cannot be ours.

    StorageError if it may not be read. What is returned is, byte for byte, what was written.
    """
    path = folder / MANIFEST
    try:
        with storage_errors(path, "reading a manifest"):
            content = path.read_bytes()
        manifest = _parsed(content.decode("utf-8"))
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CacheCorrupt(f"{path} is damaged ({type(error).__name__}: {error}); {again(folder)}") from error
    if manifest.layout_version != LAYOUT_VERSION:
        raise CacheCorrupt(
            f"{path} has layout version {manifest.layout_version}, expected {LAYOUT_VERSION}; {again(folder)}"
        )
    return manifest


def again(folder: Path) -> str:
    """The advice of every message about a damaged variant, whose folder lies in the one of its dataset."""
    facts = DATASETS.get(folder.parent.name)
    config = facts.prepare_config if facts else "CONFIG"
    return (
        f"rebuild it with ./prepare_data.sh {config} --override data.reset_cache=true and the overrides it was "
        f"made with, or remove {folder}"
    )


SEAL = '"sha256": "'
"""Begin of the last line of a manifest, which is checked before anything in the text is believed."""


def sealed(text: str) -> str:
    """All lines of a manifest but the last one → all of them."""
    return f'{text}{SEAL}{hashlib.sha256(text.encode("utf-8")).hexdigest()}"\n}}\n'


@lru_cache(maxsize=2)
def _parsed(text: str) -> Manifest:
    """The manifests of a variant in both places are one text of megabytes: read once. ValueError if it was changed."""
    if text != sealed(text.rpartition(SEAL)[0]):
        lacks = SEAL not in text and text.endswith("\n}\n")
        raise ValueError("it has no checksum, as of an earlier version" if lacks else "it does not have its checksum")
    value = json.loads(text)
    columns = {name: tuple(column) for name, column in value["recordings"].items()}
    splits = {
        name: SplitFacts(
            tuple(Shard(**shard) for shard in split["shards"]),
            split["n_recordings"],
            split["n_frames"],
            tuple(split["per_class"]),
        )
        for name, split in value["splits"].items()
    }
    del value["sha256"]
    return Manifest(
        **value
        | {
            "classes": tuple(value["classes"]),
            "sensor": SensorSize(**value["sensor"]),
            "splits": splits,
            "recordings": Recordings(**columns),
            "skipped": tuple(value["skipped"]),
        }
    )
