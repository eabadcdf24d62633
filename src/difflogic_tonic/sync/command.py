"""The command lines of `check_and_sync_data.sh` put into action: what is printed, and the exit code."""

import json
import logging
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import replace

from difflogic_tonic.cache.manifest import again
from difflogic_tonic.cache.progress import Progress
from difflogic_tonic.config.slicing import slice_from_words
from difflogic_tonic.errors import CacheCorrupt, StorageError
from difflogic_tonic.runs.log import log_to_console
from difflogic_tonic.storage import Storage
from difflogic_tonic.sync import table
from difflogic_tonic.sync.copies import Done, Transfer, beyond_repair, carry_out, lacking
from difflogic_tonic.sync.garbage import Garbage, find_garbage, remove_garbage
from difflogic_tonic.sync.inventory import Copy, Inventory, read_again, take_inventory
from difflogic_tonic.sync.removal import choose, doomed, remove_copies
from difflogic_tonic.sync.show import make_pictures
from difflogic_tonic.sync.sizes import size_text
from difflogic_tonic.sync.usage import usage_of

log = logging.getLogger(__name__)

MEGABYTE = 1_000_000


def run(arguments: Namespace, storage: Storage) -> int:
    """Do what a parsed command line of `sync_parser` asks for and return the exit code."""
    if not arguments.json:
        log_to_console()
    if arguments.command == "show":
        return show(arguments, storage)
    if arguments.command == "gc":
        return clean_up(arguments, storage)
    return remove(arguments, storage) if arguments.remove else synchronise(arguments, storage)


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
            log.info("checking %s of %s", size_text(copy.n_bytes), copy.path)
        variants.append(replace(variant, at={name: read_again(copy) for name, copy in variant.at.items()}))
    return replace(inventory, variants=tuple(variants))


def remove(arguments: Namespace, storage: Storage) -> int:
    """`--remove VARIANT`."""
    variant = choose(take_inventory(storage), arguments.remove)
    copies = doomed(variant, arguments.place, anyway=arguments.yes)
    removed = [] if arguments.dry_run else remove_copies(copies, anyway=arguments.yes)
    if arguments.json:
        done = {"would_remove": [str(copy.path) for copy in copies], "removed": [str(path) for path in removed]}
        print(json.dumps(done, indent=2))
    elif arguments.dry_run:
        _say([f"would remove {copy.path} ({size_text(copy.n_bytes)})" for copy in copies])
    else:
        _say([f"removed {path}" for path in removed])
    return 0


def clean_up(arguments: Namespace, storage: Storage) -> int:
    """`gc`: list what is of no more use, ask, remove it."""
    found = find_garbage(storage, arguments.days)
    if not arguments.json:
        _say(_garbage_lines(found))
    agreed = bool(found) and not arguments.dry_run and (arguments.yes or (not arguments.json and _agreed()))
    removed = [agreed and remove_garbage(storage, each) for each in found]
    if arguments.json:
        items = [
            vars(each) | {"paths": [str(path) for path in each.paths], "removed": gone}
            for each, gone in zip(found, removed, strict=True)
        ]
        print(json.dumps({"garbage": items}, indent=2))
    elif agreed:
        freed = sum(each.n_bytes for each, gone in zip(found, removed, strict=True) if gone)
        _say([f"removed {size_text(freed)}"])
    return 0


def _garbage_lines(found: Sequence[Garbage]) -> list[str]:
    if not found:
        return ["nothing to remove"]
    rows = [
        (each.kind, size_text(each.n_bytes), f"{each.n_files:,}", str(each.paths[0].parent), each.why) for each in found
    ]
    total = size_text(sum(each.n_bytes for each in found))
    return [*table.aligned([("what", "size", "files", "in", "why"), *rows]), f"all together {total}"]


def _agreed() -> bool:
    """Whether somebody at a terminal says yes; in a job, where nobody is asked, no."""
    if not sys.stdin.isatty():
        _say(["nothing was removed: nobody to ask here; add --yes"])
        return False
    return input("remove all this? [y/N] ").strip().lower() in ("y", "yes")


def show(arguments: Namespace, storage: Storage) -> int:
    """`show DATASET`: pictures of a variant and of one of its recordings."""
    files = make_pictures(
        *(storage, arguments.dataset, arguments.variant, arguments.split, arguments.sample, arguments.output),
        slicing=slice_from_words(arguments.slice, "--slice") if arguments.slice else None,
    )
    if arguments.json:
        print(json.dumps({"files": [str(file) for file in files]}, indent=2))
    else:
        _say([str(file) for file in files])
    return 0


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
