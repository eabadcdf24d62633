"""The runs of a sweep: `sweep_tasks.py SWEEP.yaml` prints the arguments of `train.sh` for each, one line per run.

    config: configs/digits_mlp.yaml      # what every run begins with
    name: digits                         # job ids begin with it; default: the name of the sweep file
    grid: {base.seed: [1, 2, 3]}         # every combination of these values …
    runs: [{train.learning_rate: 0.1}]   # … times each of these; both may be left out, not both at once
    fixed: {train.epochs: 5}             # the same in all

Every run is checked as `train.sh` would, so that a sweep with a mistake starts nothing. A line is quoted for a shell.
"""

import itertools
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "src"))

from difflogic_tonic.arguments import checkout_path  # noqa: E402
from difflogic_tonic.config import check_job_id, load_train_config  # noqa: E402
from difflogic_tonic.config.reading import read_yaml  # noqa: E402
from difflogic_tonic.errors import ConfigError, run_command  # noqa: E402

KEYS = {"config", "name", "grid", "runs", "fixed"}
Values = dict[str, Any]


def main(argv: Sequence[str]) -> int:
    if len(argv) != 1:
        raise ConfigError("expected one sweep file, e.g. configs/sweeps/digits_seeds.yaml")
    path = checkout_path(argv[0], ROOT)
    if not path.is_file():
        raise ConfigError(f"{argv[0]}: no such sweep file")
    for line in task_lines(path):
        print(line)
    return 0


def task_lines(path: Path) -> list[str]:
    """The arguments of `train.sh` for every run. Raises `ConfigError`."""
    sweep = read_yaml(path)
    if unknown := sorted(sweep.keys() - KEYS):
        raise ConfigError(f"{path}: {unknown[0]!r} is unknown; expected {', '.join(sorted(KEYS))}")
    if "config" not in sweep:
        raise ConfigError(f"{path}: no config is given; expected one, e.g. config: configs/digits_mlp.yaml")
    config = str(sweep["config"])
    fixed = mapping(path, "fixed", sweep.get("fixed") or {})
    lines: dict[str, str] = {}
    for chosen in combinations(path, sweep):
        job_id = check_job_id("-".join([str(sweep.get("name") or path.stem), *map(part_of_id, chosen.items())]))
        if job_id in lines:
            raise ConfigError(f"{path}: two runs have the same job id {job_id}; is a value there twice?")
        overrides = [f"{key}={text_of(value)}" for key, value in (fixed | chosen).items()]
        try:
            load_train_config(config, overrides, job_id)
        except ConfigError as error:
            reason = re.sub("^--override:? ", "", str(error))  # of which the file says nothing
            raise ConfigError(f"{path}: {job_id}: {reason}") from None
        lines[job_id] = shlex.join(
            [config, job_id, "--resume=auto", *(["--override", *overrides] if overrides else [])]
        )
    return list(lines.values())


def combinations(path: Path, sweep: Values) -> list[Values]:
    """What is particular to each run: every combination of `grid`, with each of `runs`."""
    grid = mapping(path, "grid", sweep.get("grid") or {})
    runs = sweep.get("runs") or [{}]
    for key, values in grid.items():
        if not isinstance(values, list) or not values:
            raise ConfigError(f"{path}: grid.{key}: expected a list of values, found {values!r}")
    if not grid and runs == [{}]:
        raise ConfigError(f"{path}: neither grid nor runs: nothing to vary")
    if not isinstance(runs, list):
        raise ConfigError(f"{path}: runs: expected a list, each with keys and values, found {runs!r}")
    crossed = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    return [one | mapping(path, "runs", run) for one in crossed for run in runs]


def mapping(path: Path, name: str, value: Any) -> Values:
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: {name}: expected keys and values, found {value!r}")
    return {str(key): item for key, item in value.items()}


def part_of_id(item: tuple[str, Any]) -> str:
    """`seed1` of `base.seed: 1`."""
    key, value = item
    return re.sub(r"[^A-Za-z0-9.]+", "_", f"{key.rpartition('.')[2]}{text_of(value)}").strip("_")


def text_of(value: Any) -> str:
    """As `--override` reads it."""
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else str(value)


if __name__ == "__main__":
    sys.exit(run_command(main))
