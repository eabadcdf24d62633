"""The config of `train.sh`: data, training and one of four models."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PrivateAttr, field_validator, model_validator

from difflogic_tonic.arguments import check_job_id
from difflogic_tonic.config.augment import Augment
from difflogic_tonic.config.datasets import DATASETS, DatasetFacts
from difflogic_tonic.config.networks import Model, check_logic_sizes, default_learning_rate
from difflogic_tonic.config.prepare import check_dataset, read_prepared
from difflogic_tonic.config.sections import PathValue, Positive, Section
from difflogic_tonic.config.slicing import Slice
from difflogic_tonic.config.spiking import IMAGE_STEPS, check_snn_sizes, check_time
from difflogic_tonic.config.training import Train, check_training
from difflogic_tonic.errors import ConfigError


class Base(Section):
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 42
    """Seed of initial weights, wiring, batch order and dropout."""

    job_id: str | None = None
    """Name of the run; the command line's wins."""

    tag: str | None = None
    """A word of one's own, kept with the results."""

    @field_validator("job_id")
    @classmethod
    def _one_path_component(cls, job_id: str | None) -> str | None:
        try:
            return None if job_id is None else check_job_id(job_id)
        except ConfigError as error:
            raise ValueError(str(error)) from None


class Data(Section):
    name: str = "DIGITS_DVS"
    """Dataset, one of the names in data.md."""

    prepare: PathValue | None = None
    """Prepare config whose cached variant is used. Without it and `variant`: the only variant there is."""

    variant: str | None = None
    """First characters of the fingerprint of the cached variant to use."""

    slice: Slice | None = None
    """How events become frames, if the cached variant holds events (`frames: events`): sliced in the way that this
    section says. Without it: as `prepare` says."""

    subset: Annotated[int, Field(ge=1)] | Annotated[float, Field(gt=0, le=1)] | None = None
    """Train on a seeded part of the training recordings: a number of them, or with a decimal point a fraction."""

    view: Literal["auto", "frames", "sequence", "stacked"] = "auto"
    """What a sample is: one frame, all frames of a recording in time order, or the first `max_frames` as channels."""

    max_frames: Positive | None = None
    """Frames of a recording that are used (views `sequence` and `stacked`); `stacked` needs it."""

    batching: Literal["shuffled", "bucketed"] = "shuffled"
    """Training batches of any recordings, or of recordings of similar length: less padding (view `sequence`)."""

    augment: Augment = Augment()

    @field_validator("name")
    @classmethod
    def _known_dataset(cls, name: str) -> str:
        return check_dataset(name)

    @field_validator("variant")
    @classmethod
    def _hexadecimal(cls, variant: str | None) -> str | None:
        if variant is not None and not re.fullmatch(r"(\w+-)?[0-9a-f]{4,64}", variant, re.ASCII):
            raise ValueError(
                f"{variant!r} is not the start of a fingerprint; expected 4 to 64 of the characters 0-9a-f, "
                "after FUNCTION- where a function of your own slices"
            )
        return variant

    @model_validator(mode="after")
    def _consistent(self) -> "Data":
        if self.prepare is not None and self.variant is not None:
            raise ValueError("data.prepare and data.variant both name a cached variant; keep one of them")
        if self.view == "stacked" and self.max_frames is None:
            raise ValueError("data.view: stacked needs data.max_frames, the number of frames used as channels")
        if self.slice is not None and DATASETS[self.name].kind == "images":
            raise ValueError(f"data.slice is for events, and {self.name} has images; remove it")
        return self


class Logging(Section):
    wandb: Literal["off", "offline", "online"] = "off"
    """Send curves and config to Weights & Biases as well, if its package is installed: `offline` keeps them in the run
    folder for `wandb sync`, `online` needs an account. TensorBoard has the same curves in any case."""

    wandb_project: Annotated[str, Field(min_length=1, max_length=128)] = "difflogic-tonic"
    """Name of the project there."""

    @model_validator(mode="after")
    def _every_key_counts(self) -> "Logging":
        if self.wandb == "off" and self.wandb_project != type(self).model_fields["wandb_project"].default:
            raise ValueError(
                "logging.wandb_project has no effect with wandb: off; leave it out, or use wandb: offline or online"
            )
        return self


class TrainConfig(Section):
    """A whole training config. `source` is the file it was read from."""

    base: Base = Base()
    data: Data = Data()
    train: Train = Train()
    model: Model
    logging: Logging = Logging()
    _source: Path = PrivateAttr(default=Path())

    @property
    def source(self) -> Path:
        return self._source

    @property
    def facts(self) -> DatasetFacts:
        return DATASETS[self.data.name]

    @property
    def training(self) -> Train:
        """The section `train` with the learning rate that null stands for, and the loss that `auto` is."""
        rate = self.train.learning_rate or default_learning_rate(self.model, self.train.optimizer)
        loss = "cross_entropy" if self.train.loss == "auto" else self.train.loss
        return self.train.model_copy(update={"learning_rate": rate, "loss": loss})

    @property
    def network(self) -> Model:
        """The section `model` with the steps that null stands for: None are those of events, or lines of an image."""
        snn = self.model.snn
        if self.model.model_type != "SNN" or self.facts.kind != "images" or snn.steps or not snn.is_shown:
            return self.model
        return self.model.model_copy(update={"snn": snn.model_copy(update={"steps": IMAGE_STEPS})})

    @property
    def view(self) -> Literal["frames", "sequence", "stacked"]:
        """What a sample is, `auto` resolved: networks with a memory see sequences, all others single frames."""
        if self.data.view != "auto":
            return self.data.view
        return "sequence" if self.model.has_memory else "frames"

    @property
    def sample_shape(self) -> tuple[int, int, int] | None:
        """Channels, height, width of one sample (of one frame of it, in a sequence).

        Those of `data.prepare`, or of the shipped prepare config; None where only the prepared frames tell.
        """
        prepared = None if self.data.variant else read_prepared(self.data.prepare or Path(self.facts.prepare_config))
        if prepared is None or prepared.frame_shape is None:
            return None
        channels, height, width = prepared.frame_shape
        levels = len(self.data.slice.levels) if self.data.slice else 0
        stacked = self.data.max_frames if self.view == "stacked" else None
        return channels * max(1, levels) * (stacked or 1), height, width

    @model_validator(mode="after")
    def _view_fits(self) -> "TrainConfig":
        memory = self.model.has_memory
        if not self.model.is_own and memory != (self.view == "sequence"):
            recurrent = ", architecture: recurrent" if memory and self.model.model_type == "DiffLogic" else ""
            raise ValueError(
                f"data.view: {self.view} does not fit model.model_type: {self.model.model_type}{recurrent}; use "
                + ("sequence" if memory else "frames or stacked")
            )
        return self

    @model_validator(mode="after")
    def _training_fits(self) -> "TrainConfig":
        check_training(self.train, self.model)
        if self.model.model_type == "SNN":
            check_time(self.model.snn, images=self.facts.kind == "images")
        return self

    @model_validator(mode="after")
    def _buckets_have_lengths(self) -> "TrainConfig":
        if self.data.batching == "bucketed" and self.view != "sequence":
            raise ValueError(f"data.batching: bucketed needs data.view: sequence, not {self.view}; use shuffled")
        return self

    @model_validator(mode="after")
    def _jitter_has_a_time(self) -> "TrainConfig":
        if self.data.augment.time_jitter and self.view == "frames":
            raise ValueError(
                "data.augment.time_jitter leaves out frames of a recording, and with data.view: frames each frame is "
                "a sample of its own; use 0, or data.view: sequence or stacked"
            )
        return self

    @model_validator(mode="after")
    def _sizes_work(self) -> "TrainConfig":
        if self.model.model_type == "DiffLogic" and self.sample_shape and self.facts.n_classes:
            check_logic_sizes(self.model.difflogic, self.sample_shape, self.facts.n_classes)
        if self.model.model_type == "SNN" and self.sample_shape and self.facts.n_classes:
            check_snn_sizes(self.model.snn, self.sample_shape, self.facts.n_classes)
        return self

    @model_validator(mode="after")
    def _images_have_a_threshold(self) -> "TrainConfig":
        logic = self.model.difflogic
        asks_for_events = logic.encoding == "binary" and logic.thresholds is None
        if self.model.model_type == "DiffLogic" and self.facts.kind == "images" and asks_for_events:
            raise ValueError(
                f"model.difflogic.encoding: binary asks for events, and {self.data.name} has pixels from 0 to 255; "
                "add model.difflogic.thresholds: [128], or use encoding: thermometer"
            )
        return self


def with_slice_of_prepared(config: TrainConfig) -> TrainConfig:
    """`config` with the slicing of its prepare config as `data.slice`, where that prepares events and this has none.

    Written out, so that a run keeps its frames when the prepare config is changed later. `ConfigError` for a slicing
    of what is not prepared as events.
    """
    path, given = config.data.prepare, config.data.slice
    prepared = None if path is None else read_prepared(path)
    if prepared is None:
        return config  # whoever opens the variant checks it
    if prepared.data.frames != "events":
        if given is None:
            return config
        raise ConfigError(
            f"{config.source}: data.slice slices prepared events, and {path} prepares frames: {prepared.data.frames}; "
            "set data.frames: events there, or take data.slice away"
        )
    data = config.data.model_copy(update={"slice": given or prepared.data.as_slice()})
    changed = config.model_copy(update={"data": data})
    changed._source = config.source
    return changed
