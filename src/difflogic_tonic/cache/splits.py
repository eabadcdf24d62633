"""Which recording belongs to train, val or test, and which shard holds it."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from difflogic_tonic.cache.manifest import SPLITS
from difflogic_tonic.config.prepare import DEFAULT_TEST_FRACTION, PrepareConfig
from difflogic_tonic.errors import ConfigError


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


def check_test_keys(config: PrepareConfig, recordings: Iterable[Labelled], where: str) -> None:
    """`ConfigError` for a way to choose test recordings in the folder `where`, whose own folders say which they are."""
    folders = {recording.split for recording in recordings}
    if not folders or "all" in folders:
        return
    for key, default in (("split", "seeded"), ("test_fraction", DEFAULT_TEST_FRACTION)):
        given = getattr(config.data, key)
        if given not in (None, default):
            raise ConfigError(
                f"data.{key}={given} has no effect: {where} has recordings in {' and '.join(sorted(folders))} folders, "
                "which are kept as they are; remove the key, or name a folder that has the folders of the classes"
            )


def assign_splits(
    recordings: Iterable[Labelled],
    val_fraction: float,
    seed: int,
    test_fraction: float = 0.0,
    test_rule: Literal["seeded", "fixed"] = "seeded",
) -> tuple[str, ...]:
    """train, val or test for each recording. Test is as published; val is a part of every class of Train.

    Within a class the recordings are ordered by a hash of seed and path, and the first round(val_fraction · n) are
    val: at least one if the fraction is above 0, but never the last recording of a class. Adding a recording moves
    at most one other.

    Where the official split is `all`, test is a part of every class, too, and taken before val: round(test_fraction ·
    n) recordings, in the same way and by the same hash with "test" behind the seed, or with the rule `fixed` the first
    of the class by name, in which numbers count as numbers.
    """
    recordings = list(recordings)
    splits = [recording.split for recording in recordings]
    classes: dict[int, list[int]] = defaultdict(list)
    undecided: dict[int, list[int]] = defaultdict(list)
    for row, recording in enumerate(recordings):
        if recording.split != "test":
            (classes if recording.split == "train" else undecided)[recording.label].append(row)
    for label, rows in undecided.items():
        if test_rule == "fixed":
            rows.sort(key=lambda row: _natural(recordings[row].path))
        else:
            rows.sort(key=lambda row: _rank(f"{seed}:test", recordings[row].path))
        count = _part(test_fraction, len(rows))
        for place, row in enumerate(rows):
            splits[row] = "test" if place < count else "train"
        classes[label] += rows[count:]
    for rows in classes.values():
        rows.sort(key=lambda row: _rank(str(seed), recordings[row].path))
        for row in rows[: _part(val_fraction, len(rows))]:
            splits[row] = "val"
    return tuple(splits)


def _part(fraction: float, n: int) -> int:
    """How many of the `n` recordings of a class: at least one, but never the last."""
    return min(max(1, round(fraction * n)), n - 1) if fraction > 0 else 0


def plan_shards(splits: Sequence[str], shard_recordings: int) -> tuple[ShardPlan, ...]:
    """Cut each split into shards of `shard_recordings` in the order of the rows."""
    plans = []
    for split in SPLITS:
        rows = [row for row, name in enumerate(splits) if name == split]
        for number, first in enumerate(range(0, len(rows), shard_recordings)):
            plans.append(ShardPlan(f"{split}-{number:05d}.h5", split, tuple(rows[first : first + shard_recordings])))
    return tuple(plans)


def _natural(path: str) -> list[tuple[int, str]]:
    """A key by which `a_2` comes before `a_10`."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", path)]


def _rank(seed: str, path: str) -> bytes:
    return hashlib.sha256(f"{seed}:{path}".encode()).digest()
