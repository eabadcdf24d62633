"""From what the command line asked for to a run: find and open everything, resume, train."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass

import torch

from difflogic_tonic.config import StoragePaths, TrainConfig
from difflogic_tonic.errors import CheckpointMissing, ConfigError, StorageError
from difflogic_tonic.models import check_weights_file
from difflogic_tonic.runs.checkpoint import Checkpoints
from difflogic_tonic.runs.environment import describe_environment
from difflogic_tonic.runs.folder import (
    Start,
    check_absent,
    job_folders,
    lease,
    open_run,
    remove_leftovers,
    write_start,
)
from difflogic_tonic.runs.log import log_to_console
from difflogic_tonic.runs.signals import StopRequest
from difflogic_tonic.runs.status import run_log
from difflogic_tonic.storage import SAME_COMMAND, Storage, open_storage
from difflogic_tonic.train.foreign import go_on_from
from difflogic_tonic.train.inputs import (
    Inputs,
    build_model,
    choose_device,
    find_or_prepare,
    open_inputs,
)
from difflogic_tonic.train.losses import training_loss
from difflogic_tonic.train.optimizer import build_optimizer
from difflogic_tonic.train.precision import Amp, Precision, choose_amp
from difflogic_tonic.train.preflight import memory_errors
from difflogic_tonic.train.probe import refuse_fp16
from difflogic_tonic.train.resume import check_config, check_data, code_digests
from difflogic_tonic.train.run import Run
from difflogic_tonic.train.state import Identity, TrainingState, seed_everything

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """What the command line asked for."""

    config: TrainConfig
    start: Start
    argv: Sequence[str]
    places: StoragePaths


def train(request: Request, stop: StopRequest) -> int:
    """Train as asked. 0 when finished, `stop.exit_code` when stopped and saved; raises `UserError` otherwise.

    Until the first step a stop is immediate (`StopNow`): there is nothing to save then.
    """
    log_to_console()
    job_id = request.config.base.job_id
    if job_id is None:
        raise ConfigError(f"{request.config.source}: no job id; give one after the config, or set base.job_id")
    with stop.interruptible():
        storage = open_storage(request.places)
    with lease(storage, job_id), memory_errors(request.config.train):
        with stop.interruptible():
            checkpoints = Checkpoints(storage, job_id)
            check_start(storage, checkpoints, job_id, request.start)
            device = choose_device(request.config.train.device)
            make_deterministic(device)
            found = checkpoints.load_newest() if request.start in ("resume", "auto") else None
            if found is not None:
                check_config(found[0], request.config.to_dict())
            amp_before = None if found is None else found[0].get("amp")
            state, inputs = build_state(request.config, storage, device, found is None, amp_before)
            refused = probe_fp16(state, inputs, request.config)
            gone_on = None
            if found is not None:
                check_data(found[0], state.identity)
            elif (path := request.config.train.continue_from) is not None:  # before there is a run that it would end
                gone_on = go_on_from(path, state, request.config, steps_per_epoch(inputs, request.config))
        with restart_advice(checkpoints):
            folder = open_run(storage, job_id, request.start, has_checkpoint=found is not None)
        # Once more inside, so that status.json gets the translated error.
        with run_log(folder), memory_errors(request.config.train), restart_advice(checkpoints):
            environment = describe_environment(str(device)) | {"amp": state.precision.amp}
            write_start(folder, request.config, request.argv, environment)
            if refused is not None:
                log.warning("%s", refused)
            seed_everything(request.config.base.seed)
            if found is not None:
                state.restore(found[0])
                at = state.progress
                log.info("resumed from %s (epoch %d, step %d)", found[1].path, at.epoch + 1, at.step)
            elif gone_on is not None:
                log.info("%s", gone_on)
            remove_leftovers(storage, job_id)
            return Run(request.config, storage, folder, state, inputs, checkpoints, device).train(stop)


@contextmanager
def restart_advice(checkpoints: Checkpoints) -> Iterator[None]:
    """Inside, the run folder exists, so a `StorageError` must say how to start again: `--resume` or `--fresh`."""
    try:
        yield
    except StorageError as error:
        safe = checkpoints.verified
        how = (
            "with --fresh (there is no checkpoint yet)"
            if safe is None
            else f"with --resume (the checkpoint of step {safe.step} is safe)"
        )
        raise type(error)(f"{str(error).removesuffix(SAME_COMMAND)}; once that is mended, start again {how}") from error


def check_start(storage: Storage, checkpoints: Checkpoints, job_id: str, start: Start) -> None:
    """Refuse at once, before anything is read: `RunExists` for a new job, `CheckpointMissing` for nothing to resume."""
    if start == "new":
        check_absent(storage, job_id)
    if start == "resume" and not checkpoints.exist:
        looked = ", ".join(str(checkpoints.folder(place)) for place in storage.places)
        instead = "start anew with --fresh" if job_folders(storage, job_id) else "start it without --resume"
        raise CheckpointMissing(
            f"job {job_id} has no checkpoint in {looked}; "
            f"{instead}, or use --resume=auto, which resumes if there is one"
        )


def build_state(
    config: TrainConfig,
    storage: Storage,
    device: torch.device,
    with_weights: bool = True,
    amp_before: Amp | None = None,
) -> tuple[TrainingState, Inputs]:
    """A fresh state, and what it will train on.

    `with_weights`: from `model.weights`, which a resume does not need; `amp_before`: what a resumed run computed in.
    """
    precision = Precision(choose_amp(config.train.amp, config.model.model_type, device, amp_before), device)
    code = code_digests(config)
    if with_weights and config.model.weights is not None:
        check_weights_file(config.model.weights)
    if with_weights and config.train.continue_from is not None:
        check_weights_file(config.train.continue_from, "train.continue_from")
    variant = find_or_prepare(config, storage)
    inputs = open_inputs(config, variant.path, variant.place_name, device)
    if config.train.early_stopping is not None and "val" not in inputs.evaluated:
        raise ConfigError(
            f"train.early_stopping needs a validation split, and {variant.path} has none; "
            f"prepare one with data.val_fraction > 0, or leave train.early_stopping out"
        )
    model = build_model(config, inputs, device, with_weights)
    identity = Identity(
        config.to_dict(),
        inputs.manifest.fingerprint,
        list(inputs.manifest.classes),
        inputs.manifest.frame_shape,
        torch.get_num_threads(),
        code,
    )
    return TrainingState(model, build_optimizer(config.training, model), precision, identity), inputs


def steps_per_epoch(inputs: Inputs, config: TrainConfig) -> int:
    """Optimizer steps of an epoch, as `fit.Plan` has them."""
    return -(-len(inputs.train) // config.train.accumulate)


def probe_fp16(state: TrainingState, inputs: Inputs, config: TrainConfig) -> str | None:
    """Compute in fp32 from here on where fp16 does not work on this device: the reason, else None."""
    if state.precision.scaler is None:
        return None
    device = next(state.model.parameters()).device
    with closing(inputs.train.iterate(0)) as batches:
        first = next(batches).to(device)
    refused = refuse_fp16(state.model, first, state.precision, training_loss(config))
    if refused is not None:
        state.precision = Precision("off", device)
    return refused


def make_deterministic(device: torch.device) -> None:
    """On a CPU the same run gives the same bits. On a GPU some kernels have no deterministic version: not promised."""
    if device.type == "cpu":
        # What use_deterministic_algorithms(True) sets, without its import of the compiler, which takes seconds.
        torch.set_deterministic_debug_mode("error")
        # Filling what will be overwritten costs time and hides nothing here.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
