"""The columns of the table over runs. A metric that a run does not have is None there, never zero."""

import copy
import hashlib
import json
from collections.abc import Callable
from typing import Any

from difflogic_tonic.config import TrainConfig
from difflogic_tonic.config.sections import build_section
from difflogic_tonic.errors import ConfigError
from difflogic_tonic.report.energy import circuit_gates, number, operations_of
from difflogic_tonic.report.reading import RecordedRun

Cell = str | int | float | bool | None
Column = Callable[[RecordedRun], Any]

MEGABYTE = 1e6

NO_RECIPE = (
    *("base.seed", "base.job_id", "base.tag", "data.prepare", "data.variant", "train.device", "train.recompute"),
    *("train.checkpoint_interval_minutes", "train.measure_spikes", "train.recompute_steps"),
    *("train.dataloader.num_workers", "model.difflogic.backend", "model.snn.backend"),
)
"""Config keys that make no other result, or only as another seed does; `variant` has a column of its own."""


def row_of(run: RecordedRun) -> dict[str, Cell]:
    """All columns of one run, in the order of the table."""
    return {name: _cell(column(run)) for name, column in COLUMNS.items()}


def accuracy_of(summary: dict[str, Any]) -> Any:
    """Recordings right, of the test data: those of the discretised network where there is one. None without a test."""
    return summary.get("test_recording_accuracy_hard", summary.get("test_recording_accuracy"))


def network_of(run: RecordedRun) -> str | None:
    """A few words for the sizes of the network, from its config section."""
    model = run.value("model.model_type")
    section = run.value(f"model.{str(model).lower()}")
    if not isinstance(section, dict):
        return None if model is None else str(model)
    if model == "DiffLogic":
        size = f"{section.get('num_layers')}x{section.get('num_neurons')}"
        kind = section.get("architecture", "dense")
        return size if kind == "dense" else f"{kind} {size}"
    if model == "SNN":
        channels = f" c{section['channels']}" if section.get("channels") else ""
        return f"{section.get('architecture')}{channels}"
    hidden = section.get("hidden")
    return "-".join(str(size) for size in hidden) if isinstance(hidden, list) else f"hidden {hidden}"


def recipe_of(run: RecordedRun) -> str | None:
    """Eight letters, the same for runs whose configs are but for seed, name, and where and how fast they ran."""
    if not run.config:
        return None
    rest = copy.deepcopy(run.config)
    for key in NO_RECIPE:
        *sections, name = key.split(".")
        part: Any = rest
        for section in sections:
            part = part.get(section) if isinstance(part, dict) else None
        if isinstance(part, dict):
            part.pop(name, None)
    try:
        # with the defaults of keys that an older version did not have yet
        rest = build_section(TrainConfig, rest, "").to_dict()
    except ConfigError:
        pass  # of another version that had keys of its own: as it is
    return hashlib.sha256(json.dumps(rest, sort_keys=True, default=str).encode()).hexdigest()[:8]


def _summary(name: str) -> Column:
    return lambda run: run.summary.get(name)


def _config(key: str) -> Column:
    return lambda run: run.value(key)


def _environment(name: str) -> Column:
    return lambda run: run.environment.get(name)


def _version(package: str) -> Column:
    def version(run: RecordedRun) -> Any:
        packages = run.environment.get("packages")
        return packages.get(package) if isinstance(packages, dict) else None

    return version


def _circuit(name: str) -> Column:
    def counted(run: RecordedRun) -> Any:
        try:
            return run.summary["netlist"]["after"][name]
        except (KeyError, TypeError):
            return None

    return counted


def _operations(name: str) -> Column:
    def counted(run: RecordedRun) -> Any:
        found = operations_of(run.summary)
        return (found and getattr(found, name)) or None

    return counted


def _megabytes(name: str) -> Column:
    return lambda run: None if (found := number(run.summary, name)) is None else found / MEGABYTE


def _highest_rate(run: RecordedRun) -> float | None:
    rates = [number(run.summary, name) for name in run.summary if name.startswith("test_spikes_rate_")]
    return max((rate for rate in rates if rate is not None), default=None)


def _unused(run: RecordedRun) -> Any:
    logic = run.summary.get("logic")
    return logic.get("unused") if isinstance(logic, dict) else None


def _reasons(run: RecordedRun) -> str | None:
    reasons = [run.reason] if run.reason else []
    return "; ".join([*reasons, *(str(problem) for problem in run.problems)]) or None


def _cell(value: Any) -> Cell:
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


_ACCURACIES = [
    f"{split}_{name}{hard}"
    for split in ("test", "val")
    for hard in ("", "_hard")
    for name in ("recording_accuracy", "frame_accuracy", "top5_accuracy", "loss")
]

COLUMNS: dict[str, Column] = {
    "job_id": lambda run: run.job_id,
    "state": lambda run: run.state,
    "reason": _reasons,
    "tag": _config("base.tag"),
    "dataset": _config("data.name"),
    "subset": _summary("subset"),
    "variant": lambda run: str(run.summary["fingerprint"])[:12] if "fingerprint" in run.summary else None,
    "model_type": _config("model.model_type"),
    "network": network_of,
    "view": _summary("view"),
    "recipe": recipe_of,
    "seed": _config("base.seed"),
    "epochs": _summary("epochs"),
    "epochs_wanted": _config("train.epochs"),
    "best_epoch": _summary("best_epoch"),
    "steps": _summary("steps"),
    "batch_size": _config("train.dataloader.batch_size"),
    "optimizer": _config("train.optimizer"),
    "learning_rate": lambda run: run.summary.get("learning_rate", run.value("train.learning_rate")),
    "schedule": _config("train.schedule"),
    "loss_function": _config("train.loss"),
    "amp": _summary("amp"),
    "accuracy": lambda run: accuracy_of(run.summary),
    **{name: _summary(name) for name in _ACCURACIES},
    "test_gap_recording": _summary("test_gap_recording"),
    "test_gap_frame": _summary("test_gap_frame"),
    "test_recording_accuracy_max": lambda run: accuracy_max_of(run.summary),
    "test_recordings": _summary("test_recordings"),
    "test_frames": _summary("test_frames"),
    "spikes_per_sample": _summary("test_spikes_per_sample"),
    "spike_rate": _summary("test_spikes_global_rate"),
    "spike_rate_highest": _highest_rate,
    "synops_per_sample": _summary("test_synops_per_sample"),
    "macs_per_sample": _summary("test_macs_per_sample"),
    "parameters": _summary("parameters"),
    "macs": _summary("macs"),
    "gates_trained": _summary("gates"),
    "gates_unused": _unused,
    "gates": _circuit("gates"),
    "inverters": _circuit("inverters"),
    "depth": _circuit("depth"),
    "gates_with_adders": lambda run: circuit_gates(run.summary),
    "macs_per_recording": _operations("macs"),
    "synops_per_recording": _operations("acs"),
    "gates_per_recording": _operations("gates"),
    "energy_nj_per_recording": _operations("nanojoules"),
    "seconds": _summary("seconds"),
    "train_samples_per_second": _summary("train_samples_per_second"),
    "test_samples_per_second": _summary("test_samples_per_second"),
    "peak_memory_mb": _megabytes("peak_memory_bytes"),
    "peak_gpu_memory_mb": _megabytes("peak_gpu_memory_bytes"),
    "device": _environment("device"),
    "cpu": _environment("cpu"),
    "gpu": _environment("gpu"),
    "threads": _environment("threads"),
    "difflogic_tonic": _version("difflogic-tonic"),
    "python": _environment("python"),
    "torch": _version("torch"),
    "git_commit": _environment("git_commit"),
    "git_changed": _environment("git_changed"),
}
"""Name → value. Names are those of summary.json where they can be; `macs` are of one frame (of one step, in a spiking
network, as if every neuron fired), `…_per_sample` counted on the test data, `gates` after simplification."""


def accuracy_max_of(summary: dict[str, Any]) -> Any:
    """The largest test accuracy of any epoch, of the kind of `accuracy_of`: optimistic, since test data chose it."""
    return summary.get("test_recording_accuracy_hard_max", summary.get("test_recording_accuracy_max"))
