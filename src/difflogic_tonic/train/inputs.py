"""What a run trains on: the cached variant that its config names, the batches of its splits, and its network."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from difflogic_tonic import cache, models
from difflogic_tonic.cache.returning import Returning
from difflogic_tonic.config import PrepareConfig, RankPlace, TrainConfig, load_prepare_config
from difflogic_tonic.config.networks import check_logic_sizes
from difflogic_tonic.data import Batches
from difflogic_tonic.errors import CacheAmbiguous, CacheMissing, ConfigError
from difflogic_tonic.nets.logic import has_hard_mode
from difflogic_tonic.nets.spiking.model import SpikingModel
from difflogic_tonic.nets.spiking.neurons import find_kernels
from difflogic_tonic.nets.spiking.recompute import Recompute
from difflogic_tonic.storage import Storage
from difflogic_tonic.train.fit import BatchSource, Phase
from difflogic_tonic.train.preflight import network_memory
from difflogic_tonic.train.thresholds import check_counts, fit_thresholds

if TYPE_CHECKING:
    from difflogic_tonic.data.augment import Augmenter

SPLITS = ("val", "test")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Inputs:
    """The splits of one variant as batches. `evaluated` lacks a split that is empty.

    `plain_train` are the training batches without augmentation, to look at the data.
    """

    manifest: cache.Manifest
    place_name: str
    train: BatchSource
    plain_train: BatchSource
    evaluated: dict[str, BatchSource]
    n_recordings: dict[str, int]
    sample_shape: tuple[int, int, int]
    returning: Returning | None = None

    @property
    def subset(self) -> str | None:
        """What was trained and tested on, if that is not the whole dataset."""
        parts = [self.manifest.subset] if self.manifest.subset else []
        if self.train.n_recordings < self.n_recordings["train"]:
            parts.append(f"trained on {self.train.n_recordings:,} of {self.n_recordings['train']:,} recordings")
        return "; ".join(parts) or None


def choose_device(wanted: str, place: RankPlace | None = None) -> torch.device:
    """The device of `train.device`; `auto` takes a GPU if there is one. `ConfigError` for one that is not there.

    `place`: that of a process among several, each of which takes a GPU of its own.
    """
    if place is not None and wanted != "cpu" and torch.cuda.is_available():
        return torch.device("cuda", gpu_of(place, wanted, torch.cuda.device_count()))
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(wanted)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise ConfigError(f"train.device: {wanted}, but {count} CUDA devices can be used here; use auto or cpu")
    return device


def gpu_of(place: RankPlace, wanted: str, count: int) -> int:
    """Which of the `count` GPUs that this process sees is its own. `ConfigError` if there are not enough.

    One: the launcher has given each process another one, or they would share it (`rendezvous.check_devices`).
    """
    if ":" in wanted and place.local_world > 1:
        raise ConfigError(
            f"train.device: {wanted} names one GPU, and this machine has {place.local_world} processes; use cuda"
        )
    if 1 < count < place.local_world:
        raise ConfigError(
            f"train.device: {place.local_world} processes on this machine and {count} GPUs; start {count} processes, "
            f"or set train.device: cpu"
        )
    return place.local_rank if count > 1 else 0


def find_or_prepare(config: TrainConfig, storage: Storage) -> cache.Variant:
    """The variant that `config.data` names. The embedded dataset is prepared if missing. Raises `CacheMissing`.

    Without `data.prepare` and `data.variant` it is the only one there is; where there is none of the embedded dataset,
    the one of its shipped config is made.
    """
    prepare = prepare_config(config)
    wanted = cache.parameters_hash(cache.parameters_of(prepare)) if prepare else None
    shown = prepare.source if prepare else config.facts.prepare_config

    def find() -> cache.Variant:
        return cache.find_variant(
            storage,
            config.data.name,
            parameters_hash=wanted,
            prefix=config.data.variant,
            prepare_command=f"./prepare_data.sh {shown}",
        )

    try:
        return find()
    except CacheAmbiguous:
        raise
    except CacheMissing:
        if config.data.variant is not None or not config.facts.embedded:
            raise
        log.info("%s is not prepared yet: preparing it with %s", config.data.name, shown)
        cache.prepare(prepare or load_prepare_config(shown), storage)
        return find()


def prepare_config(config: TrainConfig) -> PrepareConfig | None:
    """The prepare config that `data.prepare` names, checked against `data.name`."""
    path = config.data.prepare
    if path is None:
        return None
    prepare = load_prepare_config(path)
    if prepare.data.name != config.data.name:
        raise ConfigError(
            f"data.prepare: {path} prepares {prepare.data.name}, data.name is {config.data.name}; change one of them"
        )
    return prepare


def open_inputs(
    config: TrainConfig,
    path: Path,
    place_name: str,
    device: torch.device,
    share: tuple[int, int] | None = None,
    returning: Returning | None = None,
) -> Inputs:
    """Open the splits of the variant in `path` as `config` wants them; `share`: see `Batches`.

    `returning` brings the variant back if it goes away.

    Raises `CacheError` or `ConfigError`, and `RecordingError` for one that cannot be sliced as `data.slice` says.
    """
    reader = cache.CacheReader(path, config.data.slice, returning)
    splits = {name: reader.split(name) for name in ("train", *SPLITS) if name in reader.manifest.splits}

    def batches(
        name: str,
        shuffle: bool,
        subset: float | int | None,
        changing: "Augmenter | None" = None,
        share: tuple[int, int] | None = share,
    ) -> Batches:
        return Batches(
            splits[name],
            config.view,
            config.train.dataloader.batch_size,
            config.base.seed,
            shuffle,
            config.train.dataloader.num_workers,
            subset=subset,
            max_frames=config.data.max_frames,
            pin_memory=device.type == "cuda",
            augmenter=changing,
            bucketed=shuffle and config.data.batching == "bucketed",
            keyed=config.model.model_type == "SNN" and config.model.snn.encoding == "rate",
            share=share,
        )

    if not splits["train"].n_recordings:
        raise CacheMissing(f"{path} has no training recordings; prepare it with a smaller data.val_fraction")
    return Inputs(
        reader.manifest,
        place_name,
        batches("train", True, config.data.subset, augmenter(config)),
        batches("train", True, config.data.subset, share=None),
        {name: batches(name, False, None) for name in SPLITS if name in splits and splits[name].n_recordings},
        {name: split.n_recordings for name, split in splits.items()},
        sample_shape(config, reader.manifest),
        returning,
    )


def augmenter(config: TrainConfig) -> "Augmenter | None":
    """What changes training samples; None where nothing does."""
    if not config.data.augment.changes_anything:
        return None
    from difflogic_tonic.data.augment import Augmenter  # numba, which takes half a second to load

    return Augmenter(config.data.augment, config.base.seed, highest=255 if config.facts.kind == "images" else 1)


def sample_shape(config: TrainConfig, manifest: cache.Manifest) -> tuple[int, int, int]:
    """Channels, height and width of what the network sees at once: a frame, or `max_frames` of them stacked."""
    polarities, height, width = manifest.frame_shape
    stacked = config.data.max_frames if config.view == "stacked" else None
    return (polarities * (stacked or 1), height, width)


def build_model(config: TrainConfig, inputs: Inputs, device: torch.device, with_weights: bool = True) -> nn.Module:
    """The network of `config` on `device`.

    `with_weights`: ready to train, with `model.weights` loaded if there are any, or else thresholds found in the data;
    False: everything will come from a checkpoint. `ConfigError` for sizes that do not fit the prepared frames, and for
    kernels of neurons that `device` does not have.
    """
    if config.model.model_type == "DiffLogic":
        try:
            check_logic_sizes(config.model.difflogic, inputs.sample_shape, len(inputs.manifest.classes))
        except ValueError as error:
            raise ConfigError(str(error)) from None
    check_counts(config, inputs.manifest)
    classes = len(inputs.manifest.classes)
    with network_memory(config.model):
        model = models.build(config.network, inputs.sample_shape, classes, config.base.seed, config.view)
    if config.model.model_type == "SNN" and config.model.snn.backend != "auto":
        find_kernels(config.model.snn.backend, device)
    if isinstance(model, SpikingModel) and config.train.recompute:
        model.recompute = Recompute(config.train.recompute_steps)
    if with_weights and config.model.weights is not None:
        models.load_weights(model, config.model.weights)
    elif with_weights:
        fit_thresholds(model, config, inputs.plain_train)
    check_last_batch(model, config, inputs)
    with network_memory(config.model):
        return model.to(device)


def check_last_batch(model: nn.Module, config: TrainConfig, inputs: Inputs) -> None:
    """`ConfigError` if an epoch ends with a batch of one sample that batch normalisation has no statistics of.

    A normalisation of dense outputs needs two numbers: two samples, or one at several steps.
    """
    alone = inputs.train.n_samples % inputs.train.batch_size == 1
    images = config.facts.kind == "images"
    one_step = config.view != "sequence" or (images and config.network.snn.steps == 1)
    if not (alone and one_step and any(isinstance(module, nn.BatchNorm1d) for module in model.modules())):
        return
    size = inputs.train.batch_size
    fitting = next(n for n in range(size + 1, size + inputs.train.n_samples + 2) if inputs.train.n_samples % n != 1)
    raise ConfigError(
        f"train.dataloader.batch_size: {size} leaves one of {inputs.train.n_samples:,} training samples for the last "
        f"batch, too few for batch normalisation; use {fitting}"
    )


def evaluation_phases(model: nn.Module, inputs: Inputs) -> tuple[Phase, ...]:
    """Every split that there is, soft and (logic networks) hard."""
    kinds = (False, True) if has_hard_mode(model) else (False,)
    return tuple(Phase(name, hard, inputs.n_recordings[name]) for name in inputs.evaluated for hard in kinds)
