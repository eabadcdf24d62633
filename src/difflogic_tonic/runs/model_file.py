"""Trained models: `models/<job_id>/best.pt` and `last.pt`, loadable with `torch.load(weights_only=True)`."""

import io
import pickle
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from difflogic_tonic.errors import RunError, StorageError
from difflogic_tonic.runs.checkpoint import pack
from difflogic_tonic.storage import atomic_write, storage_errors

FORMAT = 1


@dataclass(frozen=True)
class ModelFile:
    """A model with all that is needed to build it again and to know what it was trained on.

    `model` is the state dict, on the CPU. `config` is the resolved training config as plain data, `fingerprint` the
    one of the frame cache, `frame_shape` (P, H, W), `metrics` the evaluation of exactly these weights. `code` has the
    SHA-256 of the source of each function of one's own, by the config key that names it.
    """

    job_id: str
    config: dict[str, Any]
    classes: list[str]
    frame_shape: tuple[int, int, int]
    fingerprint: str
    epoch: int
    step: int
    model: dict[str, Any]
    metrics: dict[str, Any]
    format: int = FORMAT
    code: dict[str, str] = field(default_factory=dict)


def save_model(path: Path, model: ModelFile) -> None:
    """Write `model` to `path`, whole or not at all. Raises `StorageFull` or `StorageError`."""
    # Not asdict: it would copy every tensor.
    content = {name: getattr(model, name) for name in model.__dataclass_fields__}
    try:
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
    except FileNotFoundError as error:  # its place goes away, or comes back, this moment
        raise StorageError(f"{path.parent} is not there (any more); {path.name} could not be written") from error
    # Packed in memory: torch.save into a file on a full disk hides the OSError behind a RuntimeError of its own.
    packed = pack(content)
    with atomic_write(path, len(packed)) as partial:
        partial.write_bytes(packed)


def load_model(path: Path) -> ModelFile:
    """Read what `save_model` wrote. Raises `RunError` for a file that is absent, damaged or something else."""
    try:
        stored = io.BytesIO(path.read_bytes())
        if not zipfile.is_zipfile(stored):  # on other bytes the unpickler fails in every way there is
            raise pickle.UnpicklingError("it is no archive")
        stored.seek(0)
        content = torch.load(stored, map_location="cpu", weights_only=True)
    except OSError as error:
        raise RunError(
            f"no model {path}: {error.strerror}; expected the job id of a run that finished an epoch{_others(path)}"
        ) from None
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise RunError(f"{path} is not a model of this project or is damaged: {reason}") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT or "model" not in content:
        raise RunError(f"{path} is not a model file of format {FORMAT}; expected best.pt or last.pt of a run")
    return ModelFile(**content)


def _others(path: Path) -> str:
    """`; there are a, b` for jobs that have a model beside the one that was asked for."""
    names = sorted(found.parent.name for found in path.parent.parent.glob(f"*/{path.name}"))
    return f"; there are {', '.join(names[-8:])}" if names else ""
