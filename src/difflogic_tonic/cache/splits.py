"""Which recording belongs to train, val or test, and which shard holds it."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from difflogic_tonic.cache.manifest import SPLITS


class Labelled(Protocol):
    """What the split looks at: never the order of a directory listing."""

    @property
    def path(self) -> str: ...

    @property
    def label(self) -> int: ...

    @property
    def split(self) -> str: ...


@dataclass(frozen=True)
class ShardPlan:
    """One shard before it is built: `rows` are the recordings assigned to it, ascending."""

    name: str
    split: str
    rows: tuple[int, ...]


def assign_splits(recordings: Iterable[Labelled], val_fraction: float, seed: int) -> tuple[str, ...]:
    """train, val or test for each recording. Test is as published; val is a part of every class of Train.

    Within a class the recordings are ordered by a hash of seed and path, and the first round(val_fraction · n) are
    val: at least one if the fraction is above 0, but never the last recording of a class. Adding a recording moves
    at most one other.
    """
    recordings = list(recordings)
    splits = [recording.split for recording in recordings]
    classes: dict[int, list[int]] = defaultdict(list)
    for row, recording in enumerate(recordings):
        if recording.split == "train":
            classes[recording.label].append(row)
    for rows in classes.values():
        wanted = min(max(1, round(val_fraction * len(rows))), len(rows) - 1) if val_fraction > 0 else 0
        rows.sort(key=lambda row: _rank(seed, recordings[row].path))
        for row in rows[:wanted]:
            splits[row] = "val"
    return tuple(splits)


def plan_shards(splits: Sequence[str], shard_recordings: int) -> tuple[ShardPlan, ...]:
    """Cut each split into shards of `shard_recordings` in the order of the rows."""
    plans = []
    for split in SPLITS:
        rows = [row for row, name in enumerate(splits) if name == split]
        for number, first in enumerate(range(0, len(rows), shard_recordings)):
            plans.append(ShardPlan(f"{split}-{number:05d}.h5", split, tuple(rows[first : first + shard_recordings])))
    return tuple(plans)


def _rank(seed: int, path: str) -> bytes:
    return hashlib.sha256(f"{seed}:{path}".encode()).digest()
