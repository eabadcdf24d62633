"""The dashboard as one HTML file that needs nothing else: points with their numbers on hover, and a table to sort.

The script is our own: a plotting library would be two hundred times as large in every dashboard, and its tables cannot
be sorted.
"""

import html
import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from difflogic_tonic.report.dashboard import Dashboard
from difflogic_tonic.report.document import save_document
from difflogic_tonic.report.style import FAMILIES, family_style
from difflogic_tonic.report.table import Axis, Cells, Table, number_in

MAIN = (
    *("job_id", "state", "model_type", "network", "dataset", "seed", "accuracy", "spikes_per_sample"),
    *("synops_per_sample", "gates", "depth", "parameters", "energy_nj_per_recording", "seconds", "reason"),
)
"""Columns of the table that are shown before somebody asks for all."""

LABELS = {"job_id": "run", "model_type": "model"}
"""Other names of columns in the head of the table, for those that are no axis."""

_BODY = """
<div class="controls">
<label>dataset <select id="dataset"></select></label>
<label>accuracy <select id="accuracy"></select></label>
<label>against <select id="cost"></select></label>
<label><input type="checkbox" id="log" checked> powers of ten</label>
<span id="legend" class="controls" aria-label="model families, click to hide"></span>
</div>
<svg id="plot" viewBox="0 0 1000 470" role="group" aria-label="accuracy against cost"></svg>
<p id="none" hidden>No run has both of these values.</p>
<p class="notes">Dashed: the Pareto front; its points have a black edge. Bars: one standard deviation over runs that \
differ in their seed only. Point at a mark, or at a row of the table, to see which belong together.</p>
<div class="controls">
<label>search <input type="search" id="search"></label>
<label><input type="checkbox" id="all"> all columns</label>
</div>
<div class="wide"><table><thead><tr id="head"></tr></thead><tbody id="body"></tbody></table></div>
<div class="notes">{notes}</div>
<div id="tip" role="status"></div>
<script>const DATA = {data};</script>
<script>{script}</script>
"""


def save_page(dashboard: Dashboard, accuracies: Sequence[Axis], table: Table, path: Path, title: str) -> Path:
    """Write the page. Raises `StorageError`."""
    data = page_data(dashboard, accuracies, table)
    source = files("difflogic_tonic.report") / "page"
    body = _BODY.format(
        notes="".join(f"<p>{html.escape(note)}</p>" for note in dashboard.notes),
        data=_in_script(data),
        script=(source / "dashboard.js").read_text(encoding="utf-8"),
    )
    return save_document(path, title, (source / "dashboard.css").read_text(encoding="utf-8"), body)


def page_data(dashboard: Dashboard, accuracies: Sequence[Axis], table: Table) -> dict[str, Any]:
    """What the script draws, as plain JSON data."""
    axes = [*accuracies, *dashboard.costs]
    present = {point.family for point in dashboard.points}
    ordered = [name for name in FAMILIES if name in present] + sorted(present - set(FAMILIES))
    return {
        "points": [vars(point) for point in dashboard.points],
        "rows": [{name: cell for name, cell in cells.items() if cell} for cells in table.rows],
        "columns": [_column(name, axes, table.rows) for name in _ordered(table)],
        "accuracies": [vars(axis) for axis in accuracies if any(axis.column in p.means for p in dashboard.points)],
        "costs": [vars(axis) for axis in dashboard.costs],
        "families": {name: family_style(name) for name in ordered},
    }


def _ordered(table: Table) -> list[str]:
    """Columns that at least one run has something in, the main ones first."""
    used = [name for name in table.columns if any(cells.get(name) for cells in table.rows)]
    return [name for name in MAIN if name in used] + [name for name in used if name not in MAIN]


def _column(name: str, axes: Sequence[Axis], rows: Sequence[Cells]) -> dict[str, Any]:
    axis = next((axis for axis in axes if axis.column == name), None)
    filled = [cells for cells in rows if cells.get(name)]
    return {
        "name": name,
        "label": axis.label if axis else LABELS.get(name, name.replace("_", " ")),
        "factor": axis.factor if axis else 1,
        "number": all(number_in(cells, name) is not None for cells in filled),
        "main": name in MAIN,
    }


def _in_script(data: dict[str, Any]) -> str:
    """JSON that cannot end the script element, whatever a job is called."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
