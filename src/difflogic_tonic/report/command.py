"""The commands of `report.sh`."""

from argparse import Namespace
from collections.abc import Callable

from difflogic_tonic.config import StoragePaths
from difflogic_tonic.errors import ConfigError

Report = Callable[[Namespace, StoragePaths], int]
"""Parsed arguments and the storage places → exit code. It makes no folder but what it was asked to write."""


def _aggregate(arguments: Namespace, places: StoragePaths) -> int:
    from difflogic_tonic.report.aggregate import aggregate

    return aggregate(arguments, places)


REPORTS: dict[str, Report] = {"aggregate": _aggregate}
"""Command → function; each imports what it needs when it is called."""


def report(arguments: Namespace, places: StoragePaths) -> int:
    """Do what a parsed command line of `report_parser` asks for. Raises `UserError`."""
    if arguments.command not in REPORTS:
        raise ConfigError(f"report.sh {arguments.command} is not there yet")
    return REPORTS[arguments.command](arguments, places)
