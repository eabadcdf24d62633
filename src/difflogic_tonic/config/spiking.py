"""The section `model.snn`: spiking networks."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from difflogic_tonic.config.architectures import read_architecture
from difflogic_tonic.config.catalogue import NETWORKS, ConvFC, ResNet
from difflogic_tonic.config.own_code import is_own_code
from difflogic_tonic.config.sections import Fraction, Positive, Section, nearest

IMAGE_STEPS = 4
"""Steps that an image is shown where a config does not say: those of the Fashion-MNIST example."""


class SNN(Section):
    architecture: str = "12C5-MP2-64C5-MP2-FC10"
    """Layers, in which 12C5 is a 5×5 convolution to 12 channels, MP2 a 2×2 max pooling and FC10 a dense layer to 10
    neurons, or the name of a network: csnn, spiking_resnet18, … (snn.md has all tokens and names)."""

    channels: Positive | None = None
    """Channels of the convolutions of csnn and the plif networks, default 128 (plif_cifar10 256), or of the first stage
    of a ResNet, default 64."""

    stem: Literal["small", "imagenet"] | None = None
    """Beginning of a ResNet: a 7×7 convolution and a pooling, both of stride 2 (imagenet), or a 3×3 convolution of
    stride 1 (small). Default: small for frames with a side below 64 pixels."""

    connect: Literal["ADD", "AND", "IAND"] = "ADD"
    """How the spikes of a block of a SEW ResNet and those of its shortcut become one."""

    neuron: Literal["if", "lif", "plif"] = "lif"
    """Neurons that integrate and fire, that leak as well, or leak with a time constant that each layer learns."""

    tau: Annotated[float, Field(ge=1)] = 2.0
    """Membrane time constant in frames; 1 keeps nothing from frame to frame. Of plif, where it starts, above 1."""

    decay_input: bool = True
    """Whether what arrives is divided by tau as well (not of `neuron: if`)."""

    threshold: Annotated[float, Field(gt=0)] = 1.0
    """Membrane potential at which a neuron spikes."""

    surrogate: Literal["atan", "sigmoid", "fast_sigmoid", "triangle"] = "atan"
    """Stand-in for the derivative of a spike."""

    surrogate_alpha: Annotated[float, Field(gt=0, le=1e3)] | None = None
    """Its steepness. Default: atan 2, sigmoid 4, fast_sigmoid 25, triangle 1."""

    reset: Literal["hard", "soft"] = "hard"
    """After a spike the membrane goes to zero (hard) or loses the threshold (soft)."""

    detach_reset: bool = True
    """Leave the reset out of the gradient."""

    backend: Literal["auto", "reference", "fused", "compiled"] = "auto"
    """Who computes neurons: `fused` (CPU) and `compiled` (CUDA) are kernels over all steps, `reference` is plain
    PyTorch, step by step; `auto` takes the one that fits the device."""

    readout: Literal["membrane", "current", "rate"] = "membrane"
    """Class scores: means over the steps of what the last layer charges a membrane without threshold to, of its
    currents, or of the spikes of its neurons (its firing rate)."""

    steps: Positive | None = None
    """Steps that an image is shown; default 4. Events bring their own: the frames of a recording."""

    encoding: Literal["direct", "rate", "latency", "delta", "rows", "columns", "counts"] = "direct"
    """How an image becomes that many frames: as it is at every step, as random spikes at a rate of its brightness, as
    one spike that is the earlier the brighter, or as a spike whenever it differs by `delta_level` from what the spikes
    so far add up to; or one row, or one column, of it at each step. Frames of events: `direct` (the logarithm of the
    counts plus 1), `delta` or `counts`."""

    delta_level: Annotated[float, Field(gt=0, le=1e3)] | None = None
    """Level of `encoding: delta`, images being from 0 to 1 and a frame of events log(1 + count). Default: 1 / `steps`,
    and for events log 2, the value of one event."""

    dropout: Fraction | None = None
    """Part of the flattened spikes left out in a training step: before the last dense layer, default 0, or before the
    two of a plif network, default 0.5."""

    @property
    def is_shown(self) -> bool:
        """Whether an image is seen as a whole for a number of steps, not line by line."""
        return self.encoding not in ("rows", "columns")

    @model_validator(mode="after")
    def _architecture_is_known(self) -> "SNN":
        name = self.architecture
        if name[:1].islower() and name not in NETWORKS and not is_own_code(name):
            raise ValueError(
                f"model.snn.architecture: unknown network {name!r}{nearest(name, NETWORKS)}; there are "
                f"{', '.join(NETWORKS)}, strings such as 12C5-MP2-FC10, and module:function"
            )
        return self

    @model_validator(mode="after")
    def _keys_of_the_architecture_count(self) -> "SNN":
        facts = NETWORKS.get(self.architecture)
        resnet = isinstance(facts, ResNet)
        string = facts is None and not is_own_code(self.architecture)
        has_dropout = string or (isinstance(facts, ConvFC) and facts.dropout > 0)
        for key, given, counts, others in (
            ("channels", self.channels is not None, resnet or isinstance(facts, ConvFC), "csnn, plif_… or …_resnet18"),
            ("stem", self.stem is not None, resnet, "spiking_resnet18 or another ResNet"),
            ("connect", self.connect != "ADD", isinstance(facts, ResNet) and facts.sew, "sew_resnet18 or another SEW"),
            ("dropout", bool(self.dropout), has_dropout, "a string of layers, or plif_…"),
        ):
            if given and not counts:
                raise ValueError(
                    f"model.snn.{key} has no effect with architecture: {self.architecture}; "
                    f"leave it out, or use architecture: {others}"
                )
        if self.steps is not None and not self.is_shown:
            raise ValueError(
                f"model.snn.steps has no effect with encoding: {self.encoding}, which has as many steps as the image "
                f"has {self.encoding}; leave it out"
            )
        return self

    @model_validator(mode="after")
    def _keys_of_the_neuron_count(self) -> "SNN":
        if self.neuron == "plif" and not self.tau > 1:
            raise ValueError("model.snn.tau of neuron: plif must be above 1, where its 1 / tau can be learned from")
        fields = type(self).model_fields
        unused = [] if self.neuron != "if" else ["decay_input"] + ["tau"] * (self.readout != "membrane")
        for key in unused:
            if getattr(self, key) != fields[key].default:
                raise ValueError(
                    f"model.snn.{key} has no effect with neuron: if; leave it out, or use neuron: lif or plif"
                )
        return self

    @model_validator(mode="after")
    def _level_counts(self) -> "SNN":
        if self.delta_level is not None and self.encoding != "delta":
            raise ValueError(
                f"model.snn.delta_level has no effect with encoding: {self.encoding}; "
                "leave it out, or use encoding: delta"
            )
        return self


def check_time(snn: SNN, images: bool) -> None:
    """Raise `ValueError` for a coding in time that images, or frames of events, do not have."""
    if images and snn.encoding == "counts":
        raise ValueError("model.snn.encoding: counts is for events; use direct")
    if images:
        return
    if snn.steps is not None:
        raise ValueError(
            "model.snn.steps is for images; a recording of events has as many steps as frames: use data.max_frames"
        )
    if snn.encoding in ("rate", "latency", "rows", "columns"):
        raise ValueError(
            f"model.snn.encoding: {snn.encoding} is for images; events come in time already: "
            "use direct, delta or counts"
        )


def step_shape(snn: SNN, frame_shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """Channels, height and width that the network sees at one step, of frames of `frame_shape`."""
    channels, height, width = frame_shape
    match snn.encoding:
        case "rows":
            return channels, 1, width
        case "columns":
            return channels, height, 1
    return frame_shape


def check_snn_sizes(snn: SNN, frame_shape: tuple[int, int, int], classes: int) -> None:
    """Raise `ValueError` for an architecture that does not fit frames of [channels, height, width], or the classes."""
    if is_own_code(snn.architecture):
        return  # only it knows
    seen = step_shape(snn, frame_shape)
    facts = NETWORKS.get(snn.architecture)
    try:
        match facts:
            case None:
                read_architecture(snn.architecture, seen, classes)
            case ConvFC():
                facts.check_frames(seen)
    except ValueError as error:
        text = str(error)
        named = text if text.startswith("architecture") else f"architecture {snn.architecture}: {text}"
        raise ValueError(f"model.snn.{named}") from None
