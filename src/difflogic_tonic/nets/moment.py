"""The training step that a network is in: what decides its chance, and which part of the batch it sees.

Everything that a layer draws in a step is a function of (seed, step, layer, place in the batch). So it is the same
after a resume, when it is computed again for the gradients, and however many processes share the batch. Outside of a
step layers draw from torch's generators.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from difflogic_tonic.data.draws import number, words_on_device

STEP = 2000
"""Part of the keys of what a step draws: a purpose of its own, beside those of `data`."""


class Collective(Protocol):
    """What a layer can ask of all processes that share a batch. All of them must ask for the same, in one order."""

    def gather(self, values: Tensor) -> Tensor:
        """f32[n] of each process as f32[processes, n]."""
        ...

    def add(self, values: Tensor) -> None:
        """Put the sum over all processes in the place of `values`."""
        ...


@dataclass
class Moment:
    """One forward and backward pass of batch `batch` of step `step`; see `moment`.

    The network sees `own` samples from place `first` of the batch on; 0: the one that it sees counts nothing.
    """

    seed: int
    step: int
    batch: int = 0
    first: int = 0
    own: int = 1
    collective: Collective | None = None
    _layers: dict[nn.Module, int] = field(default_factory=dict)
    _n_generators: int = 0

    def keys(self, layer: nn.Module, device: torch.device) -> Tensor:
        """What decides the draws of `layer` for each sample, i64[samples]; the same however often it is asked."""
        # By the order of the first calls, which is that of the network: names would change with what is around it.
        place = self._layers.setdefault(layer, len(self._layers))
        key = torch.tensor([number(self.seed, STEP, self.step, self.batch, 0, place)]).to(device)
        return words_on_device(key, self.first + max(1, self.own))[0, self.first :]

    def generator(self, device: torch.device) -> torch.Generator:
        """For draws that do not belong to samples; another one at each call."""
        self._n_generators += 1
        made = torch.Generator(device)
        made.manual_seed(number(self.seed, STEP, self.step, self.batch, 1, self._n_generators))
        return made

    def own_seed(self, rank: int) -> int:
        """For torch's own generators in process `rank`, where several share the batch."""
        return number(self.seed, STEP, self.step, self.batch, 2, rank)


# Not a context variable: on a GPU the backward pass, which may compute layers again, has a thread of its own.
_NOW: list[Moment] = []


def now() -> Moment | None:
    """The moment that the network is in; None outside of training steps."""
    return _NOW[-1] if _NOW else None


def generator_for(device: torch.device) -> torch.Generator | None:
    """What to draw with for no sample in particular; None, torch's own one, outside of training steps."""
    return _NOW[-1].generator(device) if _NOW else None


@contextmanager
def moment(at: Moment) -> Iterator[None]:
    """Inside, forward and backward passes belong to `at`."""
    _NOW.append(at)
    try:
        yield
    finally:
        _NOW.pop()
