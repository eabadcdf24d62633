"""The points that TensorBoard and other sinks get of a row of metrics.jsonl: a pure function of the row.

    Train/EpochLoss, Train/EpochAcc           training samples of an epoch (frames, where a sample is a frame)
    Test/Loss, Test/Acc, Test/FrameAcc, …     an evaluation; Acc is of recordings. The same below Val/
    Test/HardAcc, Test/HardLoss, …, Test/Gap  of the discretised logic network; Gap is soft minus hard
    Spikes/<phase>/<layer>_mean, …/GlobalRate spikes per neuron and step of a layer, and of all neurons
    Efficiency/<phase>/SpikesPerSample, …     spikes of all layers for one sample; SynOps and MACs
    PotentialHist/<phase>/<layer>             membranes after the charge and before the reset, in thresholds
    PotentialNearThresh/<phase>/<layer>       share of them within 0.1 of the threshold
    Logic/GateHist, Logic/GateHist/layer<i>   logic gates by number (0 FALSE … 15 TRUE), of all layers and of each; the
                                              first layer is 1, as in the pictures
    Logic/UnusedGates, …/layer<i>             neurons whose output cannot change the answer
    Logic/Gates/<name>                        how many of each
    Step/Loss, Step/LearningRate, …           between epochs, means since the point before

<phase> is Train, Val or Test. Every point is at its number of optimizer steps.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

POSITION = ("kind", "step", "epoch", "time")
"""What a row says of itself; all the rest of it are metrics."""

MEMBRANE_RANGE = (-2.0, 2.0)
"""First and last edge of the membrane histograms, in thresholds."""

_SPLIT = re.compile(r"(train|val|test)_(.+)")
_NAMES = {
    "loss": "Loss",
    "recording_accuracy": "Acc",
    "frame_accuracy": "FrameAcc",
    "top5_accuracy": "Top5Acc",
    "gap_recording": "Gap",
    "gap_frame": "FrameGap",
    "samples_per_second": "SamplesPerSecond",
}
_TRAIN_NAMES = {"loss": "EpochLoss", "recording_accuracy": "EpochAcc", "frame_accuracy": "EpochAcc"}
_SPIKE_TAGS = {
    "spikes_global_rate": "Spikes/{}/GlobalRate",
    "spikes_per_sample": "Efficiency/{}/SpikesPerSample",
    "synops_per_sample": "Efficiency/{}/SynOpsPerSample",
    "macs_per_sample": "Efficiency/{}/MacsPerSample",
}
_LAYER_TAGS = (
    ("spikes_rate_", "Spikes/{}/{}_mean"),
    ("spikes_near_threshold_", "PotentialNearThresh/{}/{}"),
)
_OTHER_TAGS = {
    ("step", "loss"): "Step/Loss",
    ("step", "learning_rate"): "Step/LearningRate",
    ("step", "temperature"): "Step/Temperature",
    ("step", "amp_skipped"): "Step/SkippedSteps",
    ("epoch", "amp_skipped"): "Epoch/SkippedSteps",
    ("epoch", "seconds"): "Epoch/Seconds",
    ("epoch", "best_epoch"): "Epoch/BestEpoch",
    ("epoch", "peak_memory_bytes"): "Epoch/PeakMemoryBytes",
    ("epoch", "peak_gpu_memory_bytes"): "Epoch/PeakGpuMemoryBytes",
    ("epoch", "logic_gates"): "Logic/Gates",
    ("epoch", "logic_unused"): "Logic/UnusedGates",
}
_COUNTS = re.compile(r"(recordings|frames)(_correct)?(_hard)?|spikes_samples")
"""Exact counts behind the accuracies: numbers for files, not curves."""


@dataclass(frozen=True)
class Histogram:
    """`counts[i]` numbers between `edges[i]` and `edges[i + 1]`."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]

    @classmethod
    def over(cls, low: float, high: float, counts: Sequence[int]) -> "Histogram":
        """Bins of equal width."""
        width = (high - low) / len(counts)
        return cls(tuple(low + width * place for place in range(len(counts) + 1)), tuple(counts))


Point = tuple[str, float | Histogram]
"""A tag and its value."""


def points_of(row: dict[str, Any]) -> Iterator[Point]:
    """Tags and values of one row, in its order."""
    of_all_gates: list[int] = []
    for name, value in row.items():
        if name in POSITION:
            continue
        if name.startswith("logic_histogram_"):
            of_all_gates.append(value)
            yield f"Logic/Gates/{name.removeprefix('logic_histogram_')}", value
        elif name.startswith("logic_layers_"):
            yield from _of_logic_layers(name.removeprefix("logic_layers_"), value)
        elif match := _SPLIT.fullmatch(name):
            yield from _of_split(match[1], match[2], value)
        elif isinstance(value, int | float):
            yield _OTHER_TAGS.get((row["kind"], name), f"{row['kind'].capitalize()}/{name}"), value
    if of_all_gates:
        yield "Logic/GateHist", _gates(of_all_gates)


def _of_logic_layers(name: str, layers: list[Any]) -> Iterator[Point]:
    for number, value in enumerate(layers, 1):
        if name == "unused":
            yield f"Logic/UnusedGates/layer{number}", value
        elif name == "histogram":
            yield f"Logic/GateHist/layer{number}", _gates(value)


def _gates(counts: Sequence[int]) -> Histogram:
    return Histogram.over(-0.5, len(counts) - 0.5, counts)


def _of_split(split: str, name: str, value: Any) -> Iterator[Point]:
    phase = split.capitalize()
    if name == "spikes_histogram":
        for layer, counts in value.items():
            yield f"PotentialHist/{phase}/{layer}", Histogram.over(*MEMBRANE_RANGE, counts)
    elif isinstance(value, int | float) and not _COUNTS.fullmatch(name):
        yield _tag_of(phase, name), value


def _tag_of(phase: str, name: str) -> str:
    if name in _SPIKE_TAGS:
        return _SPIKE_TAGS[name].format(phase)
    for head, tag in _LAYER_TAGS:
        if name.startswith(head):
            return tag.format(phase, name.removeprefix(head))
    if phase == "Train" and name in _TRAIN_NAMES:
        return f"Train/{_TRAIN_NAMES[name]}"
    plain = name.removesuffix("_hard")
    if plain in _NAMES:
        return f"{phase}/{'Hard' if plain != name else ''}{_NAMES[plain]}"
    return f"{phase}/{name}"
