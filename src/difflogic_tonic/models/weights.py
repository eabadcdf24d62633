"""Weights of one's own, from a file into a network."""

import pickle
import struct
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from difflogic_tonic.errors import CheckpointCorrupt, ConfigError
from difflogic_tonic.nets.logic import LogicConv, LogicLayer

_UNREADABLE = (
    OSError,
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    struct.error,
    pickle.PickleError,
)
"""What unpickling raises on bytes that are no pickle, or not one of weights."""


def check_weights_file(path: Path) -> None:
    """`ConfigError` if there is no file: known before any data is read."""
    if not path.is_file():
        raise ConfigError(f"model.weights: {path} is not a file; expected weights saved by a run, …/best.pt")


def load_weights(model: nn.Module, path: Path) -> None:
    """Load a state dict from `path`, by itself or under the key `model` of a checkpoint, into `model`.

    Every tensor must fit: raises `ConfigError` naming the keys that are missing, unknown or of another shape,
    or that there is no file, and `CheckpointCorrupt` for one that cannot be read. No code in the file is run.
    """
    check_weights_file(path)
    try:
        with warnings.catch_warnings(
            action="ignore"
        ):  # about pickle protocols: the reader is a user, and an error follows
            content = torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointCorrupt(
            f"model.weights: {path} is not a file of weights as saved by torch.save(model.state_dict(), …): {reason}"
        ) from None
    state = content.get("model", content) if isinstance(content, dict) else content
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointCorrupt(
            f"model.weights: {path} holds no state dict, neither by itself nor under the key 'model'"
        )
    _check_fits(model, state, path)
    model.load_state_dict(state)
    for module in model.modules():
        if isinstance(module, LogicLayer | LogicConv):
            try:
                module.check_inputs()  # the shape of a wiring does not tell how many inputs it is for
            except ConfigError as error:
                raise ConfigError(f"model.weights: {path} does not fit the configured model: {error}") from None


def _check_fits(model: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    own = model.state_dict()
    problems = {
        "missing": [key for key in own if key not in state],
        "unknown": [key for key in state if key not in own],
        "another shape": [
            f"{key} {_shape(state[key])}, expected {_shape(own[key])}"
            for key in own
            if key in state and state[key].shape != own[key].shape
        ],
    }
    found = "; ".join(f"{what}: {_some(keys)}" for what, keys in problems.items() if keys)
    if found:
        raise ConfigError(f"model.weights: {path} does not fit the configured model: {found}")


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "scalar"


def _some(keys: list[str], most: int = 5) -> str:
    return ", ".join(keys[:most]) + (f" and {len(keys) - most} more" if len(keys) > most else "")
