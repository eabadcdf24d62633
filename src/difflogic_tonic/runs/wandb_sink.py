"""Rows of a run to Weights & Biases as well, for those who ask for it: `logging.wandb`. Otherwise never imported.

A run there has the points of `tags`, at the number of their row. Weights & Biases takes no point at a number that it
has had, so rows that a resume repeats after a kill, which are the same, are not there twice.
"""

import hashlib
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from difflogic_tonic.errors import ConfigError, RunError
from difflogic_tonic.runs.folder import RunFolder
from difflogic_tonic.runs.metrics import MetricsLog, Row
from difflogic_tonic.runs.outage import Outage
from difflogic_tonic.runs.tags import Histogram, points_of

STEP = "optimizer_step"
"""What curves are drawn over."""


def check_installed(mode: str) -> None:
    """`ConfigError` if `mode` asks for a package that is not there."""
    if mode != "off" and importlib.util.find_spec("wandb") is None:
        raise ConfigError(
            f"logging.wandb: {mode} needs the package wandb, which is not installed; install it where this runs, "
            "e.g. .venv/bin/pip install wandb, or leave logging.wandb out"
        )


@contextmanager
def sending_rows(
    metrics: MetricsLog, mode: str, project: str, folder: RunFolder, config: dict[str, Any]
) -> Iterator[None]:
    """Inside, rows of `metrics` also go to Weights & Biases, unless `mode` is `off`. See `WandbSink`."""
    if mode == "off":
        yield
        return
    sink = WandbSink(mode, project, folder, config)
    metrics.on_row = sink.take
    exit_code = 1
    try:
        yield
        exit_code = 0
    finally:
        metrics.on_row = None
        sink.finish(exit_code)


class WandbSink:
    """A run at Weights & Biases, gone on with where this job had one before."""

    def __init__(self, mode: str, project: str, folder: RunFolder, config: dict[str, Any]) -> None:
        """`mode`: `offline` writes into the run folder, for `wandb sync`; `online` needs an account and the network.

        Raises `RunError` if it cannot be started.
        """
        import wandb

        self._wandb, self._outage = wandb, Outage("points for Weights & Biases")
        try:
            self._run = wandb.init(
                project=project,
                id=run_id(folder),
                name=folder.job_id,
                dir=str(folder.path),
                mode=mode,
                config=config,
                resume="allow",
            )
            self._run.define_metric("*", step_metric=STEP)
        except wandb.Error as error:
            reason = " ".join(str(error).split())
            raise RunError(
                f"Weights & Biases cannot be started ({reason}); use logging.wandb: offline, or leave it out"
            ) from error

    def take(self, number: int, row: Row) -> None:
        """Send row `number` (from 0). What cannot be sent is a warning: the run has more important files."""
        points = {tag: self._value(value) for tag, value in points_of(row)}
        try:
            self._run.log(points | {STEP: row["step"], "epoch": row["epoch"]}, step=number)
        except self._wandb.Error as error:
            self._outage.failed(f"Weights & Biases does not take a row ({error}); the run goes on, its files are whole")
        else:
            self._outage.over()

    def finish(self, exit_code: int) -> None:
        """Send what waits and end; `exit_code` other than 0 marks the run there as failed."""
        try:
            self._run.finish(exit_code=exit_code)
        except self._wandb.Error as error:
            self._outage.failed(f"Weights & Biases does not end well ({error}); the run's own files are whole")

    def _value(self, value: float | Histogram) -> Any:
        if isinstance(value, Histogram):
            return self._wandb.Histogram(np_histogram=(list(value.counts), list(value.edges)))
        return value


def run_id(folder: RunFolder) -> str:
    """The same in every start of this run, another one after `--fresh`: from the line of its first start."""
    with folder.command.open(encoding="utf-8") as file:
        first = file.readline()
    return f"{folder.job_id[:64]}-{hashlib.sha256(first.encode()).hexdigest()[:12]}"
