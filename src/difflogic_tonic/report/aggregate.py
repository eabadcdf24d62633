"""`report.sh aggregate`: a table with a row for each run, as CSV with comment lines at its head."""

import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Sequence

from difflogic_tonic.config import StoragePaths
from difflogic_tonic.errors import ConfigError
from difflogic_tonic.report.columns import COLUMNS, Cell, row_of
from difflogic_tonic.report.energy import ASSUMPTIONS
from difflogic_tonic.report.finding import SET_ASIDE, find_runs, runs_root
from difflogic_tonic.report.reading import RecordedRun, read_run
from difflogic_tonic.storage import write_text

_QUOTED = set(',"#\n\r')


def aggregate(arguments: Namespace, places: StoragePaths) -> int:
    """Print the table of the runs that the command line names, and a word on those that are not finished to stderr."""
    folders = find_runs(arguments.runs, places)
    if not folders:
        root = runs_root(places)
        raise ConfigError(f"no runs in {root}; train one first: ./train.sh configs/quickstart.yaml demo")
    runs = [read_run(folder) for folder in folders]
    text = table_of(runs)
    if arguments.output is None:
        sys.stdout.write(text)
    else:
        write_text(arguments.output, text)
    for line in _remarks(runs):
        print(line, file=sys.stderr)
    return 0


def table_of(runs: Sequence[RecordedRun]) -> str:
    """CSV: lines that begin with `#`, the names of the columns, and the runs in their order.

    A cell is empty where a run does not have the metric. Text is quoted where it holds `#`, so that readers which know
    of comments (pandas with comment="#") see it whole.
    """
    states = Counter(run.state for run in runs)
    counted = ", ".join(f"{n} {state}" for state, n in sorted(states.items()))
    heads = [f"{len(runs)} runs: {counted}", f"runs that --fresh has set aside ({SET_ASIDE}) only where they are named"]
    heads += [
        "accuracy: test recordings right, of the discretised network (hard) where there is one, of the epoch that "
        "validation chose; test_recording_accuracy_max: of the best epoch on the test data, which is optimistic",
        *ASSUMPTIONS,
    ]
    lines = [f"# {head}" for head in heads]
    lines.append(",".join(COLUMNS))
    lines += [",".join(map(_text, row_of(run).values())) for run in runs]
    return "\n".join(lines) + "\n"


def _text(cell: Cell) -> str:
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return str(cell).lower()
    if not isinstance(cell, str):
        return repr(cell)
    one_line = " ".join(cell.split())
    return '"' + one_line.replace('"', '""') + '"' if _QUOTED & set(one_line) else one_line


def _remarks(runs: Sequence[RecordedRun]) -> list[str]:
    """A line for each run that is not finished, or is damaged."""
    return [
        f"note: {run.job_id}: {'; '.join([*([f'{run.state}, {run.reason}'] if run.reason else []), *problems])}"
        for run in runs
        if (problems := [str(problem) for problem in run.problems]) or run.reason
    ]
