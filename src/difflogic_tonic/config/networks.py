"""The sections of `model`: one for each kind of network, and which of them is meant."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from difflogic_tonic.config.own_code import is_own_code
from difflogic_tonic.config.sections import Fraction, PathValue, Positive, Section, nearest
from difflogic_tonic.config.spiking import SNN

MODEL_TYPES = ("DiffLogic", "CNN", "MLP", "SNN")
RATES = {"CNN": 1e-3, "MLP": 1e-3, "SNN": 2e-3}
OWN_RATE = 1e-3
LOGIC_RATES = {"raw": 5e-2, "light": 1e-1, "walsh": 5e-2}
GUMBEL_RATES = {"raw": 5e-1, "light": 5e-1, "walsh": 2e-1}
"""Default learning rates of Adam; of logic networks by parametrization. With `estimator: gumbel` the logits have to
outgrow the noise, which is as large as they are at the start."""


class Recurrent(Section):
    state: Positive = 300
    """State bits: so many of the last layer's neurons are read again at the next frame, the rest is for the classes."""

    readout: Literal["mean", "last"] = "mean"
    """Class scores of a recording: mean over its frames, or those of its last frame."""


class ConvTrees(Section):
    channels: tuple[Positive, ...] = Field(default=(32, 64, 128), min_length=1, max_length=12, strict=False)
    """Trees of each layer in front of the dense ones; behind every layer the largest of 2×2 neighbours is taken."""

    tree_depth: Annotated[int, Field(ge=1, le=4)] = 3
    """A tree of depth d is 2^d - 1 neurons over 2^d inputs, the same at every position."""

    tree_channels: Positive = 2
    """Channels that a tree sees."""

    kernel_size: Annotated[int, Field(ge=1, le=31)] = 3
    """Side of the window, in pixels, in which a tree's inputs lie."""

    padding: Annotated[int, Field(ge=0, le=30)] = 1
    """Pixels that are 0 around the frame; less than kernel_size."""


_COUNTS_WITH = {
    "conv": ("architecture", ("conv",)),
    "recurrent": ("architecture", ("recurrent",)),
    "thermometer_levels": ("encoding", ("thermometer", "distributive")),
    "wiring_candidates": ("wiring", ("learnable",)),
    "storage": ("architecture", ("dense",)),
}
"""Keys of `DiffLogic` that count for some values of another key only."""


class DiffLogic(Section):
    architecture: Literal["dense", "conv", "recurrent"] = "dense"
    """How layers are connected: each reads the one before; layers of small trees that are the same at every position
    (`conv`) come first; or, over the frames of a recording in time order, the first one reads the frame and the state
    bits that the last one left at the frame before."""

    num_neurons: Positive = 4000
    """Neurons (two-input gates) in every dense layer."""

    num_layers: Annotated[int, Field(ge=1, le=1000)] = 4
    """Dense layers of neurons."""

    encoding: Literal["binary", "thermometer", "distributive"] = "binary"
    """Bits of a pixel: one, or one for each threshold that its count reaches. The thresholds of `thermometer` are 1, 2,
    3, … events, in images evenly spaced; those of `distributive` split the positive counts of each pixel evenly, in
    the training frames."""

    thermometer_levels: Annotated[int, Field(ge=1, le=255)] = 3
    """Thresholds of `thermometer` and `distributive`."""

    thresholds: tuple[Annotated[int, Field(ge=1, le=255)], ...] | None = Field(default=None, min_length=1, strict=False)
    """Thresholds of one's own, ascending: one for `binary` (events: 1), any number for `thermometer`."""

    tau: Annotated[float, Field(ge=1e-6, le=1e6)] | None = None
    """Class scores are sums of outputs divided by tau. Default: √(outputs per class) / 3."""

    init: Literal["auto", "random", "residual"] = "auto"
    """Initial gates: random, or mostly passing their first input on. `auto` is residual for more than 6 layers
    and with `architecture: conv`."""

    parametrization: Literal["raw", "light", "walsh"] = "raw"
    """What a neuron learns: 16 logits of gates, the 4 corners of its truth table, or 4 Walsh coefficients."""

    estimator: Literal["soft", "hard", "gumbel"] = "soft"
    """In training, a neuron is the mean of its gates, or its likeliest gate or a sampled one with a straight-through
    gradient. Evaluation reports soft and hard either way."""

    temperature: Annotated[float, Field(ge=1e-3, le=1e3)] = 1.0
    """The logits of a neuron are divided by it: below 1 a soft neuron is more of one gate. Hard evaluation does not
    depend on it."""

    temperature_end: Annotated[float, Field(ge=1e-3, le=1e3)] | None = None
    """Temperature at the end of the run, for a `temperature_schedule`."""

    temperature_schedule: Literal["none", "linear", "exponential"] = "none"
    """From `temperature` to `temperature_end`, per step: by equal differences or by equal factors."""

    wiring: Literal["random", "unique", "structured", "learnable"] = "unique"
    """Inputs of a neuron: any two; two different ones with no pair twice in a layer while there are pairs left;
    neighbours in the image, at a growing distance from layer to layer; or learned among a few candidates."""

    wiring_candidates: Annotated[int, Field(ge=2, le=256)] = 8
    """Candidates for each input of a neuron with `wiring: learnable`."""

    backend: Literal["auto", "eager", "cpu", "triton", "difflogic"] = "auto"
    """Who computes: `cpu` and `triton` (CUDA) are the compiled kernels, `eager` plain PyTorch, `difflogic` the layers
    of that package, which must be installed; `auto` takes the fastest of the first three that is there."""

    storage: Literal["float32", "float16"] = "float32"
    """What the kernel of `cpu` keeps values and gradients of neurons in while it works; it computes in float32 either
    way. `float16` is faster in large networks, and its gradients are off by up to about 0.2% of the largest."""

    conv: ConvTrees = ConvTrees()
    recurrent: Recurrent = Recurrent()

    @property
    def levels(self) -> int:
        """Bits of a pixel."""
        if self.encoding == "binary":
            return 1
        return len(self.thresholds) if self.thresholds else self.thermometer_levels

    @model_validator(mode="after")
    def _thresholds_fit(self) -> "DiffLogic":
        given = list(self.thresholds or ())
        if given != sorted(set(given)):
            raise ValueError(f"model.difflogic.thresholds {given} must be ascending")
        if self.encoding == "binary" and len(given) > 1:
            raise ValueError(f"model.difflogic.thresholds {given} are for encoding: thermometer; binary has one")
        if self.encoding == "distributive" and given:
            raise ValueError("model.difflogic.thresholds: encoding: distributive finds its own; use thermometer")
        return self

    @model_validator(mode="after")
    def _temperatures_fit(self) -> "DiffLogic":
        if (self.temperature_schedule == "none") != (self.temperature_end is None):
            raise ValueError(
                "model.difflogic.temperature_end goes with temperature_schedule: linear or exponential; "
                "set both or neither"
            )
        return self

    @model_validator(mode="after")
    def _every_key_counts(self) -> "DiffLogic":
        for key, (chooser, choices) in _COUNTS_WITH.items():
            # the default is no sign of an intention: a saved config holds every key
            if getattr(self, key) != type(self).model_fields[key].default and getattr(self, chooser) not in choices:
                raise ValueError(
                    f"model.difflogic.{key} has no effect with {chooser}: {getattr(self, chooser)}; "
                    f"leave it out, or use {chooser}: {' or '.join(choices)}"
                )
        default = type(self).model_fields["thermometer_levels"].default
        if self.thresholds and self.thermometer_levels not in (default, len(self.thresholds)):
            raise ValueError(
                f"model.difflogic.thermometer_levels {self.thermometer_levels} has no effect beside thresholds "
                f"{list(self.thresholds)}; keep one of them"
            )
        return self

    @model_validator(mode="after")
    def _backend_fits(self) -> "DiffLogic":
        if self.storage != "float32":
            for key, computed in (("backend", ("auto", "cpu")), ("wiring", ("random", "unique", "structured"))):
                if getattr(self, key) not in computed:
                    raise ValueError(
                        f"model.difflogic.storage has no effect with {key}: {getattr(self, key)}; "
                        f"leave it out, or use {key}: {' or '.join(computed)}"
                    )
        if self.backend == "triton" and self.wiring == "learnable":
            raise ValueError("model.difflogic.backend: triton has no learnable wiring; cpu and eager have: use auto")
        other = [
            f"{key}: {getattr(self, key)}"
            for key, computed in (("architecture", "dense"), ("parametrization", "raw"), ("estimator", "soft"))
            if getattr(self, key) != computed
        ]
        if self.wiring == "learnable":
            other.append("wiring: learnable")
        if self.backend == "difflogic" and other:
            raise ValueError(f"model.difflogic.backend: difflogic does not compute {', '.join(other)}; use auto")
        return self


class CNN(Section):
    hidden: Positive = 128
    """Neurons of the dense layer behind the two convolutions."""

    dropout: Fraction = 0.0
    """Part of that layer's outputs left out in a training step."""


class MLP(Section):
    hidden: tuple[Positive, ...] = Field(default=(512,), min_length=1, max_length=100, strict=False)
    """Neurons of each hidden layer."""

    dropout: Fraction = 0.0
    """Part of every hidden layer's outputs left out in a training step."""


class Model(Section):
    model_type: str
    """Which network: `DiffLogic`, `CNN`, `MLP` or `SNN`, whose section holds its sizes, or `module:function`, which is
    called with (channels, height, width) and the number of classes, and returns a torch module."""

    weights: PathValue | None = None
    """Start from the weights in this file."""

    difflogic: DiffLogic = DiffLogic()
    cnn: CNN = CNN()
    mlp: MLP = MLP()
    snn: SNN = SNN()

    @field_validator("model_type")
    @classmethod
    def _known_type(cls, model_type: str) -> str:
        if model_type not in MODEL_TYPES and not is_own_code(model_type):
            known = ", ".join(MODEL_TYPES)
            raise ValueError(f"{model_type!r} is not one of {known}, module:function{nearest(model_type, MODEL_TYPES)}")
        return model_type

    @property
    def is_own(self) -> bool:
        """Whether the network is one of one's own, of which nothing is known."""
        return is_own_code(self.model_type)

    @property
    def has_memory(self) -> bool:
        """Whether the network goes through the frames of a recording in time order, and so sees sequences."""
        recurrent = self.model_type == "DiffLogic" and self.difflogic.architecture == "recurrent"
        return recurrent or self.model_type == "SNN"


def default_learning_rate(model: Model, optimizer: str) -> float:
    """What `train.learning_rate` is where a config does not say; measured with Adam (docs/difflogic.md)."""
    if optimizer == "sgd":
        return 1e-2
    if model.model_type != "DiffLogic":
        return RATES.get(model.model_type, OWN_RATE)
    rates = GUMBEL_RATES if model.difflogic.estimator == "gumbel" else LOGIC_RATES
    return rates[model.difflogic.parametrization]


def check_logic_sizes(logic: DiffLogic, frame_shape: tuple[int, int, int], classes: int) -> None:
    """Raise `ValueError`, with numbers that work, for a logic network that would not see all inputs or all classes.

    `frame_shape`: channels, rows, columns before the encoding. A layer of n two-input neurons reaches 2n inputs, and
    the outputs are divided evenly among the classes. In a recurrent network that holds for the neurons besides those of
    the state, which is an input as well. Wirings without equal pairs need that many pairs.
    """
    channels, rows, columns = frame_shape
    channels *= logic.levels
    if logic.architecture == "conv":
        channels, rows, columns = _shape_after_trees(logic.conv, channels, rows, columns)
    inputs = channels * rows * columns
    state = logic.recurrent.state if logic.architecture == "recurrent" else 0
    besides = f" besides {state} of the state" if state else ""
    neurons = logic.num_neurons - state
    read = [inputs + state] + [logic.num_neurons] * (logic.num_layers > 1)  # by the first layer, by the others
    least = max(-(-(inputs + state) // 2), state * (logic.num_layers > 1))
    fitting = -(-max(least, classes) // classes) * classes
    if 2 * neurons < max(read):
        raise ValueError(
            f"model.difflogic.num_neurons {logic.num_neurons} has {2 * max(0, neurons)} wires{besides} for "
            f"{max(read)} inputs, so some would not be connected; use at least {fitting + state}"
        )
    if neurons % classes:
        below = neurons // classes * classes
        works = [str(count + state) for count in (below, below + classes) if count >= fitting]
        raise ValueError(
            f"model.difflogic.num_neurons {logic.num_neurons}{besides} cannot be divided among {classes} classes; "
            f"use {' or '.join(works)}"
        )
    if state and logic.wiring in ("structured", "learnable"):
        raise ValueError(f"model.difflogic.wiring: {logic.wiring} is for architecture: dense; use unique or random")
    pairs = min(read) * (min(read) - 1) // 2
    if logic.wiring in ("unique", "learnable") and neurons > pairs:
        raise ValueError(
            f"model.difflogic.wiring: {logic.wiring} has {pairs} pairs of {min(read)} inputs, too few for "
            f"{neurons} neurons; use random, or fewer neurons"
        )


def _shape_after_trees(trees: ConvTrees, channels: int, rows: int, columns: int) -> tuple[int, int, int]:
    """Channels, rows and columns behind the last layer of trees. `ValueError` for trees that do not fit the frames."""
    if trees.padding >= trees.kernel_size:
        raise ValueError(
            f"model.difflogic.conv.padding {trees.padding} must be less than kernel_size {trees.kernel_size}; "
            f"use {trees.kernel_size - 1} or less"
        )
    for layer, count in enumerate(trees.channels):
        seen = min(trees.tree_channels, channels, 2**trees.tree_depth)
        if count * seen < channels:
            raise ValueError(
                f"model.difflogic.conv.channels: {count} trees of layer {layer + 1} see {seen} channels each, so some "
                f"of {channels} would not be read; use at least {-(-channels // seen)} or more tree_channels"
            )
        shrunk = [side + 2 * trees.padding - trees.kernel_size + 1 for side in (rows, columns)]
        if min(shrunk) < 2:
            raise ValueError(
                f"model.difflogic.conv.channels: {rows}×{columns} pixels arrive at layer {layer + 1} of "
                f"{len(trees.channels)}, too few for kernel_size {trees.kernel_size}, padding {trees.padding} and a "
                f"2×2 pooling; " + (f"use {layer} layers" if layer else "use a smaller kernel_size or more padding")
            )
        channels, (rows, columns) = count, (side // 2 for side in shrunk)
    return channels, rows, columns
