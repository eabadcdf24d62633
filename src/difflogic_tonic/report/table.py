"""`aggregated_runs.csv` read again, and its runs as points: one for all runs that differ in their seed only."""

import csv
import io
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from difflogic_tonic.errors import RunError

Cells = dict[str, str]


@dataclass(frozen=True)
class Axis:
    """A column that is drawn: its name in the CSV, and what stands at the axis, with the unit.

    `factor` turns what the CSV has into that unit. `log`: drawn over powers of ten.
    """

    column: str
    label: str
    factor: float = 1.0
    log: bool = True


ACCURACIES = (
    Axis("accuracy", "test recordings right (%)", 100, log=False),
    Axis("test_frame_accuracy", "test frames right (%)", 100, log=False),
    Axis("val_recording_accuracy", "validation recordings right (%)", 100, log=False),
)
COSTS = (
    Axis("spikes_per_sample", "spikes per sample"),
    Axis("gates", "gates of the simplified circuit"),
    Axis("synops_per_sample", "synaptic operations per sample"),
    Axis("energy_nj_per_recording", "estimated energy per recording (nJ)"),
    Axis("parameters", "parameters"),
    Axis("macs_per_recording", "multiply-accumulates per recording"),
)
MORE_COSTS = (
    Axis("depth", "depth of the circuit (gates)"),
    Axis("spike_rate", "spikes per neuron and step"),
    Axis("seconds", "training and evaluation (s)"),
    Axis("peak_memory_mb", "peak memory (MB)"),
)
"""Offered on the page, but not drawn in the picture."""

SAME = ("dataset", "subset", "variant", "model_type", "network", "recipe")
"""Runs that are equal in these columns differ in their seed only."""


@dataclass(frozen=True)
class Table:
    """The CSV: `comments` are its first lines, without the #; `rows` have the same columns."""

    columns: list[str]
    rows: list[Cells]
    comments: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Point:
    """Runs that differ in their seed only: means over them of what they have, and the spread of each.

    `spreads` are sample standard deviations, absent where fewer than two runs have the value.
    """

    family: str
    dataset: str
    """With its subset, since accuracies on a part cannot be compared with others."""
    jobs: tuple[str, ...]
    means: dict[str, float]
    spreads: dict[str, float]


def read_table(path: Path) -> Table:
    """What `aggregate` wrote. Raises `RunError` for a file that is absent, no CSV of runs, or without any run."""
    try:
        text = path.read_text(encoding="utf-8-sig")  # spreadsheet programs may put a mark before the first letter
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise RunError(f"{path}: {reason}; make it: ./report.sh aggregate RUNS > {path}") from None
    lines = text.splitlines(keepends=True)
    comments = [line[1:].strip() for line in lines if line.startswith("#")]
    reader = csv.DictReader(io.StringIO("".join(line for line in lines if not line.startswith("#"))), restval="")
    try:
        rows = [{name: cell for name, cell in row.items() if name is not None} for row in reader]
    except csv.Error as error:
        raise RunError(f"{path} is no CSV ({error}); make one: ./report.sh aggregate RUNS > {path}") from None
    columns = list(reader.fieldnames or ())
    if missing := [name for name in ("job_id", "model_type") if name not in columns]:
        raise RunError(
            f"{path} has no column {missing[0]}, so it lists no runs; make one: ./report.sh aggregate RUNS > {path}"
        )
    if not rows:
        raise RunError(f"{path} lists no runs; make it anew: ./report.sh aggregate RUNS > {path}")
    return Table(columns, rows, comments)


def number_in(cells: Cells, column: str) -> float | None:
    """The number in a column; None where it is empty, absent or no finite number."""
    try:
        value = float(cells.get(column) or "nan")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def points_of(rows: Iterable[Cells], same: Sequence[str], columns: Sequence[str]) -> list[Point]:
    """One point for all rows that are equal in the columns `same`, in the order of their first run.

    `columns` are those that it has numbers of.
    """
    groups: dict[tuple[str, ...], list[Cells]] = {}
    for cells in rows:
        groups.setdefault(tuple(cells.get(name, "") for name in same), []).append(cells)
    return [_point(group, columns) for group in groups.values()]


def _point(group: list[Cells], columns: Sequence[str]) -> Point:
    means, spreads = {}, {}
    for name in columns:
        values = [value for cells in group if (value := number_in(cells, name)) is not None]
        if values:
            means[name] = statistics.fmean(values)
        if len(values) > 1:
            spreads[name] = statistics.stdev(values)
    first = group[0]
    jobs = tuple(cells["job_id"] for cells in group)
    subset = first.get("subset", "")
    dataset = first.get("dataset", "") + (f" ({subset})" if subset else "")
    return Point(first["model_type"], dataset, jobs, means, spreads)


def pareto_front(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Those (cost, quality) that no other one beats: none is as cheap and better, or cheaper and as good.

    In the order of the cost, without repetition.
    """
    front: list[tuple[float, float]] = []
    for cost, quality in sorted(set(points), key=lambda point: (point[0], -point[1])):
        if not front or quality > front[-1][1]:
            front.append((cost, quality))
    return front
