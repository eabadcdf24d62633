"""A finished run evaluated again, from its saved model."""

import logging
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from torch import nn

from difflogic_tonic.config import StoragePaths, TrainConfig
from difflogic_tonic.errors import ConfigError, OutOfMemory
from difflogic_tonic.models.circuit import as_circuit
from difflogic_tonic.models.discretise import netlist_report
from difflogic_tonic.models.encoding import BinaryFrames
from difflogic_tonic.nets.logic import has_hard_mode
from difflogic_tonic.nets.spiking.spikes import SpikeCounts
from difflogic_tonic.runs.log import log_to_console
from difflogic_tonic.train import lines
from difflogic_tonic.train.fit import evaluate
from difflogic_tonic.train.inputs import Inputs, choose_device, evaluation_phases
from difflogic_tonic.train.losses import evaluation_loss
from difflogic_tonic.train.opened import open_run
from difflogic_tonic.train.preflight import is_out_of_memory
from difflogic_tonic.train.spike_statistics import look_at_spikes, metrics_of, spike_lines, warn_of_busy_layers
from difflogic_tonic.train.tally import Tally

DRAWN = 4
"""Samples whose encoder spikes are drawn: each is a folder with three files for every step."""

log = logging.getLogger(__name__)


def evaluate_run(
    job_id: str,
    which: str,
    device_name: str,
    places: StoragePaths,
    spikes: bool = False,
    save_es: Path | None = None,
) -> int:
    """Print the accuracies of `models/<job_id>/<which>.pt` on validation and test data. Raises `UserError`.

    `spikes`: also count those of a spiking network. `save_es`: draw what its encoder makes of `DRAWN` test samples.
    """
    log_to_console()
    device = choose_device(device_name)
    run = open_run(job_id, which, device, places)
    saved, config, inputs, model = run.saved, run.config, run.inputs, run.model
    if (spikes or save_es is not None) and config.model.model_type != "SNN":
        raise ConfigError(f"--spikes and --save-es are for spiking networks; job {job_id} is {config.model.model_type}")
    try:
        measured = measure(model.to(device), inputs, config, device, spikes)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemory(
            f"out of memory on {device}; wait until more of it is free, or try another --device"
        ) from error
    log.info("%s: epoch %d, step %d", run.path, saved.epoch, saved.step)
    for line in lines.final_lines(measured, inputs.subset):
        log.info("%s", line)
    for split in inputs.evaluated:
        for line in spike_lines(measured, split):
            log.info("%s", line)
    if has_hard_mode(model):
        log.info("%s", lines.gate_line(netlist_report(model)))
    if save_es is not None:
        draw_encoder(model, inputs, save_es, device)
    return 0


def draw_encoder(model: nn.Module, inputs: Inputs, folder: Path, device: torch.device, samples: int = DRAWN) -> None:
    """Pictures of what the encoder of a spiking network makes of the first test samples, at most a batch of them."""
    from difflogic_tonic.train.encoder_pictures import save_encoder_spikes  # matplotlib, which takes a second to load

    batches = inputs.evaluated.get("test", inputs.plain_train)
    with closing(batches.iterate(0)) as first:
        batch = next(first).to(device)
    samples = min(samples, len(batch))
    log.info("spikes of the encoder for %d samples: %s", samples, save_encoder_spikes(model, batch, folder, samples))


def measure(
    model: nn.Module, inputs: Inputs, config: TrainConfig, device: torch.device, spikes: bool = False
) -> dict[str, Any]:
    """All metrics of `model` on every evaluated split, soft and (logic networks) hard, as in an epoch of training.

    On a CPU the hard ones are those of the circuit, by its fast evaluator: the same numbers in less time.
    `spikes`: also those of its spikes, in every batch.
    """
    measured: dict[str, Any] = {}
    loss = evaluation_loss(config)
    for phase in evaluation_phases(model, inputs):
        tally = Tally.empty(phase.n_recordings, len(inputs.manifest.classes))
        batches = inputs.evaluated[phase.split]
        circuit = as_circuit(model) if phase.hard and device.type == "cpu" and isinstance(model, BinaryFrames) else None
        with lines.bar(phase.name, len(batches)) as bar:
            counts = SpikeCounts() if spikes else None
            look = look_at_spikes(model, counts, every=1)
            for _ in evaluate(circuit or model, batches, tally, phase.hard and not circuit, device, loss, look):
                bar.advance(1)
        measured |= tally.metrics(phase.split, config.view, phase.hard) | metrics_of(counts, phase.split)
        if counts is not None:
            warn_of_busy_layers(counts.rates(), phase.split)
    return measured
