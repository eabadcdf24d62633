"""The commands of `report.sh`."""

from argparse import Namespace
from collections.abc import Callable

from difflogic_tonic.config import StoragePaths

Report = Callable[[Namespace, StoragePaths], int]
"""Parsed arguments and the storage places → exit code. It makes no folder but what it was asked to write."""


def _aggregate(arguments: Namespace, places: StoragePaths) -> int:
    from difflogic_tonic.report.aggregate import aggregate

    return aggregate(arguments, places)


def _run(arguments: Namespace, places: StoragePaths) -> int:
    from difflogic_tonic.report.pictures import draw_run

    return draw_run(arguments, places)


def _dashboard(arguments: Namespace, places: StoragePaths) -> int:
    from difflogic_tonic.report.dashboard_command import draw_dashboard

    return draw_dashboard(arguments, places)


def _compare(arguments: Namespace, places: StoragePaths) -> int:
    from difflogic_tonic.report.compare import compare

    return compare(arguments, places)


def _watch(arguments: Namespace, places: StoragePaths) -> int:
    from difflogic_tonic.report.watch import watch

    return watch(arguments, places)


REPORTS: dict[str, Report] = {
    "aggregate": _aggregate,
    "dashboard": _dashboard,
    "run": _run,
    "compare": _compare,
    "watch": _watch,
}
"""Command → function; each imports what it needs when it is called."""


def report(arguments: Namespace, places: StoragePaths) -> int:
    """Do what a parsed command line of `report_parser` asks for. Raises `UserError`."""
    return REPORTS[arguments.command](arguments, places)
