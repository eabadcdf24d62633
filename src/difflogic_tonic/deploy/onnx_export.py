"""CNN, MLP and spiking networks as ONNX (https://onnx.ai/onnx/repo-docs/IR.html), and such a file against its network.

A spiking network is unrolled: its graph is for one sequence of a given number of frames, or one image shown for the
steps of its config. The others take a batch of any size.
"""

import copy
import importlib.util
import logging
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from difflogic_tonic.data import Batch, expand
from difflogic_tonic.errors import ConfigError, UserError
from difflogic_tonic.models.encoding import BinaryFrames
from difflogic_tonic.nets.spiking.model import SpikingModel
from difflogic_tonic.nets.spiking.neurons import Neuron
from difflogic_tonic.storage import atomic_write
from difflogic_tonic.train.opened import OpenedRun

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
INPUT, OUTPUT = "counts", "logits"


@dataclass(frozen=True)
class Unrolled:
    """What a graph takes: `frames` None is a batch float32[B, C, H, W]; else one sample float32[frames, 1, C, H, W]."""

    frames: int | None
    shape: tuple[int, int, int]

    def zeros(self) -> Tensor:
        # two samples, because the exporter takes a 1 for a size that never changes
        return torch.zeros(2, *self.shape) if self.frames is None else torch.zeros(self.frames, 1, *self.shape)


def export_onnx(run: OpenedRun, path: Path, frames: int | None = None) -> Unrolled:
    """Write the network of `run` to `path`, whole or not at all; inputs are `counts`, outputs `logits`.

    `frames`: how many the graph of a spiking network has, default the most frequent number in the test set. ConfigError
    for a network that has no such graph, UserError where the packages are missing.
    """
    require_packages()
    unrolled = _unrolled(run, frames)
    program = _program(run.model, unrolled)
    proto = program.model_proto
    proto.producer_name = "difflogic-tonic"
    for key, value in {"job": run.config.base.job_id or "", "classes": ",".join(run.saved.classes)}.items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, value
    with atomic_write(path) as partial:
        partial.write_bytes(proto.SerializeToString())
    return unrolled


def require_packages() -> None:
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"ONNX needs {', '.join(missing)}; install with: .venv/bin/python -m pip install {' '.join(PACKAGES)}"
        )


def _unrolled(run: OpenedRun, frames: int | None) -> Unrolled:
    model = run.model
    if isinstance(model, BinaryFrames):
        raise ConfigError("a logic network has no ONNX form; export it as c, verilog or netlist")
    is_sequence = getattr(model, "view", "frames") == "sequence"
    is_image = isinstance(model, SpikingModel) and bool(
        model.inputs.image_steps or model.inputs.encoding in ("rows", "columns")
    )
    if frames is not None and (is_image or not is_sequence):
        raise ConfigError(
            f"--frames is for networks of sequences; job {run.config.base.job_id} takes one frame or image"
        )
    if not is_sequence:
        return Unrolled(None, run.frame_shape)
    if isinstance(model, SpikingModel) and model.inputs.encoding == "rate":
        raise ConfigError(
            "encoding rate draws its spikes at random, which an ONNX graph does not; use direct or latency"
        )
    if is_image:
        return Unrolled(1, run.frame_shape)
    lengths = torch.cat([batch.lengths for batch in _test_batches(run)])
    return Unrolled(frames or int(lengths.mode().values), run.frame_shape)


def _program(model: nn.Module, unrolled: Unrolled) -> Any:
    plain = copy.deepcopy(model).eval()
    for part in plain.modules():
        if isinstance(part, Neuron):
            part.backend = "reference"  # operations that a graph can hold, in place of kernels
    batch = {0: torch.export.Dim("batch")} if unrolled.frames is None else None
    with torch.no_grad(), _quiet():
        return torch.onnx.export(
            _OnlyCounts(plain).eval(),
            (unrolled.zeros(),),
            dynamo=True,
            dynamic_shapes={INPUT: batch},
            input_names=[INPUT],
            output_names=[OUTPUT],
            verbose=False,
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter warns of packages that are not needed, and of its own use of what torch deprecates."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


class _OnlyCounts(nn.Module):
    """A network whose samples all have their full length."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, counts: Tensor) -> Tensor:
        logits: Tensor = self.model(counts)
        return logits


@dataclass(frozen=True)
class OnnxComparison:
    """`samples` of the test set, how many get another class than from the network, `apart` the largest difference of a
    logit, `skipped` sequences with fewer frames than the graph has."""

    samples: int
    different: int
    right: int
    apart: float
    skipped: int


@torch.no_grad()
def verify_onnx(run: OpenedRun, path: Path, unrolled: Unrolled, samples: int | None = None) -> OnnxComparison:
    """Run the file with onnxruntime on the test set. Longer sequences are cut to the frames of the graph, for both."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    seen = different = right = skipped = 0
    apart = 0.0
    model = run.model.eval()
    for batch in _test_batches(run):
        counts, labels, left_out = _for_graph(batch, unrolled)
        skipped += left_out
        room = len(labels) if samples is None else max(0, samples - seen)
        counts = counts[:room] if unrolled.frames is None else counts[:, :room]
        labels = labels[:room]
        if not len(labels):
            continue
        expected = model(counts).numpy()
        parts = [counts] if unrolled.frames is None else counts.split(1, 1)
        found = np.concatenate([session.run(None, {INPUT: part.contiguous().numpy()})[0] for part in parts])
        apart = max(apart, float(np.abs(found - expected).max()))
        different += int((found.argmax(1) != expected.argmax(1)).sum())
        right += int((found.argmax(1) == labels.numpy()).sum())
        seen += len(labels)
    return OnnxComparison(seen, different, right, apart, skipped)


def _for_graph(batch: Batch, unrolled: Unrolled) -> tuple[Tensor, Tensor, int]:
    """What a graph can take of a batch: counts, labels, and how many sequences are too short."""
    counts = expand(batch)
    if unrolled.frames is None:
        return counts, batch.labels, 0
    long_enough = batch.lengths >= unrolled.frames
    return counts[: unrolled.frames, long_enough], batch.labels[long_enough], int((~long_enough).sum())


def _test_batches(run: OpenedRun) -> Iterator[Batch]:
    source = run.inputs.evaluated.get("test")
    if source is None:
        raise ConfigError(f"{run.config.data.name} was prepared without a test split; there is nothing to compare on")
    with closing(source.iterate(0)) as batches:
        yield from batches
