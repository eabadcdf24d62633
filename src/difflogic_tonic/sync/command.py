"""The command lines of `check_and_sync_data.sh` put into action: what is printed, and the exit code."""

import json
import logging
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import replace

from difflogic_tonic.cache.manifest import again
from difflogic_tonic.cache.progress import Progress
from difflogic_tonic.errors import CacheCorrupt, StorageError
from difflogic_tonic.runs.log import log_to_console
from difflogic_tonic.storage import Storage
from difflogic_tonic.sync import table
from difflogic_tonic.sync.copies import Done, Transfer, beyond_repair, carry_out, lacking
from difflogic_tonic.sync.inventory import Copy, Inventory, read_again, take_inventory
from difflogic_tonic.sync.usage import usage_of

log = logging.getLogger(__name__)

MEGABYTE = 1_000_000


def run(arguments: Namespace, storage: Storage) -> int:
    """Do what a parsed command line of `sync_parser` asks for and return the exit code."""
    if not arguments.json:
        log_to_console()
    return synchronise(arguments, storage)


def synchronise(arguments: Namespace, storage: Storage) -> int:
    """The plain command: show what is where, then copy what one place lacks."""
    inventory = take_inventory(storage)
    if arguments.verify:
        inventory = verified(inventory)
    usages = [usage_of(place) for place in storage.places]
    transfers = lacking(inventory, storage)
    if not arguments.json:
        _say([*table.text_of(inventory, storage, usages), ""])
    if arguments.dry_run:
        done = [Done(transfer, "planned") for transfer in transfers]
    else:
        done = _copied(transfers, quiet=arguments.json)
    code = _exit_code(inventory, done)
    if arguments.json:
        data = table.data_of(inventory, storage, usages, done)
        print(json.dumps(data | {"exit_code": code}, indent=2))
    else:
        _say([f"would {each.transfer.text}" for each in done if each.outcome == "planned"])
        _say(_conclusion(inventory, storage, done))
        _say([f"error: {line}" for line in _problems(inventory, done)], error=True)
    return code


def verified(inventory: Inventory) -> Inventory:
    """The inventory after every checksum of every complete copy was read."""
    variants = []
    for variant in inventory.variants:
        for copy in variant.complete:
            log.info("checking %s of %s", table.size_text(copy.n_bytes), copy.path)
        variants.append(replace(variant, at={name: read_again(copy) for name, copy in variant.at.items()}))
    return replace(inventory, variants=tuple(variants))


def _copied(transfers: list[Transfer], quiet: bool) -> list[Done]:
    """Carry out the transfers and say what became of each."""
    done = []
    megabytes = sum(transfer.n_bytes for transfer in transfers) // MEGABYTE
    with Progress(megabytes, "MB", "copying", enabled=not quiet and bool(transfers)) as shown:
        for each in carry_out(transfers, _advance(shown)):
            done.append(each)
            if each.outcome == "copied":
                log.info("done: %s", each.transfer.text)
            elif each.outcome == "found":
                log.info("another process was faster: %s", each.transfer.text)
    return done


def _advance(shown: Progress) -> Callable[[int], None]:
    """Turns bytes into the megabytes of a progress bar, without losing what is left over."""
    rest = 0

    def advance(n_bytes: int) -> None:
        nonlocal rest
        megabytes, rest = divmod(rest + n_bytes, MEGABYTE)
        shown.advance(megabytes)
        shown.show()

    return advance


def _exit_code(inventory: Inventory, done: Sequence[Done]) -> int:
    """4 if a corrupt copy stays as it is, 5 if a place could not be read or written, 0 if all is well."""
    planned = any(each.outcome == "planned" and each.transfer.mends for each in done)
    if planned or beyond_repair(inventory):
        return CacheCorrupt.exit_code
    failed = [each.exit_code for each in done if each.outcome == "failed"]
    return next(iter(failed), StorageError.exit_code if inventory.unread else 0)


def _problems(inventory: Inventory, done: Sequence[Done]) -> list[str]:
    lost = [_lost(copy) for copy in beyond_repair(inventory)]
    return [*inventory.unread, *lost, *(each.error for each in done if each.outcome == "failed")]


def _lost(copy: Copy) -> str:
    return f"{copy.path} is corrupt ({copy.reason}) and there is no other copy; {again(copy.path)}"


def _conclusion(inventory: Inventory, storage: Storage, done: Sequence[Done]) -> list[str]:
    if storage.is_shared:
        return [table.SAME_FOLDER]
    whole = [variant for variant in inventory.variants if variant.complete]
    if done or not whole or _exit_code(inventory, done):
        return []
    return [f"nothing to copy: {len(whole)} variant{'s' if len(whole) > 1 else ''}, complete in both places"]


def _say(lines: Sequence[str], error: bool = False) -> None:
    for line in lines:
        print(line, file=sys.stderr if error else sys.stdout)
