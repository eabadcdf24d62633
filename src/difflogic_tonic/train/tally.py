"""Exact counts and sums of an evaluation, per frame and per recording."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from difflogic_tonic.train.losses import LossSum

TOP = 5


@dataclass
class Tally:
    """What an evaluation has seen so far; it can stop after any batch and go on from a checkpoint.

    `probabilities` f64[R, classes] sums the class probabilities over the frames of each recording and `labels` i64[R]
    is -1 for one not seen: a recording's answer is the class with the largest mean probability. All sums are taken on
    the CPU in the order of the samples, so they come out the same however often the evaluation was interrupted.
    """

    n_batches: int
    n_samples: int
    n_correct: int
    n_top: int
    loss_sum: float
    probabilities: Tensor
    labels: Tensor

    @classmethod
    def empty(cls, n_recordings: int, classes: int) -> "Tally":
        probabilities = torch.zeros(n_recordings, classes, dtype=torch.float64)
        return cls(0, 0, 0, 0, 0.0, probabilities, torch.full((n_recordings,), -1, dtype=torch.int64))

    def add(self, logits: Tensor, labels: Tensor, rows: Tensor, loss: LossSum) -> None:
        """Count one batch: logits [B, classes], labels i64[B], rows i64[B] (recordings in their split).

        `loss` is of the kind that training makes small, in float64 here.
        """
        logits, labels, rows = logits.double().cpu(), labels.cpu(), rows.cpu()
        self.n_batches += 1
        self.n_samples += len(labels)
        self.n_correct += int((logits.argmax(1) == labels).sum())
        top = logits.topk(min(TOP, logits.shape[1]), dim=1).indices
        self.n_top += int((top == labels.unsqueeze(1)).any(1).sum())
        self.loss_sum += float(loss(logits, labels))
        self.probabilities.index_add_(0, rows, logits.softmax(1))
        self.labels[rows] = labels

    def metrics(self, split: str, view: str, hard: bool) -> dict[str, Any]:
        """Fractions and exact counts under names like `test_recording_accuracy`, with `_hard` at the end if `hard`.

        Frame metrics exist only where a sample is a frame, top-5 only where there are more than five classes.
        """
        seen = self.labels >= 0
        n_recordings = int(seen.sum())
        right = int((self.probabilities.argmax(1) == self.labels)[seen].sum())
        found: dict[str, Any] = {
            "loss": self.loss_sum / self.n_samples,
            "recording_accuracy": right / n_recordings,
            "recordings_correct": right,
            "recordings": n_recordings,
        }
        if view == "frames":
            found |= {
                "frame_accuracy": self.n_correct / self.n_samples,
                "frames_correct": self.n_correct,
                "frames": self.n_samples,
            }
        if self.probabilities.shape[1] > TOP:
            found["top5_accuracy"] = self.n_top / self.n_samples
        suffix = "_hard" if hard else ""
        return {f"{split}_{name}{suffix}": value for name, value in found.items()}
