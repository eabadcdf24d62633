"""What a run prints: progress, one line per epoch, and the final lines."""

import datetime
import logging
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from difflogic_tonic.cache.progress import bar_on_terminal
from difflogic_tonic.config import outer_container
from difflogic_tonic.config.training import Train
from difflogic_tonic.runs.metrics import Row
from difflogic_tonic.train.standing import eta_seconds
from difflogic_tonic.train.state import Progress

LINE_SECONDS = 30.0
"""Without a terminal there is no bar but a line every so often: a log file of a long epoch should show life."""

EVALUATED = ("val", "test")

log = logging.getLogger(__name__)


class Bar:
    """Progress of one pass: a bar on a terminal, else a line now and then."""

    def __init__(self, what: str, total: int, done: int) -> None:
        self._what, self._total, self._done = what, total, done
        self._said_at = time.monotonic()
        self._bar = (
            bar_on_terminal(total, "batch", what, initial=done, leave=False, file=sys.stderr)
            if sys.stderr.isatty() and log.isEnabledFor(logging.INFO)
            else None
        )

    def advance(self, batches: int, loss: float | None = None) -> None:
        self._done += batches
        if self._bar is not None:
            if loss is not None:
                self._bar.set_postfix_str(f"loss {loss:.4f}", refresh=False)
            self._bar.update(batches)
        elif time.monotonic() - self._said_at > LINE_SECONDS:
            self._said_at = time.monotonic()
            shown = "" if loss is None else f"  loss {loss:.4f}"
            log.info("%s: batch %s of %s%s", self._what, f"{self._done:,}", f"{self._total:,}", shown)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


@contextmanager
def bar(what: str, total: int, done: int = 0) -> Iterator[Bar]:
    """A `Bar` that is gone at the end of the block."""
    shown = Bar(what, total, done)
    try:
        yield shown
    finally:
        shown.close()


def epoch_line(row: Row, progress: Progress, config: Train, subset: str | None) -> str:
    """One epoch in one line; what the run does not measure is left out."""
    parts = [f"epoch {row['epoch']}/{config.epochs}", f"train {_loss_and_accuracy(row, 'train')}"]
    parts += [f"{split} {_loss_and_accuracy(row, split)}" for split in EVALUATED if f"{split}_loss" in row]
    if progress.best is not None:
        parts.append(f"best: epoch {progress.best.epoch}{_chosen_by(progress.best.metrics)}")
    speeds = [f"{row[f'{split}_samples_per_second']:,.0f} {split}" for split in ("train", "test") if _speed(row, split)]
    parts.append(f"samples/s {', '.join(speeds)}")
    if row.get("amp_skipped"):
        parts.append(f"skipped {row['amp_skipped']:,} steps in fp16")
    if left := eta_seconds(progress, config.epochs):
        parts.append(f"ends {_clock_in(left)}")
    return "  ".join(parts) + _of_subset(subset)


def result_lines(metrics: dict[str, Any], split: str, subset: str | None) -> list[str]:
    """The accuracies of one evaluation, soft and (logic networks) hard, with their counts."""
    lines = []
    for suffix, name in (("", "soft"), ("_hard", "hard")):
        if f"{split}_loss{suffix}" not in metrics:
            continue
        kind = f" ({name})" if f"{split}_loss_hard" in metrics else ""
        parts = [
            f"{sample} accuracy {percent(metrics[key])} "
            f"({metrics[f'{split}_{sample}s_correct{suffix}']:,} of {metrics[f'{split}_{sample}s{suffix}']:,})"
            for sample in ("frame", "recording")
            if (key := f"{split}_{sample}_accuracy{suffix}") in metrics
        ]
        if (top := f"{split}_top5_accuracy{suffix}") in metrics:
            parts.append(f"top-5 {percent(metrics[top])}")
        parts.append(f"loss {metrics[f'{split}_loss{suffix}']:.4f}")
        lines.append(f"{split}{kind}: {', '.join(parts)}{_of_subset(subset)}")
    return lines


def final_lines(metrics: dict[str, Any], subset: str | None) -> list[str]:
    """The accuracies on every split that was evaluated, validation first."""
    return [line for split in EVALUATED for line in result_lines(metrics, split, subset)]


def maxima_line(progress: Progress) -> str | None:
    """The largest test accuracies of any epoch, to stand beside those of the chosen one; None after one epoch."""
    if not progress.maxima or progress.epoch < 2:
        return None
    parts = []
    for name, (accuracy, epoch) in sorted(progress.maxima.items()):
        sample, _, hard = name.removeprefix("test_").partition("_accuracy")
        parts.append(f"{sample}s{' (hard)' if hard else ''} {percent(accuracy)} in epoch {epoch:.0f}")
    return f"test, the best of {progress.epoch} epochs: {', '.join(parts)}; optimistic, since test data chose them"


def tensorboard_command(folder: Path) -> str:
    """A line for the shell that shows the curves in `folder`, which need not have our Python in its PATH."""
    container = outer_container()
    beside = Path(sys.executable).with_name("tensorboard")
    if container is not None:
        runtime, image = container
        command = [runtime, "exec", "--bind", str(folder), image, "tensorboard"]
    elif beside.is_file():
        command = [str(beside)]
    else:
        command = [sys.executable, "-m", "tensorboard.main"]
    return shlex.join([*command, "--logdir", str(folder)])


def gate_line(report: dict[str, dict[str, Any]]) -> str:
    """What a logic network is as a circuit, from `netlist_report`: gates and depth as trained, and simplified."""
    before, after = report["before"], report["after"]
    return (
        f"circuit: {before['gates']:,} gates, depth {before['depth']}; "
        f"after simplification {after['gates']:,} gates, {after['inverters']:,} inverters, depth {after['depth']}, "
        f"{after['inputs'] - after['unused_inputs']:,} of {after['inputs']:,} inputs used"
    )


def percent(fraction: float) -> str:
    return f"{100 * fraction:.2f}%"


def size(n_bytes: float) -> str:
    """Bytes as a person reads them."""
    for unit in ("B", "kB", "MB", "GB"):
        if n_bytes < 1000:
            return f"{n_bytes:.0f} {unit}" if unit == "B" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.1f} TB"


def _loss_and_accuracy(row: Row, split: str) -> str:
    accuracies = []
    for sample in ("recording",) if split == "val" else ("frame", "recording"):
        key = f"{split}_{sample}_accuracy"
        if key in row:
            hard = f" (hard {percent(row[f'{key}_hard'])})" if f"{key}_hard" in row else ""
            accuracies.append(f"{sample}s {percent(row[key])}{hard}")
    return f"loss {row[f'{split}_loss']:.4f} {' '.join(accuracies)}"


def _chosen_by(metrics: dict[str, Any]) -> str:
    for key in ("val_recording_accuracy_hard", "val_recording_accuracy"):
        if key in metrics:
            return f" (val {percent(metrics[key])})"
    return ""


def _speed(row: Row, split: str) -> bool:
    return f"{split}_samples_per_second" in row


def _clock_in(seconds: float) -> str:
    end = datetime.datetime.now() + datetime.timedelta(seconds=seconds)
    return end.strftime("%H:%M:%S" if seconds < 12 * 3600 else "%Y-%m-%d %H:%M")


def _of_subset(subset: str | None) -> str:
    return f"  [subset: {subset}]" if subset else ""
