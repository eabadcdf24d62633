"""The sections of `model`: one for each kind of network, and which of them is meant."""

from typing import Annotated, Literal

from pydantic import Field

from difflogic_tonic.config.sections import Fraction, PathValue, Positive, Section


class DiffLogic(Section):
    num_neurons: Positive = 4000
    """Neurons (two-input gates) in every layer."""

    num_layers: Annotated[int, Field(ge=1, le=1000)] = 4
    """Layers of neurons."""

    tau: Annotated[float, Field(gt=0)] | None = None
    """Temperature of the output: class scores are sums of outputs divided by tau. Default: √(outputs per class)."""

    init: Literal["auto", "random", "residual"] = "auto"
    """Initial gates: random, or mostly passing their first input on. `auto` is residual for more than 6 layers."""

    parametrization: Literal["raw", "light", "walsh"] = "raw"
    """What a neuron learns: 16 logits of gates, the 4 corners of its truth table, or 4 Walsh coefficients."""

    estimator: Literal["soft", "hard", "gumbel"] = "soft"
    """In training, a neuron is the mean of its gates, or its likeliest gate or a sampled one with a straight-through
    gradient. Evaluation reports soft and hard either way."""

    wiring: Literal["random", "unique", "structured"] = "unique"
    """Inputs of a neuron: any two; two different ones with no pair twice in a layer while there are pairs left; or
    neighbours in the image, at a growing distance from layer to layer."""

    backend: Literal["auto", "eager", "cpu", "triton"] = "auto"
    """Who computes: `cpu` and `triton` (CUDA) are the compiled kernels, `eager` plain PyTorch; `auto` takes the fastest
    that is there."""


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


class SNN(Section):
    architecture: str = "12C5-MP2-64C5-MP2-FC10"
    """Layers: 12C5 is a 5×5 convolution to 12 channels, MP2 a 2×2 max pooling, FC10 a dense layer to 10 neurons."""

    tau: Annotated[float, Field(ge=1)] = 2.0
    """Membrane time constant in frames; 1 keeps nothing from frame to frame."""

    threshold: Annotated[float, Field(gt=0)] = 1.0
    """Membrane potential at which a neuron spikes."""

    surrogate: Literal["atan", "sigmoid", "fast_sigmoid", "triangle"] = "atan"
    """Stand-in for the derivative of a spike."""

    reset: Literal["hard", "soft"] = "hard"
    """After a spike the membrane goes to zero (hard) or loses the threshold (soft)."""

    detach_reset: bool = True
    """Leave the reset out of the gradient."""

    readout: Literal["membrane", "rate"] = "membrane"
    """Class scores: mean membrane potential of the last layer, or its firing rate."""

    dropout: Fraction = 0.0
    """Part of the flattened spikes left out before the last dense layer in a training step."""


class Model(Section):
    model_type: Literal["DiffLogic", "CNN", "MLP", "SNN"]
    """Which network; the section of its name holds its sizes."""

    weights: PathValue | None = None
    """Start from the weights in this file."""

    difflogic: DiffLogic = DiffLogic()
    cnn: CNN = CNN()
    mlp: MLP = MLP()
    snn: SNN = SNN()


def check_logic_sizes(logic: DiffLogic, inputs: int, classes: int) -> None:
    """Raise `ValueError`, with numbers that work, for a logic network that would not see all inputs or all classes.

    A layer of n two-input neurons reaches 2n inputs, and the outputs are divided evenly among the classes.
    """
    least = -(-inputs // 2)
    fitting = -(-max(least, classes) // classes) * classes
    if 2 * logic.num_neurons < inputs:
        raise ValueError(
            f"model.difflogic.num_neurons {logic.num_neurons} has {2 * logic.num_neurons} wires for {inputs} inputs, "
            f"so some would not be connected; use at least {fitting}"
        )
    if logic.num_neurons % classes:
        below = logic.num_neurons // classes * classes
        works = [str(count) for count in (below, below + classes) if count >= fitting]
        raise ValueError(
            f"model.difflogic.num_neurons {logic.num_neurons} cannot be divided among {classes} classes; "
            f"use {' or '.join(works)}"
        )
