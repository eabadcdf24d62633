"""A finished run opened again: its saved model, its config, and the data that it was trained on."""

import logging
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from difflogic_tonic import cache, models
from difflogic_tonic.config import StoragePaths, TrainConfig
from difflogic_tonic.config.networks import Model
from difflogic_tonic.config.sections import build_section
from difflogic_tonic.errors import CacheMissing, DatasetMismatch
from difflogic_tonic.runs.model_file import ModelFile, load_model
from difflogic_tonic.storage import Storage, open_storage
from difflogic_tonic.train.inputs import Inputs, find_or_prepare, open_inputs, sample_shape
from difflogic_tonic.train.resume import changed_code
from difflogic_tonic.train.temperature import set_temperature_after

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OpenedRun:
    """`model` has the weights of the file `path`, at the temperature that they were evaluated with."""

    path: Path
    saved: ModelFile
    config: TrainConfig
    inputs: Inputs
    model: nn.Module
    frame_shape: tuple[int, int, int]


def open_run(job_id: str, which: str, device: torch.device, places: StoragePaths) -> OpenedRun:
    """`models/<job_id>/<which>.pt` with its network, on the CPU, and its batches, for `device`.

    RunError without such a file, CacheError where the data is not prepared, DatasetMismatch where it is other data.
    """
    storage = open_storage(places)
    path = storage.project.models_dir(job_id) / f"{which}.pt"
    saved = load_model(path)
    config = build_section(TrainConfig, saved.config, f"the config in {path}")
    for line in changed_code(saved.code, config):
        log.warning("%s", line)
    variant = find_variant_of(saved, config, storage)
    inputs = open_inputs(config, variant.path, variant.place_name, device)
    shape = sample_shape(config, inputs.manifest)
    model = models.build(_on_any_device(config.network), shape, len(saved.classes), config.base.seed, config.view)
    model.load_state_dict(saved.model)
    set_temperature_after(model, config, saved.step, len(inputs.train))
    return OpenedRun(path, saved, config, inputs, model, shape)


def _on_any_device(model: Model) -> Model:
    """`model` with the kernels that fit where it is evaluated, which may not be where it was trained."""
    logic = model.difflogic
    anywhere = logic.backend if logic.backend == "eager" else "auto"
    return model.model_copy(
        update={
            "snn": model.snn.model_copy(update={"backend": "auto"}),
            "difflogic": logic.model_copy(update={"backend": anywhere}),
        }
    )


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
