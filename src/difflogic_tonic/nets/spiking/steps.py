"""Sequences of unequal length without their padding, and what layers remember from one to the next.

Samples are ordered from the longest to the shortest, and the steps laid one after the other: step t holds the first
`counts[t]` samples. Layers without memory see one batch of true frames (so that padding costs nothing and does not
enter a batch normalisation), and a neuron finds its own past at the same place in the step before.

What is the same in every step, such as a still image, may be given once, [counts[0], ...]: `is_static` and `spread`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from difflogic_tonic.nets.spiking.recompute import Recompute


class Memory:
    """What the layers of a network know when a call ends, to be handed to the next one.

    Without it every call starts from rest. One memory belongs to one batch of sequences, the frames of which arrive in
    several calls, `PackedSteps(..., memory=memory)`; it is in the order of the batch and outside of every gradient.
    """

    def __init__(self) -> None:
        self._states: dict[nn.Module, Tensor] = {}

    def recall(self, module: nn.Module, order: Tensor) -> Tensor | None:
        """State [len(order), ...] of these samples; None before the first call. `ValueError` for another batch size."""
        state = self._states.get(module)
        if state is None:
            return None
        if len(state) != len(order):
            raise ValueError(f"the memory is of {len(state)} samples, the batch has {len(order)}; begin a new Memory")
        return state.index_select(0, order)

    def keep(self, module: nn.Module, state: Tensor, order: Tensor) -> None:
        """Remember `state` [len(order), ...] of these samples."""
        self._states[module] = state.detach().index_select(0, torch.argsort(order))


@dataclass(frozen=True)
class PackedSteps:
    """`counts[t]` samples in step t, never increasing; `order[i]` is the place in the batch of sample i."""

    counts: list[int]
    order: Tensor
    memory: Memory | None = None
    """Where layers find their state, and leave it; without it they start from rest and leave nothing."""

    recompute: "Recompute | None" = None
    """Whether layers are computed again in the backward pass; not with a memory."""

    def pack(self, frames: Tensor) -> Tensor:
        """[T, B, ...] to [sum(counts), ...]."""
        return torch.cat([frames[t].index_select(0, self.order[:n]) for t, n in enumerate(self.counts)])

    def sum(self, values: Tensor) -> Tensor:
        """[sum(counts), N] summed over each sample's steps: [B, N], in the order of the batch."""
        n_samples = self.counts[0]
        total = values.new_zeros(n_samples, values.shape[1])
        for step in values.split(self.counts):
            total = total + F.pad(step, (0, 0, 0, n_samples - len(step)))
        return total[torch.argsort(self.order)]

    def repeat(self, values: Tensor) -> Tensor:
        """[B, ...], one value per sample from the longest to the shortest, to [sum(counts), ...]."""
        return torch.cat([values[:n] for n in self.counts])

    def is_static(self, x: Tensor) -> bool:
        """Whether x is one value per sample, [counts[0], ...], that stands for every one of several steps."""
        return len(self.counts) > 1 and len(x) == self.counts[0]

    def spread(self, x: Tensor) -> Tensor:
        """[sum(counts), ...] of x, which may be static."""
        return self.repeat(x) if self.is_static(x) else x

    def recall(self, module: nn.Module) -> Tensor | None:
        """What `module` kept at the end of the call before, [counts[0], ...] in packed order; None for rest."""
        return None if self.memory is None else self.memory.recall(module, self.order)

    def keep(self, module: nn.Module, state: Tensor) -> None:
        """Let `module` find `state` [counts[0], ...], that of each sample after its last step, in the next call."""
        if self.memory is not None:
            self.memory.keep(module, state, self.order)

    def scan(
        self, values: Tensor, state: Tensor, advance: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    ) -> tuple[Tensor, Tensor]:
        """`advance` from step to step: (values, state) of its samples to (output, state).

        The outputs [sum(counts), ...], and the state [counts[0], ...] of each sample after its last step.
        """
        outputs, ended = [], []
        for value in values.split(self.counts):
            if len(value) < len(state):
                ended.append(state[len(value) :])
                state = state[: len(value)]
            output, state = advance(value, state)
            outputs.append(output)
        return torch.cat(outputs), torch.cat([state, *reversed(ended)])

    def in_chunks(self, size: int) -> Iterator[tuple[slice, "PackedSteps"]]:
        """The rows and the steps of every `size` steps (the last time maybe fewer); states pass from one to the next.

        They keep their gradient, and end in the memory of these steps.
        """
        chain = Chain(self)
        row = 0
        for begin in range(0, len(self.counts), size):
            counts = self.counts[begin : begin + size]
            yield slice(row, row + sum(counts)), PackedSteps(counts, self.order[: counts[0]], chain)
            row += sum(counts)
        for module, state in chain.states.items():
            self.keep(module, state)


class Chain(Memory):
    """States [counts[0], ...] between the chunks of `whole`, in packed order and with their gradient.

    Rows of samples that have ended stay as they are. What it does not have is in the memory of `whole`.
    """

    def __init__(self, whole: PackedSteps, states: dict[nn.Module, Tensor] | None = None) -> None:
        super().__init__()
        self.whole = whole
        self.states = dict(states or {})

    def recall(self, module: nn.Module, order: Tensor) -> Tensor | None:
        state = self.states.get(module)
        if state is None:
            state = self.whole.recall(module)
        return None if state is None else state[: len(order)]

    def keep(self, module: nn.Module, state: Tensor, order: Tensor) -> None:
        before = self.states.get(module, state)
        self.states[module] = torch.cat((state, before[len(state) :])) if len(state) < len(before) else state


def pack_steps(
    n_steps: int, n_samples: int, lengths: Tensor | None, device: torch.device, memory: Memory | None = None
) -> PackedSteps:
    """How a batch [n_steps, n_samples, ...] is packed. Raises `ValueError` for lengths outside 1 … n_steps."""
    if lengths is None:
        return PackedSteps([n_samples] * n_steps, torch.arange(n_samples, device=device), memory)
    on_host = lengths.cpu()  # the number of samples in each step decides shapes
    if int(on_host.min()) < 1 or int(on_host.max()) > n_steps:
        raise ValueError(f"lengths from {on_host.min()} to {on_host.max()} in a batch of {n_steps} steps")
    counts = (on_host > torch.arange(int(on_host.max())).unsqueeze(1)).sum(dim=1).tolist()
    return PackedSteps(counts, torch.argsort(on_host, descending=True, stable=True).to(device), memory)
