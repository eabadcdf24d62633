"""From a job id to its circuit, the network that the circuit comes from, and the test set of both."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from difflogic_tonic.config import StoragePaths, TrainConfig
from difflogic_tonic.data import Batch, expand
from difflogic_tonic.errors import ConfigError
from difflogic_tonic.models import logits
from difflogic_tonic.models.discretise import to_circuit
from difflogic_tonic.models.encoding import BinaryFrames
from difflogic_tonic.netlist import Circuit
from difflogic_tonic.nets.logic import RecurrentLogicNetwork, hard_mode
from difflogic_tonic.train.inputs import Inputs
from difflogic_tonic.train.opened import open_run


@dataclass(frozen=True)
class Job:
    """A trained logic network, on the CPU. `path` is its model file, `circuit` is not simplified."""

    job_id: str
    path: Path
    config: TrainConfig
    inputs: Inputs
    model: BinaryFrames
    circuit: Circuit

    @property
    def folder(self) -> Path:
        """Where its exports lie unless said otherwise."""
        return self.path.parent / "deploy"


@dataclass(frozen=True)
class Labelled:
    """Some samples of the test set, with what the network says of them in hard mode.

    bits     bool[N, n_bits] for frames, bool[T, N, n_bits] for sequences, zero beyond the end of each
    lengths  int64[N], frames of each sample
    labels   int64[N]
    scores   int32[N, classes]; int32[T, N, classes] for sequences, one for each frame
    classes  int64[N], what the network answers
    """

    bits: NDArray[np.bool_]
    lengths: NDArray[np.int64]
    labels: NDArray[np.int64]
    scores: NDArray[np.int32]
    classes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


def open_job(job_id: str, which: str, places: StoragePaths) -> Job:
    """`which`: best or last. UserError where there is no such model, its data is missing, or it is no logic network."""
    run = open_run(job_id, which, torch.device("cpu"), places)
    if not isinstance(run.model, BinaryFrames):
        raise ConfigError(
            f"job {job_id} has model_type {run.config.model.model_type}; only DiffLogic becomes a circuit,"
            " others leave with --format onnx"
        )
    circuit = to_circuit(run.model, run.frame_shape, run.saved.classes)
    return Job(job_id, run.path, run.config, run.inputs, run.model.eval(), circuit)


def labelled_batches(job: Job, samples: int | None = None) -> Iterator[Labelled]:
    """The test set in its order, in the batches of the config; only the first `samples` if given.

    ConfigError where the dataset was prepared without one.
    """
    source = job.inputs.evaluated.get("test")
    if source is None:
        raise ConfigError(f"{job.config.data.name} was prepared without a test split; there is nothing to compare on")
    left = source.n_samples if samples is None else samples
    with closing(source.iterate(0)) as batches:
        for batch in batches:
            if left <= 0:
                return
            taken = _first(_labelled(job, batch), left)
            left -= len(taken)
            yield taken


@torch.no_grad()
def _labelled(job: Job, batch: Batch) -> Labelled:
    model, tau = job.model, job.circuit.netlist.tau
    counts = expand(batch, torch.uint8)
    with hard_mode(model):
        answers = logits(model, batch)
        steps = _step_logits(model.network, counts, model) if model.sequence else answers
    scores = np.rint(steps.double().numpy() * tau).astype(np.int32)
    return Labelled(
        job.circuit.code.bits(counts.numpy()),
        batch.lengths.numpy(),
        batch.labels.numpy(),
        scores,
        answers.argmax(1).numpy(),
    )


def _step_logits(network: object, counts: Tensor, model: BinaryFrames) -> Tensor:
    """[T, B, classes]: those of each frame, also beyond the end of a sequence."""
    assert isinstance(network, RecurrentLogicNetwork), type(network)
    found, state = [], None
    for frame in counts:
        given = frame if model.encoder is None else model.encoder(frame)
        step, state = network.step(given, state)
        found.append(step)
    return torch.stack(found)


def _first(batch: Labelled, n: int) -> Labelled:
    if n >= len(batch):
        return batch
    if batch.bits.ndim == 3:
        return Labelled(batch.bits[:, :n], batch.lengths[:n], batch.labels[:n], batch.scores[:, :n], batch.classes[:n])
    return Labelled(batch.bits[:n], batch.lengths[:n], batch.labels[:n], batch.scores[:n], batch.classes[:n])
