"""What epochs are compared by, and what is said of them besides."""

import re
from typing import Any


def score_of(measured: dict[str, Any]) -> list[float]:
    """What epochs are compared by, larger is better: recordings, then frames right on validation, then its loss.

    A logic network is judged as what it will be used as: by its hard evaluation.
    """
    suffix = "_hard" if "val_loss_hard" in measured else ""
    names = ("val_recording_accuracy", "val_frame_accuracy")
    return [float(measured.get(name + suffix, 0.0)) for name in names] + [
        -float(measured.get("val_loss" + suffix, 0.0))
    ]


def larger(maxima: dict[str, list[float]], measured: dict[str, Any], epoch: int) -> dict[str, list[float]]:
    """`maxima` (accuracy and epoch of each metric) with the test accuracies of one more epoch; the earlier of equals.

    Chosen by the test data, they promise more than a model will keep: they are reported beside the accuracy of the
    model that validation chose because many publications report them.
    """
    found = dict(maxima)
    for name, value in measured.items():
        if re.fullmatch("test_(frame|recording)_accuracy(_hard)?", name) and value > found.get(name, [-1.0])[0]:
            found[name] = [value, epoch]
    return found


def gaps(measured: dict[str, Any]) -> dict[str, float]:
    """`<split>_gap`: what an accuracy loses when a logic network is discretised, soft minus hard."""
    found = {}
    for split in ("val", "test"):
        for name in (f"{split}_frame_accuracy", f"{split}_recording_accuracy"):
            if f"{name}_hard" in measured:
                found[f"{split}_gap" + name.removeprefix(split).removesuffix("_accuracy")] = (
                    measured[name] - measured[f"{name}_hard"]
                )
    return found
