"""The inventory as a table for people, and as plain data for scripts."""

import time
from collections.abc import Iterable, Sequence
from typing import Any

from difflogic_tonic.cache.fingerprint import short_fingerprint
from difflogic_tonic.cache.manifest import Manifest
from difflogic_tonic.cache.variants import describe
from difflogic_tonic.storage import Storage
from difflogic_tonic.sync.copies import Done
from difflogic_tonic.sync.inventory import Copies, Copy, Inventory
from difflogic_tonic.sync.sizes import Quota, size_text
from difflogic_tonic.sync.usage import Usage

HEAD = ("dataset", "variant", "place", "state", "size", "samples", "age", "parameters")
RIGHT = {"size", "samples", "age", "files"}
SAME_FOLDER = "scratch and project storage are the same folder, so there is nothing to copy"
UNCOUNTED = 2**31
"""What a file system that does not count files has free."""


def text_of(inventory: Inventory, storage: Storage, usages: Iterable[Usage]) -> list[str]:
    """Lines: the places, then a row for each variant in each place."""
    lines = [line for usage in usages for line in _usage_lines(usage, storage)]
    if not inventory.variants and inventory.unread:
        return lines
    if not inventory.variants:
        return [*lines, "", "no prepared datasets; make one: ./prepare_data.sh configs/prepare_nmnist.yaml"]
    rows = [row for variant in inventory.variants for row in _rows(variant, storage)]
    return [*lines, "", *aligned([HEAD, *rows])]


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of equally many words in columns; numbers to the right, as the first row names them."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            word.rjust(width) if name in RIGHT else word.ljust(width)
            for word, width, name in zip(row, widths, rows[0], strict=True)
        ).rstrip()
        for row in rows
    ]


def data_of(
    inventory: Inventory, storage: Storage, usages: Iterable[Usage], done: Iterable[Done] = ()
) -> dict[str, Any]:
    """The same as plain data for JSON; sizes in bytes, times in seconds since 1970."""
    return {
        "same_folder": storage.is_shared,
        "places": [_usage_data(usage) for usage in usages],
        "variants": [_variant_data(variant) for variant in inventory.variants],
        "unread": list(inventory.unread),
        "copies": [_done_data(each) for each in done],
    }


def age_text(modified: float, now: float | None = None) -> str:
    """How long ago in the largest unit of which there is one: 3 d."""
    seconds = max(0.0, (time.time() if now is None else now) - modified)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{int(seconds)} s"


def _rows(variant: Copies, storage: Storage) -> list[tuple[str, ...]]:
    """One row for each place; what all have in common only in the first."""
    manifest = variant.manifest
    rows: list[tuple[str, ...]] = []
    for number, place in enumerate(storage.places):
        name = "both" if storage.is_shared else place.name
        named = (variant.dataset, short_fingerprint(variant.fingerprint)) if number == 0 else ("", "")
        parameters = _parameters(manifest) if manifest and number == 0 else ""
        copy = variant.at.get(place.name)
        if copy is None:
            rows.append((*named, name, "missing", "–", "–", "–", parameters))
            continue
        facts = (copy.state, size_text(copy.n_bytes), _samples(copy), age_text(copy.modified))
        rows.append((*named, name, *facts, "; ".join(word for word in (parameters, copy.reason) if word)))
    return rows


def _parameters(manifest: Manifest) -> str:
    """With the size of frames, for variants of one's own recordings may differ in nothing else."""
    _, height, width = manifest.frame_shape
    return f"{width} × {height} pixels, {describe(manifest)}"


def _samples(copy: Copy) -> str:
    if copy.manifest is None or copy.state != "present":
        return "–"
    return f"{sum(split.n_recordings for split in copy.manifest.splits.values()):,}"


def _usage_lines(usage: Usage, storage: Storage) -> list[str]:
    total = usage.total
    name = "scratch and project" if storage.is_shared else usage.place.name
    parts = ", ".join(
        f"{part} {count.n_files:,}{'+' if count.more else ''} ({size_text(count.n_bytes)})"
        for part, count in usage.parts.items()
    )
    files = "" if usage.free_files >= UNCOUNTED else f" and {usage.free_files:,} files"
    lines = [
        f"{name}: {usage.place.root}",
        f"  {total.n_files:,}{'+' if total.more else ''} files, {size_text(total.n_bytes)}"
        + (f": {parts}" if parts else ""),
        f"  free: {size_text(usage.free_bytes)}{files}",
    ]
    return lines + ([f"  quota: {_quota_text(usage.quota)}"] if usage.quota else [])


def _quota_text(quota: Quota) -> str:
    size_limit = f" of {size_text(quota.limit_kib * 1024)}" if quota.limit_kib else ""
    files_limit = f" of {quota.limit_files:,}" if quota.limit_files else ""
    return f"{size_text(quota.used_kib * 1024)}{size_limit}, {quota.used_files:,}{files_limit} files"


def _usage_data(usage: Usage) -> dict[str, Any]:
    quota = usage.quota
    return {
        "place": usage.place.name,
        "root": str(usage.place.root),
        "free_bytes": usage.free_bytes,
        "free_files": None if usage.free_files >= UNCOUNTED else usage.free_files,
        "quota": quota and vars(quota),
        "folders": {
            name: {"files": part.n_files, "bytes": part.n_bytes, "more": part.more}
            for name, part in usage.parts.items()
        },
    }


def _variant_data(variant: Copies) -> dict[str, Any]:
    manifest = variant.manifest
    described: dict[str, Any] = {"dataset": variant.dataset, "fingerprint": variant.fingerprint}
    if manifest:
        described |= {
            "parameters": manifest.parameters,
            "description": describe(manifest),
            "subset": manifest.subset,
            "samples": {name: split.n_recordings for name, split in manifest.splits.items()},
            "events" if manifest.storage == "events" else "frames": {
                name: split.n_frames for name, split in manifest.splits.items()
            },
        }
    return described | {"copies": [_copy_data(copy) for copy in variant.at.values()]}


def _copy_data(copy: Copy) -> dict[str, Any]:
    return {
        "place": copy.place.name,
        "path": str(copy.path),
        "state": copy.state,
        "reason": copy.reason or None,
        "bytes": copy.n_bytes,
        "files": copy.n_files,
        "modified": round(copy.modified, 3),
    }


def _done_data(done: Done) -> dict[str, Any]:
    transfer = done.transfer
    return {
        "dataset": transfer.variant.dataset,
        "fingerprint": transfer.variant.fingerprint,
        "from": transfer.source.place.name,
        "to": transfer.target.name,
        "bytes": transfer.n_bytes,
        "mends": transfer.mends,
        "outcome": done.outcome,
        "error": done.error or None,
    }
