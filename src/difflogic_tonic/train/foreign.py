"""Going on from a checkpoint of SpikingJelly's examples: {net, optimizer, lr_scheduler, epoch, max_test_acc}.

Taken over are the weights, what the optimizer remembers of each of them, and the epoch, which places the run on its
learning rate schedule: rates here are a function of the position, so the scheduler's state is not needed. The order of
the samples and the random numbers are our own from there on.
"""

from pathlib import Path
from typing import Any

from torch import Tensor

from difflogic_tonic.config import TrainConfig
from difflogic_tonic.errors import ConfigError
from difflogic_tonic.models.weights import NETWORK, put_weights, read_checkpoint
from difflogic_tonic.train.state import TrainingState

KEY = "train.continue_from"

MOMENTS = {"sgd": {"momentum_buffer"}, "adam": {"step", "exp_avg", "exp_avg_sq"}}
"""What an optimizer remembers of a weight; AdamW as Adam."""


def go_on_from(path: Path, state: TrainingState, config: TrainConfig, steps_per_epoch: int) -> str:
    """Put a new `state` where the checkpoint in `path` was saved, at the end of its epoch. Returns a line to log.

    Raises `ConfigError` for a checkpoint of another network or optimizer, one that is already at the end, or no
    checkpoint at all, and `CheckpointCorrupt` for a file that cannot be read. Nothing in the file is run.
    """
    content = read_checkpoint(path, KEY)
    missing = [name for name in ("net", "optimizer", "epoch") if not isinstance(content, dict) or name not in content]
    if missing:
        raise ConfigError(
            f"{KEY}: {path} has no {' or '.join(missing)}; expected a checkpoint of SpikingJelly's examples with net, "
            "optimizer and epoch; to start from weights alone use model.weights, to go on with a run --resume"
        )
    done = int(content["epoch"]) + 1
    if done >= config.train.epochs:
        raise ConfigError(
            f"{KEY}: {path} is at the end of epoch {done}, and train.epochs is {config.train.epochs}; "
            "use more epochs, or model.weights to start from its weights"
        )
    put_weights(state.model, content["net"], path, KEY)
    _put_moments(state, content, config.train.optimizer, path)
    state.progress.epoch = done
    state.progress.step = done * steps_per_epoch
    best = content.get("max_test_acc")
    shown = f"; its best test epoch had {100 * best:.2f}%" if isinstance(best, float) and 0 <= best <= 1 else ""
    return f"going on from {path} after epoch {done} of {config.train.epochs}{shown}"


def _put_moments(state: TrainingState, content: dict[str, Any], name: str, path: Path) -> None:
    """What the optimizer remembers, brought from the order of the weights there to that of ours."""
    theirs = content["optimizer"]
    own = {key: place for place, (key, _) in enumerate(state.model.named_parameters())}
    saved = [own[key] for key in (_own_key(key, own) for key in content["net"]) if key in own]
    n = sum(len(group["params"]) for group in theirs["param_groups"])
    if not n == len(saved) == len(own):
        raise ConfigError(f"{KEY}: the optimizer in {path} has {n} weights, the configured model {len(own)}")
    moments = {saved[place]: values for place, values in theirs["state"].items()}
    found = {key for values in moments.values() for key in values}
    expected = MOMENTS.get("adam" if name == "adamw" else name)
    if found and expected is not None and not found & expected:
        raise ConfigError(
            f"{KEY}: the optimizer in {path} remembers {', '.join(sorted(found))}, train.optimizer: {name} "
            f"{', '.join(sorted(expected))}; use the one that it was trained with"
        )
    weights = list(state.model.parameters())
    for place, values in moments.items():
        for key, value in values.items():
            if isinstance(value, Tensor) and value.dim() and value.shape != weights[place].shape:
                raise ConfigError(f"{KEY}: {key} of weight {place} in {path} has another shape than the weight")
    groups = state.optimizer.state_dict()["param_groups"]
    state.optimizer.load_state_dict({"state": moments, "param_groups": groups})


def _own_key(key: str, own: dict[str, int]) -> str:
    return key if key in own else NETWORK + key
