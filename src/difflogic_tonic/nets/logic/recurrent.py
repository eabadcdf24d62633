"""Logic networks with a memory: state bits that one frame leaves behind for the next."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from difflogic_tonic.errors import ConfigError
from difflogic_tonic.nets.logic.layer import LogicLayer, check_choice
from difflogic_tonic.nets.logic.network import GroupSum, LogicNetwork, default_tau
from difflogic_tonic.nets.logic.parametrization import PARAMETRIZATIONS
from difflogic_tonic.nets.logic.wiring import WIRINGS, Place, random_wiring
from difflogic_tonic.nets.spiking.steps import PackedSteps, pack_steps

READOUTS: tuple[str, ...] = ("mean", "last")

RECURRENT_WIRINGS: tuple[str, ...] = ("random", "unique")

HOLD_SCALE = 1.6
"""Times the residual start, for the neurons that a state bit goes through: four of them in a row then lose 3% of it at
a frame where the plain residual start loses a third."""


class RecurrentLogicNetwork(nn.Module):
    """Frames of 0 and 1 [T, B, in_features] -> logits float32[B, classes], through a circuit with `state` state bits.

    At each frame the same stack of layers reads the frame and the state, which is 0 before the first frame. The first
    `state` neurons of its last layer are the next state, the others are the outputs, split evenly among the classes.
    Values lie in [0, 1], in hard mode they are exactly 0 or 1. `readout`: the logits are those of a recording's last
    true frame, or their mean over its true frames.

    Each state bit has a lane through the stack: the k-th neuron of a layer reads the k-th of the layer before as its
    first input, and starts as a gate that passes it on. So a state is kept until training finds a reason to change it,
    and gradients reach the first frames from the first step on.

    The other arguments are those of `LogicNetwork`. `wiring` is that of the neurons outside of the lanes.
    """

    def __init__(
        self,
        in_features: int,
        state: int,
        num_neurons: int | Sequence[int],
        num_layers: int,
        classes: int,
        tau: float | None = None,
        seed: int = 0,
        *,
        readout: str = "mean",
        backend: str = "auto",
        parametrization: str = "raw",
        estimator: str = "soft",
        init: str | None = None,
        wiring: str = "unique",
    ) -> None:
        super().__init__()
        check_choice("readout", readout, READOUTS)
        check_choice("wiring", wiring, RECURRENT_WIRINGS)
        widths = [num_neurons] * num_layers if isinstance(num_neurons, int) else list(num_neurons)
        check_state(in_features, state, widths, classes)
        self.in_features = in_features
        self.state = state
        self.readout = readout
        self.network = LogicNetwork(
            in_features + state,
            widths,
            num_layers,
            classes=widths[-1],  # groups of one: the values of the last layer themselves
            tau=1.0,
            seed=seed,
            backend=backend,
            parametrization=parametrization,
            estimator=estimator,
            init=init,
            wiring=partial(_with_lanes, state, WIRINGS[wiring]),
        )
        outputs = widths[-1] - state
        self.head = GroupSum(classes, default_tau(outputs, classes) if tau is None else tau)
        for layer in self.network.layers:
            assert isinstance(layer, LogicLayer)
            with torch.no_grad():
                layer.weight[:state] = HOLD_SCALE * PARAMETRIZATIONS[parametrization].residual(state)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """x [T, B, ...], floating (taken as it is) or integer/bool (above zero is 1); `lengths` i64[B], all T if None.

        Frames behind a recording's length are not looked at. Noise of an estimator is drawn once per call: all frames
        go through one circuit. Raises ValueError for lengths outside 1 … T.
        """
        steps = pack_steps(x.shape[0], x.shape[1], lengths, x.device)
        frames = self._as_values(steps.pack(x.flatten(2))).split(steps.counts)
        coefficients = self.network.coefficients()
        state = self.initial_state(steps.counts[0])
        scores = []
        for frame in frames:
            score, state = self._step(frame, state[: len(frame)], coefficients)
            scores.append(score)
        if self.readout == "last":
            return _last(scores, steps)
        n_steps = torch.cat(scores).new_ones(sum(steps.counts), 1)
        return steps.sum(torch.cat(scores)) / steps.sum(n_steps)

    def step(self, frame: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """One frame [B, ...] of a stream and the state before it to the logits of this frame and the state after it.

        state: float [B, state], None before the first frame. The mean of the logits, or the last of them, is what
        `forward` gives for the whole (in training, an estimator draws its noise anew at each step).
        """
        frame = self._as_values(frame.flatten(1))
        state = self.initial_state(len(frame)) if state is None else state
        return self._step(frame, state, self.network.coefficients())

    def initial_state(self, batch: int) -> Tensor:
        """Zeros [batch, state]."""
        return next(self.parameters()).new_zeros(batch, self.state)

    def _as_values(self, x: Tensor) -> Tensor:
        return (x if x.is_floating_point() else x > 0).to(next(self.parameters()).dtype)

    def _step(self, frame: Tensor, state: Tensor, coefficients: Tensor) -> tuple[Tensor, Tensor]:
        values = self.network(torch.cat((frame, state), 1), coefficients=coefficients)
        # one split, not two slices: its gradient is one copy, theirs are two blocks of zeros and a sum
        after, outputs = values.split([self.state, values.shape[1] - self.state], 1)
        return self.head(outputs.t()), after

    def extra_repr(self) -> str:
        return f"{self.in_features}, state={self.state}, readout={self.readout}"


def check_state(in_features: int, state: int, widths: Sequence[int], classes: int) -> None:
    """ConfigError where the neurons besides the lanes of the state leave inputs out or do not split into classes."""
    if state < 1 or not widths or min(widths) <= state:
        raise ConfigError(f"state {state} must be at least 1 and smaller than every layer, which have {list(widths)}")
    for before, after in zip((in_features + state, *widths), widths, strict=False):
        if 2 * (after - state) < before:
            raise ConfigError(
                f"besides the {state} of the state, {after - state} neurons have {2 * (after - state)} inputs and leave"
                f" some of {before} unconnected; more neurons or fewer state bits reach them all"
            )
    if (widths[-1] - state) % classes:
        raise ConfigError(
            f"num_neurons {widths[-1]} without the {state} of the state does not split into {classes} classes"
        )


def _with_lanes(
    state: int, draw: Callable[[Place, torch.Generator], Tensor], place: Place, generator: torch.Generator
) -> Tensor:
    """Neuron k < state reads lane k and any other input; `draw` wires the other neurons, to all inputs."""
    others = draw(replace(place, neurons=place.neurons - state), generator)
    start = place.in_features - state if place.layer == 0 else 0  # the frame comes before the state
    lane = torch.arange(start, start + state, dtype=torch.int32)
    second = random_wiring(replace(place, neurons=state), generator)[0]
    second = torch.where(second == lane, (second + 1) % place.in_features, second).to(torch.int32)
    return torch.cat((torch.stack((lane, second)), others), 1)


def _last(scores: list[Tensor], steps: PackedSteps) -> Tensor:
    """Of packed scores, one [counts[t], classes] per step, those of each sample's last step: [B, classes]."""
    after = [*steps.counts[1:], 0]
    # samples are ordered from the longest to the shortest, so the last step holds the first of them
    ends = [score[n:] for score, n in zip(scores, after, strict=True)]
    return torch.cat(ends[::-1])[torch.argsort(steps.order)]
