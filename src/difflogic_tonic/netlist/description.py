"""A netlist with what surrounds it: how a frame becomes its inputs, and what its classes are called."""

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from difflogic_tonic.netlist.circuit import Netlist

READOUTS = ("frame", "mean", "last")


@dataclass(frozen=True)
class InputCode:
    """How counts become bits: bit l * features + f of a frame is whether its value f is at least threshold (l, f).

    frame_shape  channels, rows and columns; value f of a frame is value f of the flattened [channels, rows, columns]
    thresholds   float32[levels, 1] for all values alike, or float32[levels, features]; all above 0
    """

    frame_shape: tuple[int, int, int]
    thresholds: np.ndarray

    def __post_init__(self) -> None:
        thresholds = np.array(self.thresholds, np.float32)
        if thresholds.ndim != 2 or thresholds.shape[1] not in (1, self.features) or not len(thresholds):
            raise ValueError(f"thresholds must be [levels, 1 or {self.features}], not {list(thresholds.shape)}")
        if not (thresholds > 0).all():
            raise ValueError("thresholds must be above 0")
        thresholds.flags.writeable = False
        object.__setattr__(self, "thresholds", thresholds)

    @property
    def features(self) -> int:
        return prod(self.frame_shape)

    @property
    def levels(self) -> int:
        return len(self.thresholds)

    @property
    def n_bits(self) -> int:
        return self.levels * self.features

    @property
    def is_binary(self) -> bool:
        """One bit a value: whether it is above zero. Frames that are stored as bits can be taken as they are."""
        return self.thresholds.shape == (1, 1) and 0 < self.thresholds[0, 0] <= 1

    def bits(self, counts: np.ndarray) -> NDArray[np.bool_]:
        """Whole numbers [..., features] or [..., *frame_shape] to bool[..., n_bits]."""
        if counts.shape[-3:] == tuple(self.frame_shape):
            counts = counts.reshape(*counts.shape[:-3], self.features)
        reached = counts[..., None, :] >= self.thresholds
        return reached.reshape(*counts.shape[:-1], self.n_bits)


@dataclass(frozen=True)
class Circuit:
    """A logic network as it leaves Python.

    readout  `frame`: a sample is a frame, its class the one with the highest score. With a state a sample is a
             sequence of frames; its class has the highest mean over the scores of its frames, or is that of the last.
    """

    netlist: Netlist
    code: InputCode
    class_names: tuple[str, ...]
    readout: str = "frame"

    def __post_init__(self) -> None:
        netlist = self.netlist
        if self.code.n_bits != netlist.n_inputs - netlist.n_state:
            raise ValueError(
                f"{self.code.n_bits} bits a frame for {netlist.n_inputs - netlist.n_state} inputs besides the state"
            )
        if len(self.class_names) != netlist.classes:
            raise ValueError(f"{len(self.class_names)} class names for {netlist.classes} classes")
        if self.readout not in READOUTS or (self.readout == "frame") != (netlist.n_state == 0):
            raise ValueError(f"readout {self.readout!r} with {netlist.n_state} state bits")

    def plain(self) -> dict[str, object]:
        """What is not the netlist, as JSON data; `from_plain` reads it."""
        return {
            "frame_shape": list(self.code.frame_shape),
            "thresholds": [[float(value) for value in row] for row in self.code.thresholds],
            "class_names": list(self.class_names),
            "readout": self.readout,
        }

    @classmethod
    def from_plain(cls, netlist: Netlist, plain: object) -> "Circuit":
        """ValueError for anything that `plain` does not give."""
        if not isinstance(plain, dict):
            raise ValueError("no description of inputs and classes")
        try:
            channels, rows, columns = (int(side) for side in plain["frame_shape"])
            thresholds = np.array(plain["thresholds"], np.float32)
            names = tuple(str(name) for name in plain["class_names"])
            readout = str(plain["readout"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"description of inputs and classes: {error}") from None
        return cls(netlist, InputCode((channels, rows, columns), thresholds), names, readout)
