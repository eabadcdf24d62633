"""Weights of one's own, from a file into a network.

Known are a state dict by itself, the checkpoints and models of this program, and checkpoints of SpikingJelly's examples
{net, optimizer, lr_scheduler, epoch, max_test_acc} and of its trainer {model, optimizer, epoch, args, …}. What is
converted on the way, also in weights of torchvision's ResNets, is in `nets.spiking.interchange`.
"""

import logging
import pickle
import struct
import warnings
from argparse import Namespace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from difflogic_tonic.errors import CheckpointCorrupt, ConfigError
from difflogic_tonic.nets.logic import LogicConv, LogicLayer
from difflogic_tonic.nets.spiking.interchange import from_peer
from difflogic_tonic.nets.spiking.model import SpikingModel

log = logging.getLogger(__name__)

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

STATES = ("model", "net")
"""Keys under which a checkpoint holds the state dict: ours, and that of SpikingJelly's examples."""

EXPECTED = {
    "model.weights": "weights saved by a run, …/best.pt",
    "train.continue_from": "a checkpoint of SpikingJelly's examples, …/checkpoint_latest.pth",
}
"""What the file is that a config key names."""

NETWORK = "network."
"""What the keys of a bare spiking network have in front of them in a model."""


def check_weights_file(path: Path, key: str = "model.weights") -> None:
    """`ConfigError` if there is no file: known before any data is read."""
    if not path.is_file():
        raise ConfigError(f"{key}: {path} is not a file; expected {EXPECTED[key]}")


def load_weights(model: nn.Module, path: Path) -> None:
    """Load a state dict from `path`, by itself or in a checkpoint, into `model`.

    Every tensor must fit: raises `ConfigError` naming the keys that are missing, unknown or of another shape,
    or that there is no file, and `CheckpointCorrupt` for one that cannot be read. No code in the file is run.
    """
    put_weights(model, read_checkpoint(path, "model.weights"), path, "model.weights")


def read_checkpoint(path: Path, key: str) -> Any:
    """What is saved in `path`, with its tensors on the CPU; `key` is the config key that named it, for errors.

    Nothing in the file is run: it may hold tensors, plain values, containers, and the parsed command line that
    SpikingJelly's trainer puts there. `ConfigError` if there is no file, `CheckpointCorrupt` for anything else.
    """
    check_weights_file(path, key)
    torch.serialization.add_safe_globals([Namespace])  # plain attributes; nothing of it is run
    try:
        with warnings.catch_warnings(
            action="ignore"
        ):  # about pickle protocols: the reader is a user, and an error follows
            return torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        # the first sentence: what torch advises after it would run what is in the file
        reason = str(error).splitlines()[0].partition(". ")[0] if str(error) else type(error).__name__
        raise CheckpointCorrupt(
            f"{key}: {path} is not a file of weights as saved by torch.save(model.state_dict(), …): {reason}"
        ) from None


def put_weights(model: nn.Module, content: Any, path: Path, key: str) -> None:
    """Load the state dict in `content`, which was read from `path`, into `model`. Raises as `load_weights` does."""
    found = (content[name] for name in STATES if name in content) if isinstance(content, dict) else ()
    state = next(iter(found), content)
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointCorrupt(
            f"{key}: {path} holds no state dict, neither by itself nor under the key {' or '.join(map(repr, STATES))}"
        )
    if not model.state_dict().keys() & state.keys():  # of a network that was saved without what is around it here
        state = _of_bare_network(model, state, path, key)
    _check_fits(model, state, path, key)
    model.load_state_dict(state)
    for module in model.modules():
        if isinstance(module, LogicLayer | LogicConv):
            try:
                module.check_inputs()  # the shape of a wiring does not tell how many inputs it is for
            except ConfigError as error:
                raise ConfigError(f"{key}: {path} does not fit the configured model: {error}") from None


def _of_bare_network(model: nn.Module, state: dict[str, Tensor], path: Path, key: str) -> dict[str, Tensor]:
    """`state` of a network, maybe of another library, with the keys that it has in `model`."""
    if isinstance(model, SpikingModel):
        try:
            state, notes = from_peer(model.network, state)
        except ConfigError as error:
            raise ConfigError(f"{key}: {path} does not fit the configured model: {error}") from None
        for note in notes:
            log.info("%s: %s: %s", key, path, note)
    own = model.state_dict().keys()
    return {NETWORK + name if NETWORK + name in own else name: value for name, value in state.items()}


def _check_fits(model: nn.Module, state: dict[str, Tensor], path: Path, key: str) -> None:
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
        raise ConfigError(f"{key}: {path} does not fit the configured model: {found}")


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "scalar"


def _some(keys: list[str], most: int = 5) -> str:
    return ", ".join(keys[:most]) + (f" and {len(keys) - most} more" if len(keys) > most else "")
