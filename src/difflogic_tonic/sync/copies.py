"""Copying what one place lacks, and mending what is corrupt there. Nothing else is written, and nothing is removed."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from difflogic_tonic.cache.publish import copy_variant, lock_path, replace_damaged
from difflogic_tonic.errors import CacheCorrupt, StorageError
from difflogic_tonic.storage import Place, Storage, file_lock
from difflogic_tonic.sync.inventory import Copies, Copy, Inventory
from difflogic_tonic.sync.sizes import size_text

log = logging.getLogger(__name__)

Outcome = Literal["copied", "found", "failed", "planned"]


@dataclass(frozen=True)
class Transfer:
    """A complete copy that is to be brought to a place that has none, or one that is corrupt (`mends`)."""

    variant: Copies
    source: Copy
    target: Place
    mends: bool

    @property
    def n_bytes(self) -> int:
        return self.source.n_bytes

    @property
    def text(self) -> str:
        doing = "mend" if self.mends else "copy"
        return (
            f"{doing} {self.variant.name} from {self.source.place.name} to {self.target.name} storage "
            f"({size_text(self.n_bytes)})"
        )


@dataclass(frozen=True)
class Done:
    """What became of a transfer: `found` if another process was faster; `error` is the line of one that `failed`."""

    transfer: Transfer
    outcome: Outcome
    error: str = ""
    exit_code: int = 0


def lacking(inventory: Inventory, storage: Storage) -> list[Transfer]:
    """The transfers after which every place has every variant of which there is a complete copy."""
    return [
        Transfer(variant, variant.complete[0], place, _is_corrupt(variant, place))
        for variant in inventory.variants
        if variant.complete
        for place in storage.places
        if place not in [copy.place for copy in variant.complete]
    ]


def beyond_repair(inventory: Inventory) -> list[Copy]:
    """Corrupt copies of which no complete one is left."""
    return [
        copy
        for variant in inventory.variants
        if not variant.complete
        for copy in variant.at.values()
        if copy.state == "corrupt"
    ]


def carry_out(transfers: list[Transfer], progress: Callable[[int], None] | None = None) -> Iterator[Done]:
    """Copy one variant after the other, verified and under its lock; one that fails does not stop the others.

    `progress` is called with bytes as they are done, also of variants that need no copy any more.
    """
    for transfer in transfers:
        yield _carry_out(transfer, progress)


def _carry_out(transfer: Transfer, progress: Callable[[int], None] | None) -> Done:
    final = transfer.target.data_dir(transfer.variant.dataset) / transfer.variant.fingerprint
    try:
        with file_lock(lock_path(final), wait=False) as free:
            if not free:
                log.info("another process is at work on %s; waiting for it", transfer.variant.name)
        copied = (replace_damaged if transfer.mends else copy_variant)(transfer.source.path, final, progress=progress)
    except (CacheCorrupt, StorageError) as error:
        return Done(transfer, "failed", str(error), error.exit_code)
    except FileNotFoundError as error:
        line = f"{error.filename} went away while it was copied; run the same command again"
        return Done(transfer, "failed", line, StorageError.exit_code)
    if not copied and progress:
        progress(transfer.n_bytes)
    return Done(transfer, "copied" if copied else "found")


def _is_corrupt(variant: Copies, place: Place) -> bool:
    copy = variant.at.get(place.name)
    return copy is not None and copy.state == "corrupt"
