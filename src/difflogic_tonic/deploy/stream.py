"""A stream of events classified frame by frame while it comes in."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from difflogic_tonic.events import Events
from difflogic_tonic.events.live import Framer, LiveFrames
from difflogic_tonic.netlist import Circuit
from difflogic_tonic.netlist.engine import Engine, Form, State


@dataclass(frozen=True)
class Answers:
    """What some frames of a stream were taken for.

    frames     as they came, u8[T, bytes]; ends_us i64[T] and n_events i64[T] of each
    scores     int32[T, classes], the ones of each class
    votes      float64[T, classes], the mean probability of each class over all frames so far; with a state the mean
               score, or that of this frame, as the network reads it
    latency    seconds from the arrival of the last of their events to the answers
    """

    frames: LiveFrames
    scores: NDArray[np.int32]
    votes: NDArray[np.float64]
    latency: float

    def __len__(self) -> int:
        return len(self.scores)


@dataclass
class Totals:
    """What a stream was, once it is over. `seconds`: working, without waiting for events."""

    events: int = 0
    frames: int = 0
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    """One for every frame."""
    vote: NDArray[np.float64] | None = None

    def latency(self, percent: float) -> float:
        return float(np.percentile(self.latencies, percent)) if self.latencies else 0.0


class Classifier:
    """A circuit that is shown one frame after the other."""

    def __init__(self, circuit: Circuit, engine: Engine) -> None:
        self.circuit = circuit
        self.engine = engine
        self._state: State | None = None
        self._sum = np.zeros(circuit.netlist.classes)
        self._n = 0

    def __call__(self, stored: NDArray[np.uint8], as_bits: bool) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """Scores and votes of frames u8[T, bytes], counts or (`as_bits`) bits, the lowest of a byte first."""
        inputs, form = self._inputs(stored, as_bits)
        if self.circuit.readout == "frame":
            scores = self.engine.scores(inputs, form)
            # logits are float32 and probabilities float64, as in the evaluation of a run
            terms = _softmax((scores.astype(np.float32) / np.float32(self.circuit.netlist.tau)).astype(np.float64))
        else:
            scores = np.empty((len(inputs), self.circuit.netlist.classes), np.int32)
            for row in range(len(inputs)):
                scores[row : row + 1], self._state = self.engine.step(inputs[row : row + 1], self._state, form)
            terms = scores.astype(np.float64)
        if self.circuit.readout == "last":
            return scores, terms
        sums = self._sum + terms.cumsum(0)
        n = self._n + np.arange(1, len(terms) + 1)
        if len(terms):
            self._sum, self._n = sums[-1], int(n[-1])
        return scores, sums / n[:, None]

    def _inputs(self, stored: NDArray[np.uint8], as_bits: bool) -> tuple[np.ndarray, Form]:
        code = self.circuit.code
        if code.is_binary:  # a bit is whether a value is above zero, which the evaluator finds out itself
            return stored, "packed" if as_bits else "bytes"
        counts = np.unpackbits(stored, axis=1, count=code.features, bitorder="little") if as_bits else stored
        return code.bits(counts), "bytes"


def classify(
    pieces: Iterator[Events],
    framer: Framer,
    classifier: Classifier,
    batch: int,
    show: Callable[[Answers], None],
    totals: Totals,
) -> None:
    """Run a stream to its end; `show` gets the answers of every `batch` frames or fewer, as soon as they are there.

    `totals` are added to, so that they are known where the stream is interrupted.
    """
    as_bits = framer.recipe.storage == "bits"

    def answer(found: LiveFrames, arrived: float) -> None:
        for start in range(0, len(found), batch):
            rows = slice(start, start + batch)
            part = LiveFrames(found.frames[rows], found.ends_us[rows], found.n_events[rows])
            scores, votes = classifier(part.frames, as_bits)
            latency = time.perf_counter() - arrived
            totals.frames += len(part)
            totals.latencies += [latency] * len(part)
            totals.vote = votes[-1]
            totals.seconds += time.perf_counter() - arrived
            show(Answers(part, scores, votes, latency))
            arrived = time.perf_counter()
        totals.seconds += time.perf_counter() - arrived

    for events in pieces:
        arrived = time.perf_counter()
        answer(framer.take(events), arrived)
    answer(framer.finish(), time.perf_counter())


def _softmax(logits: np.ndarray) -> NDArray[np.float64]:
    raised = np.exp(logits - logits.max(1, keepdims=True))
    found: NDArray[np.float64] = raised / raised.sum(1, keepdims=True)
    return found
