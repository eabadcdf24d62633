"""From what the command line asked for to a run: find and open everything, resume, train."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from difflogic_tonic.cache.returning import Returning
from difflogic_tonic.config import RankPlace, StoragePaths, TrainConfig, slurm_end_time
from difflogic_tonic.errors import CheckpointMissing, ConfigError, StorageError
from difflogic_tonic.models import check_weights_file
from difflogic_tonic.nets.shared_norm import share_batch_norm
from difflogic_tonic.runs.checkpoint import Checkpoints, Found
from difflogic_tonic.runs.environment import describe_environment, say_what_changed
from difflogic_tonic.runs.folder import (
    RunFolder,
    Start,
    check_absent,
    job_folders,
    open_run,
    remove_leftovers,
    write_start,
)
from difflogic_tonic.runs.lease import lease
from difflogic_tonic.runs.log import log_to_console
from difflogic_tonic.runs.metrics import last_step
from difflogic_tonic.runs.signals import StopRequest
from difflogic_tonic.runs.status import begin_status, read_status, run_log, write_status
from difflogic_tonic.runs.wandb_sink import check_installed
from difflogic_tonic.storage import SAME_COMMAND, Storage, open_storage
from difflogic_tonic.train.foreign import go_on_from
from difflogic_tonic.train.heartbeat import Report
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
from difflogic_tonic.train.ranks import Ranks, only_first
from difflogic_tonic.train.rendezvous import Stopped, together
from difflogic_tonic.train.resume import check_config, check_data, code_digests
from difflogic_tonic.train.run import Run
from difflogic_tonic.train.standing import Standing
from difflogic_tonic.train.state import Identity, TrainingState, seed_everything

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """What the command line asked for."""

    config: TrainConfig
    start: Start
    argv: Sequence[str]
    places: StoragePaths
    ranks: RankPlace | None = None
    """Which of several processes this is; None for one that trains alone."""


def train(request: Request, stop: StopRequest) -> int:
    """Train as asked. 0 when finished, `stop.exit_code` when stopped and saved; raises `UserError` otherwise.

    Until the first step a stop is immediate (`StopNow`): there is nothing to save then. Of several processes, rank 0
    reads and writes the run; the others compute.
    """
    log_to_console()
    job_id = request.config.base.job_id
    if job_id is None:
        raise ConfigError(f"{request.config.source}: no job id; give one after the config, or set base.job_id")
    check_installed(request.config.logging.wandb)
    with stop.interruptible():
        storage = open_storage(request.places)
    device = choose_device(request.config.train.device, request.ranks) if request.ranks else torch.device("cpu")
    try:
        with together(request.ranks, request.config, device, stop) as ranks, memory_errors(request.config.train):
            if ranks is not None and not ranks.leads:
                return _follow(request, storage, job_id, stop, ranks)
            with lease(storage, job_id, stop.lose_job):
                return _lead(request, storage, job_id, stop, ranks)
    except Stopped as stopped:
        log.info("%s", stopped)
        return stopped.code


def _lead(request: Request, storage: Storage, job_id: str, stop: StopRequest, ranks: Ranks | None) -> int:
    """Train as the process that owns the run."""
    checkpoints = Checkpoints(storage, job_id)
    with stop.interruptible():
        check_start(storage, checkpoints, job_id, request.start)
        found = only_first(ranks, lambda: newest_checkpoint(request, checkpoints))
        ready = prepare(request, storage, found, ranks)
        if found is not None:
            check_data(found[0], ready.state.identity)
    with restart_advice(checkpoints):
        folder = open_run(storage, job_id, request.start, has_checkpoint=found is not None)
    # Once more inside, so that status.json gets the translated error.
    with run_log(folder), memory_errors(request.config.train), restart_advice(checkpoints):
        if ranks is not None:
            ranks.on_end(lambda report: status_of_end(folder, report))
        environment = describe_environment(str(ready.device)) | {"amp": ready.state.precision.amp}
        if found is not None:
            say_what_changed(folder.environment, environment)
        lost = begin_status(folder, None if found is None else found[1].position.step, last_step(folder.metrics))
        write_start(folder, request.config, request.argv, environment | ({"ranks": ranks.world} if ranks else {}))
        if ready.refused is not None:
            log.warning("%s", ready.refused)
        begin(request, ready, found, ranks)
        if found is not None:
            at = ready.state.progress
            log.info("resumed from %s (epoch %d, step %d)", found[1].path, at.epoch + 1, at.step)
            if lost:
                log.info("%d steps since then were lost and are trained again", lost)
        elif ready.gone_on is not None:
            log.info("%s", ready.gone_on)
        remove_leftovers(storage, job_id)
        run = Run(
            *(request.config, storage, folder, ready.state, ready.inputs, checkpoints, ready.device, ranks),
            standing=Standing(slurm_end_time(), saves=read_status(folder).get("saves", 0)),
        )
        return run.train(stop if ranks is None else ranks.stop)


def _follow(request: Request, storage: Storage, job_id: str, stop: StopRequest, ranks: Ranks) -> int:
    """Train as a process that computes only. Every call to others here has its like in `_lead`, in the same order."""
    with stop.interruptible():
        found = only_first(ranks, lambda: newest_checkpoint(request, Checkpoints(storage, job_id)))
        ready = prepare(request, storage, found, ranks)
    begin(request, ready, found, ranks)
    folder = RunFolder(storage.project.run_dir(job_id))
    run = Run(
        *(request.config, storage, folder, ready.state, ready.inputs, Checkpoints(storage, job_id), ready.device, ranks)
    )
    return run.follow(ranks.stop)


Snapshot = tuple[dict[str, Any], Found]


@dataclass(frozen=True)
class Ready:
    """What a run begins with. `refused`: why it computes in fp32; `gone_on`: what came from another program."""

    state: TrainingState
    inputs: Inputs
    device: torch.device
    refused: str | None
    gone_on: str | None


def newest_checkpoint(request: Request, checkpoints: Checkpoints) -> Snapshot | None:
    """The one to go on from; None where the request is not to resume. Raises `ResumeMismatch`."""
    found = checkpoints.load_newest() if request.start in ("resume", "auto") else None
    if found is not None:
        check_config(found[0], request.config.to_dict())
    return found


def prepare(request: Request, storage: Storage, found: Snapshot | None, ranks: Ranks | None) -> Ready:
    """Everything that a run needs, before there is a run."""
    config = request.config
    device = choose_device(config.train.device, request.ranks)
    make_deterministic(device)
    amp_before = None if found is None else found[0].get("amp")
    state, inputs = build_state(config, storage, device, found is None, amp_before, ranks)
    refused = probe_fp16(state, inputs, config, ranks)
    gone_on = None
    if found is None and (path := config.train.continue_from) is not None:  # before there is a run that it would end
        gone_on = go_on_from(path, state, config, steps_per_epoch(inputs, config))
    if ranks is not None:
        identity = state.identity
        facts: dict[str, object] = {
            "base.job_id": config.base.job_id,
            "config": config.to_dict(),
            "prepared data": identity.fingerprint,
        }
        ranks.check_same(facts | {"code": identity.code, "train.amp": state.precision.amp, "torch": torch.__version__})
    return Ready(state, inputs, device, refused, gone_on)


def begin(request: Request, ready: Ready, found: Snapshot | None, ranks: Ranks | None) -> None:
    """Bring the state to where it begins, or goes on."""
    seed_everything(request.config.base.seed)
    if found is not None:
        ready.state.restore(found[0])
    if ranks is not None:
        ranks.same_weights(ready.state.model)


def status_of_end(folder: RunFolder, report: Report) -> None:
    """What a process leaves that must be ended where it waits."""
    write_status(folder, state="failed", exit_code=report.code, reason=report.text)


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
    ranks: Ranks | None = None,
) -> tuple[TrainingState, Inputs]:
    """A fresh state, and what it will train on.

    `with_weights`: from `model.weights`, which a resume does not need; `amp_before`: what a resumed run computed in.
    With `ranks`, the inputs are this process's parts.
    """
    precision = Precision(choose_amp(config.train.amp, config.model.model_type, device, amp_before), device)
    code = code_digests(config)
    if with_weights and config.model.weights is not None:
        check_weights_file(config.model.weights)
    if with_weights and config.train.continue_from is not None:
        check_weights_file(config.train.continue_from, "train.continue_from")
    with nullcontext() if ranks is None else ranks.first_on_each_machine():
        variant = find_or_prepare(config, storage)
    share = None if ranks is None else (ranks.rank, ranks.world)
    returning = Returning(storage, config.data.name, variant)
    inputs = open_inputs(config, variant.path, variant.place_name, device, share, returning)
    if config.train.early_stopping is not None and "val" not in inputs.evaluated:
        raise ConfigError(
            f"train.early_stopping needs a validation split, and {variant.path} has none; "
            f"prepare one with data.val_fraction > 0, or leave train.early_stopping out"
        )
    model = build_model(config, inputs, device, with_weights)
    if ranks is not None:
        share_batch_norm(model)
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


def probe_fp16(state: TrainingState, inputs: Inputs, config: TrainConfig, ranks: Ranks | None = None) -> str | None:
    """Compute in fp32 from here on where fp16 does not work, on this device or one of others: the reason, else None."""
    if state.precision.scaler is None:
        return None
    device = next(state.model.parameters()).device
    with closing(inputs.train.iterate(0)) as batches:
        first = next(batches).to(device)
    refused = refuse_fp16(state.model, first, state.precision, training_loss(config))
    if ranks is not None:
        refused = next(filter(None, ranks.collect(refused)), None)
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
