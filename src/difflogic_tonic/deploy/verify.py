"""Every exported form against the network itself, bit by bit."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from difflogic_tonic.deploy.job import Labelled
from difflogic_tonic.deploy.runner import Runner


@dataclass(frozen=True)
class Comparison:
    """How many samples were run, how many had a score that differed, how many the form classified as labelled."""

    samples: int
    different: int
    right: int


def compare(run: Runner, batches: Iterable[Labelled], readout: str) -> Comparison:
    """Run every batch and count. Of sequences the scores of every frame must be equal."""
    samples = different = right = 0
    for batch in batches:
        scores = run(batch.bits)
        unequal = (scores != batch.scores).any(-1)
        different += int((unequal.any(0) if scores.ndim == 3 else unequal).sum())
        right += int((classes_of(scores, batch.lengths, readout) == batch.labels).sum())
        samples += len(batch)
    return Comparison(samples, different, right)


def classes_of(scores: np.ndarray, lengths: np.ndarray, readout: str) -> np.ndarray:
    """int64[N]: the first class with the highest score; of sequences by `readout`, see `Circuit`."""
    if readout == "last":
        scores = scores[lengths - 1, np.arange(len(lengths))]
    elif readout == "mean":
        frames = np.arange(len(scores))[:, None] < lengths
        # the number of frames is the same for all classes of a sample, so sums order them as means do
        scores = (scores * frames[:, :, None]).sum(0, dtype=np.int64)
    found: np.ndarray = scores.argmax(1)
    return found
