"""The section `model.snn`: spiking networks."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from difflogic_tonic.config.sections import Fraction, Positive, Section

IMAGE_STEPS = 4
"""Steps that an image is shown where a config does not say: those of the Fashion-MNIST example."""


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

    readout: Literal["membrane", "current", "rate"] = "membrane"
    """Class scores: means over the steps of what the last layer charges a membrane without threshold to, of its
    currents, or of the spikes of its neurons (its firing rate)."""

    steps: Positive | None = None
    """Steps that an image is shown; default 4. Events bring their own: the frames of a recording."""

    encoding: Literal["direct", "rate", "latency", "delta"] = "direct"
    """How an image becomes that many frames: as it is at every step, as random spikes at a rate of its brightness, as
    one spike that is the earlier the brighter, or as a spike whenever it differs by `delta_level` from what the spikes
    so far add up to. Frames of events: `direct` or `delta`."""

    delta_level: Annotated[float, Field(gt=0, le=1e3)] | None = None
    """Level of `encoding: delta`, images being from 0 to 1 and a frame of events log(1 + count). Default: 1 / `steps`,
    and for events log 2, the value of one event."""

    dropout: Fraction = 0.0
    """Part of the flattened spikes left out before the last dense layer in a training step."""

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
    if images:
        return
    if snn.steps is not None:
        raise ValueError(
            "model.snn.steps is for images; a recording of events has as many steps as frames: use data.max_frames"
        )
    if snn.encoding in ("rate", "latency"):
        raise ValueError(
            f"model.snn.encoding: {snn.encoding} is for images; events come in time already: use direct or delta"
        )
