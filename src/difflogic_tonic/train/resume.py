"""What may change between two starts of a run, and what may not."""

import logging
from collections.abc import Iterator
from typing import Any

from difflogic_tonic.config import TrainConfig
from difflogic_tonic.config.own_code import is_own_code, source_digest
from difflogic_tonic.errors import ResumeMismatch
from difflogic_tonic.models import default_view
from difflogic_tonic.runs.checkpoint import FORMAT
from difflogic_tonic.train.state import Identity

FIXED = (
    "base.seed",
    "data.name",
    "data.subset",
    "data.view",
    "data.max_frames",
    "data.batching",
    "train.optimizer",
    "train.accumulate",
    "train.loss",
    "train.dataloader.batch_size",
)
"""Keys that decide which samples come when, what the optimizer keeps, or what epochs are compared by. `data.slice` and
the section of the model are fixed as well."""

FREE_IN_MODEL = ("model.difflogic.backend", "model.difflogic.storage", "model.snn.backend")
"""How a model is computed, not what."""

IGNORED = ("base.job_id", "model.weights", "train.continue_from")
"""The initial weights are in the checkpoint's history already."""

log = logging.getLogger(__name__)


def check_config(snapshot: dict[str, Any], config: dict[str, Any]) -> None:
    """Raise `ResumeMismatch` with both values unless `snapshot` can go on with `config`; log what else has changed.

    It needs no data, so that a config of another dataset is told from data that are not prepared.
    """
    if snapshot.get("format") != FORMAT:
        raise ResumeMismatch(
            f"the checkpoint has format {snapshot.get('format')}, this version reads {FORMAT}; "
            f"continue it with the version that wrote it, or start anew with --fresh"
        )
    found = changes(_resolved(snapshot["config"]), _resolved(config))
    # The type first: the sections of both models differ as well.
    for key, before, after in sorted(found, key=lambda change: change[0] != "model.model_type"):
        if _is_fixed(key, config["model"]["model_type"]):
            raise _mismatch(key, before, after)
        if key.partition(".")[0] != "model" and key not in IGNORED:
            log.info("changed since the last start: %s %s, now %s", key, before, after)


def check_data(snapshot: dict[str, Any], now: Identity) -> None:
    """Raise `ResumeMismatch` with both values unless `snapshot` was trained on the data of `now`."""
    for what, before, after in (
        ("dataset fingerprint", snapshot["fingerprint"], now.fingerprint),
        ("classes", snapshot["classes"], now.classes),
        ("frame shape", snapshot["frame_shape"], now.frame_shape),
    ):
        if before != after:
            raise _mismatch(what, before, after)
    for key, digest in now.code.items():
        before = snapshot.get("code", {}).get(key, "none")
        if before != digest:
            raise ResumeMismatch(
                f"cannot resume: the source of {key} has changed since the run began (SHA-256 {before[:12]}, now "
                f"{digest[:12]}); put it back, or start anew with --fresh (the old run is kept under another name)"
            )
    if snapshot["threads"] != now.threads:
        log.warning(
            "the run used %s threads, now %s: sums may round differently in the last bit",
            snapshot["threads"],
            now.threads,
        )


def code_digests(config: TrainConfig) -> dict[str, str]:
    """Config key → SHA-256 of the source of the function that it names. `ConfigError` for one that is not there."""
    named = {"train.optimizer": config.train.optimizer, "model.model_type": config.model.model_type}
    if config.data.slice is not None and config.data.slice.custom_slicing is not None:
        named["data.slice.custom_slicing"] = config.data.slice.custom_slicing
    if config.model.model_type == "SNN":
        named["model.snn.architecture"] = config.model.snn.architecture
    return {key: source_digest(key, name) for key, name in named.items() if is_own_code(name)}


def changed_code(before: dict[str, str], config: TrainConfig) -> Iterator[str]:
    """A line for each function of one's own of which `before` has another digest than its source has now."""
    for key, digest in code_digests(config).items():
        if before.get(key, digest) != digest:
            yield (
                f"the source of {key} has changed since this model was trained (SHA-256 {before[key][:12]}, now "
                f"{digest[:12]}): what follows is computed with the new one"
            )


def changes(before: Any, after: Any, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Dotted keys whose values differ, with both values; None for a key that one side lacks."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            yield from changes(before.get(key), after.get(key), f"{prefix}.{key}" if prefix else key)
    elif before != after:
        yield prefix, before, after


def _resolved(config: dict[str, Any]) -> dict[str, Any]:
    """`config` with the loss and the view that `auto` means."""
    train = config["train"]
    if train.get("loss", "auto") == "auto":
        config = config | {"train": train | {"loss": "cross_entropy"}}
    if config["data"]["view"] != "auto":
        return config
    model = config["model"]
    view = default_view(model["model_type"], model.get("difflogic", {}).get("architecture", "dense"))
    return config | {"data": config["data"] | {"view": view}}


def _is_fixed(key: str, model_type: str) -> bool:
    if key in FREE_IN_MODEL:
        return False
    if key in FIXED or key.startswith("data.slice"):
        return True
    return key == "model.model_type" or key.startswith(f"model.{model_type.lower()}.")


def _mismatch(what: str, before: object, after: object) -> ResumeMismatch:
    return ResumeMismatch(
        f"cannot resume: {what} was {before} in the checkpoint and is {after} now; "
        f"put it back, or start anew with --fresh (the old run is kept under another name)"
    )
