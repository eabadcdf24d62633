"""`report.sh compare`: what differs between runs, in config, result and environment."""

import csv
import io
import json
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from difflogic_tonic.config import StoragePaths
from difflogic_tonic.errors import ConfigError
from difflogic_tonic.report.finding import find_runs
from difflogic_tonic.report.reading import RecordedRun, read_run
from difflogic_tonic.storage import atomic_write

ABSENT = "–"
WIDEST = 44
"""Letters of a cell in the terminal; a CSV has all of them."""

_NOT_COMPARED = {"base.job_id", "job_id"}


@dataclass(frozen=True)
class Difference:
    """One key that runs do not agree on. `part` is `config`, `result` or `environment`; a value may be `ABSENT`."""

    part: str
    key: str
    values: tuple[Any, ...]

    def change(self) -> str:
        """The second value minus the first, of two numbers; else empty."""
        numbers = [value for value in self.values if isinstance(value, int | float) and not isinstance(value, bool)]
        return f"{numbers[1] - numbers[0]:+.4g}" if len(self.values) == len(numbers) == 2 else ""


def compare(arguments: Namespace, places: StoragePaths) -> int:
    """Print the differences of the runs that the command line names, and what they were not compared in.

    Raises `ConfigError` for fewer than two runs.
    """
    folders = find_runs(arguments.runs, places)
    if len(folders) < 2:
        raise ConfigError(f"compare {' '.join(arguments.runs)}: one run; name at least two, or a pattern in quotes")
    runs = [read_run(folder) for folder in folders]
    found = differences_of(runs)
    for run in runs:
        for line in notes_of(run):
            print(f"note: {run.job_id}: {line}", file=sys.stderr)
    if arguments.csv is not None:
        with atomic_write(arguments.csv) as partial:
            partial.write_text(as_csv(runs, found), encoding="utf-8")
    print(as_text(runs, found))
    return 0


def notes_of(run: RecordedRun) -> list[str]:
    """What to know of a run beside the table: its state, what is damaged, and in what it is not compared."""
    parts = _parts_of(run)
    facts = [f"{run.state}, {run.reason}"] if run.reason else []
    if missing := [part for part, content in parts.items() if not content]:
        compared = " and ".join(part for part in parts if part not in missing) or "nothing"
        facts.append(f"has no {' and no '.join(missing)} yet: compared in {compared}")
    return [*(["; ".join(facts)] if facts else []), *map(str, run.problems)]


def differences_of(runs: Sequence[RecordedRun]) -> list[Difference]:
    """Every key that is not the same in all runs: config first, then results, then the environment.

    A run that has nothing of a part, as one that is unfinished has no results, is left out there.
    """
    found = []
    every = [_parts_of(run) for run in runs]
    for part in every[0]:
        sides = [parts[part] for parts in every]
        for key in dict.fromkeys(key for side in sides for key in side):
            values = [side.get(key, ABSENT) for side in sides]
            compared = [value for value, side in zip(values, sides, strict=True) if side]
            if key not in _NOT_COMPARED and any(value != compared[0] for value in compared):
                found.append(Difference(part, key, tuple(values)))
    return found


def _parts_of(run: RecordedRun) -> dict[str, dict[str, Any]]:
    sections = {"config": run.config, "result": run.summary, "environment": run.environment}
    return {part: dict(flat(section)) for part, section in sections.items()}


def flat(section: dict[str, Any], head: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values; a list is one value, and what has a list of sections in it is left out."""
    for name, value in section.items():
        if isinstance(value, dict):
            yield from flat(value, f"{head}{name}.")
        elif not (isinstance(value, list) and any(isinstance(one, dict) for one in value)):
            yield head + name, value


def as_csv(runs: Sequence[RecordedRun], found: Sequence[Difference]) -> str:
    """A row for each difference, a column for each run."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["part", "key", *(run.job_id for run in runs)])
    for one in found:
        writer.writerow([one.part, one.key, *("" if value is ABSENT else _text(value) for value in one.values)])
    return buffer.getvalue()


def as_text(runs: Sequence[RecordedRun], found: Sequence[Difference]) -> str:
    """The table for a terminal; of two runs with the change of numbers at the end of the line."""
    if not found:
        return f"{', '.join(run.job_id for run in runs)} differ in nothing that is recorded"
    head = ["", *(run.job_id for run in runs), *(["change"] if len(runs) == 2 else [])]
    lines: list[list[str]] = [head]
    part = ""
    for one in found:
        if one.part != part:
            part = one.part
            lines.append([part.upper()] + [""] * (len(head) - 1))
        cells = [_short(_text(value)) for value in one.values]
        lines.append([f"  {one.key}", *cells, *([one.change()] if len(runs) == 2 else [])])
    widths = [max(len(line[k]) for line in lines) for k in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _text(value: Any) -> str:
    if value is ABSENT or isinstance(value, str):
        return str(value)
    return f"{value:.6g}" if isinstance(value, float) else json.dumps(value, ensure_ascii=False)


def _short(text: str) -> str:
    return text if len(text) <= WIDEST else text[: WIDEST - 1] + "…"
