"""`report.sh dashboard`: from the table that `aggregate` wrote to a picture or a page."""

from argparse import Namespace

from difflogic_tonic.config import StoragePaths
from difflogic_tonic.errors import ConfigError, RunError
from difflogic_tonic.report.dashboard import Dashboard, save_dashboard
from difflogic_tonic.report.style import FORMATS
from difflogic_tonic.report.table import ACCURACIES, COSTS, MORE_COSTS, SAME, Cells, points_of, read_table

PAGES = ("html", "htm")
_LISTED = 8


def draw_dashboard(arguments: Namespace, places: StoragePaths) -> int:
    """Draw the table `--csv` into `--output`. Raises `ConfigError`, or `RunError` if nothing can be drawn."""
    form = arguments.output.suffix.removeprefix(".").lower()
    if form not in (*FORMATS, *PAGES):
        raise ConfigError(f"--output {arguments.output}: expected a name that ends in .html, .png, .pdf or .svg")
    table = read_table(arguments.csv)
    columns = [axis.column for axis in (*ACCURACIES, *COSTS, *MORE_COSTS)]
    drawn = [cells for cells in table.rows if cells.get("accuracy")]
    points = points_of(drawn, SAME, columns)
    notes = [*left_out(table.rows), *(line for line in table.comments[1:] if "--fresh" not in line)]
    if form in PAGES:
        from difflogic_tonic.report.page import save_page

        dashboard = Dashboard(points, ACCURACIES[0], (*COSTS, *MORE_COSTS), notes)
        save_page(dashboard, ACCURACIES, table, arguments.output, f"Accuracy and cost of {len(drawn)} runs")
    else:
        dashboard = Dashboard(points, ACCURACIES[0], COSTS, notes)
        if not dashboard.datasets():
            raise RunError(f"{arguments.csv}: none of {len(table.rows)} runs has a test accuracy and a cost to draw")
        save_dashboard(dashboard, arguments.output)
    print(f"{arguments.output}: {len(drawn)} runs in {len(points)} points")
    for line in left_out(table.rows):
        print(f"note: {line}")
    return 0


def left_out(rows: list[Cells]) -> list[str]:
    """One line for the runs without a test accuracy, with the state of each; empty where all have one."""
    lacking = [f"{cells['job_id']} ({cells.get('state') or 'unknown'})" for cells in rows if not cells.get("accuracy")]
    if not lacking:
        return []
    more = f" and {len(lacking) - _LISTED} more" if len(lacking) > _LISTED else ""
    return [f"not drawn, without a test accuracy: {', '.join(lacking[:_LISTED])}{more}"]
