"""A finished run evaluated again, from its saved model."""

import logging
from typing import Any

import torch
from torch import nn

from difflogic_tonic import cache, models
from difflogic_tonic.config import StoragePaths, TrainConfig
from difflogic_tonic.config.sections import build_section
from difflogic_tonic.errors import CacheMissing, DatasetMismatch, OutOfMemory
from difflogic_tonic.models.discretise import netlist_report
from difflogic_tonic.nets.logic import has_hard_mode
from difflogic_tonic.runs.log import log_to_console
from difflogic_tonic.runs.model_file import ModelFile, load_model
from difflogic_tonic.storage import Storage, open_storage
from difflogic_tonic.train import lines
from difflogic_tonic.train.fit import evaluate
from difflogic_tonic.train.inputs import (
    Inputs,
    choose_device,
    evaluation_phases,
    find_or_prepare,
    open_inputs,
    sample_shape,
)
from difflogic_tonic.train.losses import evaluation_loss
from difflogic_tonic.train.preflight import is_out_of_memory
from difflogic_tonic.train.tally import Tally
from difflogic_tonic.train.temperature import set_temperature_after

log = logging.getLogger(__name__)


def evaluate_run(job_id: str, which: str, device_name: str, places: StoragePaths) -> int:
    """Print the accuracies of `models/<job_id>/<which>.pt` on validation and test data. Raises `UserError`."""
    log_to_console()
    storage = open_storage(places)
    device = choose_device(device_name)
    path = storage.project.models_dir(job_id) / f"{which}.pt"
    saved = load_model(path)
    config = build_section(TrainConfig, saved.config, f"the config in {path}")
    variant = find_variant_of(saved, config, storage)
    inputs = open_inputs(config, variant.path, variant.place_name, device)
    model = models.build(config.network, sample_shape(config, inputs.manifest), len(saved.classes), config.base.seed)
    model.load_state_dict(saved.model)
    set_temperature_after(model, config, saved.step, len(inputs.train))
    try:
        measured = measure(model.to(device), inputs, config, device)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemory(
            f"out of memory on {device}; wait until more of it is free, or try another --device"
        ) from error
    log.info("%s: epoch %d, step %d", path, saved.epoch, saved.step)
    for line in lines.final_lines(measured, inputs.subset):
        log.info("%s", line)
    if has_hard_mode(model):
        log.info("%s", lines.gate_line(netlist_report(model)))
    return 0


def measure(model: nn.Module, inputs: Inputs, config: TrainConfig, device: torch.device) -> dict[str, Any]:
    """All metrics of `model` on every evaluated split, soft and (logic networks) hard, as in an epoch of training."""
    measured: dict[str, Any] = {}
    loss = evaluation_loss(config)
    for phase in evaluation_phases(model, inputs):
        tally = Tally.empty(phase.n_recordings, len(inputs.manifest.classes))
        batches = inputs.evaluated[phase.split]
        with lines.bar(phase.name, len(batches)) as bar:
            for _ in evaluate(model, batches, tally, phase.hard, device, loss):
                bar.advance(1)
        measured |= tally.metrics(phase.split, config.view, phase.hard)
    return measured


def find_variant_of(saved: ModelFile, config: TrainConfig, storage: Storage) -> cache.Variant:
    """The variant that the model was trained on; the embedded dataset is prepared again if it is gone."""
    command = f"./prepare_data.sh {config.data.prepare or 'CONFIG'}"
    try:
        return cache.find_variant(
            storage, config.data.name, parameters_hash=None, prefix=saved.fingerprint, prepare_command=command
        )
    except CacheMissing:
        if not config.facts.embedded:
            raise
        variant = find_or_prepare(config, storage)
    if variant.fingerprint != saved.fingerprint:
        raise DatasetMismatch(
            f"the model was trained on variant {saved.fingerprint[:12]} of {config.data.name}, "
            f"the one prepared now is {variant.fingerprint[:12]}"
        )
    return variant
