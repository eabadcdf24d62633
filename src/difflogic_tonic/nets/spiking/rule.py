"""The constants of spiking neurons."""

from dataclasses import dataclass

from difflogic_tonic.nets.spiking.surrogates import ALPHAS, SURROGATES

KINDS = ("if", "lif", "plif")


@dataclass(frozen=True)
class NeuronRule:
    """How a layer of neurons integrates, fires and forgets. Raises `ValueError` outside the ranges.

        h = v + x                    if: integrate and fire
        h = v + (x - v) / tau        lif: leaky; plif: the same, 1 / tau = sigmoid(w) being learned
        h = v - v / tau + x          lif and plif without `decay_input`
        s = 1 if h >= threshold else 0
        v = 0 where s, else h        hard reset; soft: v = h - threshold * s

    with v = 0 before the first step (Gerstner and Kistler 2002, discretised as by Fang et al. 2021).
    """

    tau: float = 2.0
    """Membrane time constant in steps, >= 1; 1 keeps nothing of the step before. Of plif, where it starts, > 1."""

    threshold: float = 1.0
    reset: str = "hard"
    detach_reset: bool = True
    """Leave the reset out of the gradient."""

    surrogate: str = "atan"
    kind: str = "lif"
    decay_input: bool = True
    """Whether the input is divided by tau as well. No effect on `if`, nor has tau."""

    alpha: float | None = None
    """Steepness of the surrogate; None is that of `surrogates.ALPHAS`."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind {self.kind!r}: expected one of {', '.join(KINDS)}")
        if not self.tau >= 1:
            raise ValueError(f"tau {self.tau}: expected at least 1 step")
        if self.kind == "plif" and not self.tau > 1:
            raise ValueError(f"tau {self.tau}: expected more than 1 step, 1 / tau is the sigmoid of a number")
        if not self.threshold > 0:
            raise ValueError(f"threshold {self.threshold}: expected a positive number")
        if self.reset not in ("hard", "soft"):
            raise ValueError(f"reset {self.reset!r}: expected hard or soft")
        if self.surrogate not in SURROGATES:
            raise ValueError(f"surrogate {self.surrogate!r}: expected one of {', '.join(SURROGATES)}")
        if self.alpha is not None and not self.alpha > 0:
            raise ValueError(f"alpha {self.alpha}: expected a positive number")

    @property
    def decay(self) -> float:
        return 1 / self.tau

    @property
    def hard(self) -> bool:
        return self.reset == "hard"

    @property
    def steepness(self) -> float:
        """alpha, or what the surrogate has without it."""
        return ALPHAS[self.surrogate] if self.alpha is None else self.alpha
