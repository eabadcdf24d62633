"""The section `model.snn`: spiking networks."""

from typing import Annotated, Literal

from pydantic import Field

from difflogic_tonic.config.sections import Fraction, Section


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
