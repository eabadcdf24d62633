"""The parser of `report.sh`: one command for each kind of report."""

import argparse
from pathlib import Path

from difflogic_tonic.arguments.one_line import OneLineParser

_RUNS = "job ids, run folders, or patterns of either in quotes, e.g. 'nmnist_*'"


def report_parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="report.sh",
        description="What came out of runs: tables, dashboards and pictures, from their run folders alone.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, title="commands")
    for name, (summary, add_arguments) in _COMMANDS.items():
        add_arguments(commands.add_parser(name, help=summary, description=summary))
    return parser


def _aggregate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="*", metavar="RUN", help=f"{_RUNS}; default: all")
    parser.add_argument("--output", type=Path, metavar="FILE", help="where to write it; default: the terminal")


def _dashboard(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--csv", type=Path, required=True, metavar="FILE", help="the table that aggregate wrote")
    parser.add_argument(
        "--output", type=Path, required=True, metavar="FILE", help="a picture (.png, .svg, .pdf) or one page (.html)"
    )


def _run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="job id or run folder")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="default: pictures/ in the run folder")


def _compare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", metavar="RUN", help=_RUNS)
    parser.add_argument("--csv", type=Path, metavar="FILE", help="also write it as CSV")


def _watch(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="job id or run folder")


_COMMANDS = {
    "aggregate": ("Print a table with a row for each run, as CSV.", _aggregate),
    "dashboard": ("Draw accuracy against cost over all runs of a table.", _dashboard),
    "run": ("Draw one run: its curves, its mistakes, its inside.", _run),
    "compare": ("Print what differs between runs, in config and result.", _compare),
    "watch": ("Show the progress of a running job until it ends.", _watch),
}
"""Command → what it does, and what adds its arguments."""
