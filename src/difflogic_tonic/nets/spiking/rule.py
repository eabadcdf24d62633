"""The constants of spiking neurons."""

from dataclasses import dataclass

from difflogic_tonic.nets.spiking.surrogates import SURROGATES


@dataclass(frozen=True)
class NeuronRule:
    """The constants of a leaky integrate-and-fire neuron. Raises `ValueError` outside their ranges."""

    tau: float = 2.0
    """Membrane time constant in steps, >= 1."""

    threshold: float = 1.0
    reset: str = "hard"
    detach_reset: bool = True
    """Leave the reset out of the gradient."""

    surrogate: str = "atan"

    def __post_init__(self) -> None:
        if not self.tau >= 1:
            raise ValueError(f"tau {self.tau}: expected at least 1 step")
        if not self.threshold > 0:
            raise ValueError(f"threshold {self.threshold}: expected a positive number")
        if self.reset not in ("hard", "soft"):
            raise ValueError(f"reset {self.reset!r}: expected hard or soft")
        if self.surrogate not in SURROGATES:
            raise ValueError(f"surrogate {self.surrogate!r}: expected one of {', '.join(SURROGATES)}")

    @property
    def decay(self) -> float:
        return 1 / self.tau
