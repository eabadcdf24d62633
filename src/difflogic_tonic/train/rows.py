"""The rows of metrics.jsonl, and what is measured for them besides the losses."""

import resource
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from difflogic_tonic.nets.logic import logic_report
from difflogic_tonic.nets.logic.gates import GATE_NAMES
from difflogic_tonic.runs.metrics import Row, Rows
from difflogic_tonic.train.spike_statistics import metrics_of
from difflogic_tonic.train.state import Progress, Sums, TrainingState

if TYPE_CHECKING:
    from difflogic_tonic.train.fit import Plan


def write_step_row(progress: Progress, plan: "Plan", metrics: Rows) -> None:
    """Write what `window` has summed up as one row, and empty it. Raises `StorageError`, and changes nothing then."""
    metrics.append(step_row(progress, plan))
    progress.n_rows, progress.window = metrics.n_rows, Sums()


def step_row(progress: Progress, plan: "Plan") -> Row:
    """The mean loss since the last row, and the rate of the last step; its temperature if that changes."""
    window = progress.window
    row: Row = {
        "kind": "step",
        "step": progress.step,
        "epoch": progress.epoch + 1,
        "time": round(time.time(), 3),
        "loss": window.loss / window.n_samples,
        "learning_rate": progress.rate,
    }
    if plan.counts_skipped:
        row["amp_skipped"] = progress.skipped
    if plan.logic is not None and plan.logic.temperature_schedule != "none":
        row["temperature"] = plan.temperature_at(progress.step - 1)
    return row


def epoch_row(state: TrainingState, plan: "Plan", measured: dict[str, Any]) -> Row:
    """One epoch's row: loss, accuracies and counts, speed; for logic networks also their gates."""
    progress = state.progress
    sums = progress.epoch_sums
    sample = "frame" if plan.view == "frames" else "recording"
    row: Row = {
        "kind": "epoch",
        "step": progress.step,
        "epoch": progress.epoch,
        "time": round(time.time(), 3),
        "train_loss": sums.loss / sums.n_samples,
        f"train_{sample}_accuracy": sums.n_correct / sums.n_samples,
        **measured,
        "seconds": round(progress.train_seconds + progress.val_seconds + progress.test_seconds, 3),
        "train_samples_per_second": sums.n_samples / max(progress.train_seconds, 1e-9),
    }
    if plan.counts_skipped:
        row["amp_skipped"] = progress.skipped
    if progress.best is not None:
        row["best_epoch"] = progress.best.epoch
    tested = sum(plan.evaluated[phase.split].n_samples for phase in plan.phases if phase.split == "test")
    if tested:
        row["test_samples_per_second"] = tested / max(progress.test_seconds, 1e-9)
    if any(phase.hard for phase in plan.phases):
        row |= gate_metrics(state.model)
    return row | metrics_of(progress.train_spikes, "train") | memory_peaks(plan.device)


def gate_metrics(model: nn.Module) -> dict[str, Any]:
    """Gates of a logic network as discretised: in all, and `logic_layers_…` of each layer, by `GATE_NAMES`."""
    report = logic_report(model)
    layers = report["layers"]
    return {
        "logic_gates": report["gates"],
        "logic_unused": report["unused"],
        **{f"logic_histogram_{name}": count for name, count in report["histogram"].items()},
        "logic_layers_unused": [layer["unused"] for layer in layers],
        "logic_layers_histogram": [[layer["histogram"][name] for name in GATE_NAMES] for layer in layers],
    }


def memory_peaks(device: torch.device) -> dict[str, int]:
    """The most memory that this process has had so far, in bytes: of the system, and on a GPU what torch had there."""
    found = {"peak_memory_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}
    if device.type == "cuda":
        found["peak_gpu_memory_bytes"] = torch.cuda.max_memory_allocated(device)
    return found


def over_all_epochs(rows: Sequence[Row]) -> dict[str, Any]:
    """Of a run with these rows: median samples per second, and the largest of the memory peaks."""
    epochs = [row for row in rows if row["kind"] == "epoch"]
    found: dict[str, Any] = {}
    for name in ("train_samples_per_second", "test_samples_per_second"):
        if values := [row[name] for row in epochs if name in row]:
            found[name] = round(float(np.median(values)), 3)
    for name in ("peak_memory_bytes", "peak_gpu_memory_bytes"):
        if values := [row[name] for row in epochs if name in row]:
            found[name] = max(values)
    return found
