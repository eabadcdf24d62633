"""A stack of logic layers with its head, as one module, so that a kernel can take the whole of it."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from difflogic_tonic.data.batch import unpack_bits
from difflogic_tonic.errors import ConfigError
from difflogic_tonic.nets.logic.backend import BACKENDS, find_engine, run_on
from difflogic_tonic.nets.logic.cpu import STORAGES
from difflogic_tonic.nets.logic.layer import LogicLayer, check_choice
from difflogic_tonic.nets.logic.learnable import LearnableLayer, draw_candidates
from difflogic_tonic.nets.logic.peer import COMPUTES
from difflogic_tonic.nets.logic.wiring import WIRINGS, Place, check_connected

RESIDUAL_ABOVE_LAYERS = 6
"""Deeper stacks start as pass-through: gradients of a random start vanish (arXiv 2411.04732)."""


class GroupSum(nn.Module):
    """[n, batch] -> [batch, classes]: class k is the sum of the k-th n / classes rows, divided by tau."""

    def __init__(self, classes: int, tau: float) -> None:
        super().__init__()
        self.classes = classes
        self.tau = tau

    def forward(self, x: Tensor) -> Tensor:
        return x.unflatten(0, (self.classes, x.shape[0] // self.classes)).sum(1).t() / self.tau

    def extra_repr(self) -> str:
        return f"{self.classes}, tau={self.tau:g}"


def default_tau(outputs: int, classes: int) -> float:
    """A third of the square root of the outputs per class, found by measuring (docs/difflogic.md).

    The sums of independent outputs spread by half the square root, so the logits of a random network by about 1.5. The
    networks of arXiv 2210.08277 for MNIST have about as much: 800 outputs per class, tau 10; 6,400, tau 30.
    """
    return math.sqrt(outputs / classes) / 3


def check_sizes(in_features: int, widths: Sequence[int], classes: int) -> None:
    """ConfigError with numbers that would work, where inputs stay unconnected or the outputs do not split evenly."""
    if not widths or min(widths) < 1:
        raise ConfigError(f"a logic network needs at least one layer of at least one neuron, not {list(widths)}")
    for before, after in pairwise((in_features, *widths)):
        check_connected(before, after)
    if widths[-1] % classes:
        down = widths[-1] // classes * classes
        works = f"{down} or {down + classes}" if down else f"{classes}"
        raise ConfigError(f"num_neurons {widths[-1]} does not split into {classes} classes of equal size; {works} does")


class LogicNetwork(nn.Module):
    """float [batch, in_features], values in [0, 1] -> logits float32[batch, classes].

    `num_neurons` is the width of all `num_layers` layers, or one width per layer. `tau` None is `default_tau`.
    `init` None is residual above six layers, else random. `wiring` is one of WIRINGS, a function like those, or
    `learnable`: training chooses each input of a neuron among `wiring_candidates`.
    `storage` float16 keeps the values and gradients of neurons in half precision within the C kernel for CPUs.
    `input_shape` (channels, rows, columns) is what structured wiring takes for the neighbourhood of features; the other
    wirings ignore it. All randomness of the start comes from `seed`: the global generator is neither read nor moved.
    """

    def __init__(
        self,
        in_features: int,
        num_neurons: int | Sequence[int],
        num_layers: int,
        classes: int,
        tau: float | None = None,
        seed: int = 0,
        *,
        backend: str = "auto",
        parametrization: str = "raw",
        estimator: str = "soft",
        init: str | None = None,
        wiring: str | Callable[[Place, torch.Generator], Tensor] = "random",
        wiring_candidates: int = 8,
        input_shape: tuple[int, int, int] | None = None,
        storage: str = "float32",
    ) -> None:
        super().__init__()
        widths = [num_neurons] * num_layers if isinstance(num_neurons, int) else list(num_neurons)
        if len(widths) != num_layers:
            raise ConfigError(f"num_neurons lists {len(widths)} widths for num_layers {num_layers}")
        check_choice("backend", backend, BACKENDS)
        if backend == "difflogic" and (parametrization, estimator) != COMPUTES:
            raise ConfigError(
                f"backend difflogic computes parametrization {COMPUTES[0]} with estimator {COMPUTES[1]},"
                f" not {parametrization} with {estimator}; use auto"
            )
        check_choice("storage", storage, STORAGES)
        if storage != "float32" and (backend not in ("auto", "cpu") or wiring == "learnable"):
            raise ConfigError(
                f"storage {storage} is for backend cpu or auto and fixed wiring, not {backend} with {wiring};"
                " use float32"
            )
        if isinstance(wiring, str):
            check_choice("wiring", wiring, (*WIRINGS, "learnable"))
            if wiring == "learnable" and backend not in ("auto", "eager", "cpu"):
                raise ConfigError(f"backend {backend} has no learnable wiring; cpu and plain torch have: use auto")
            wiring = WIRINGS.get(wiring) or partial(draw_candidates, wiring_candidates)
        check_sizes(in_features, widths, classes)
        if init is None:
            init = "residual" if num_layers > RESIDUAL_ABOVE_LAYERS else "random"
        generator = torch.Generator().manual_seed(seed)
        self.in_features = in_features
        self.backend = backend
        self.storage = storage
        self.layers = nn.ModuleList()
        for layer, (before, after) in enumerate(pairwise((in_features, *widths))):
            place = Place(before, after, layer, num_layers, classes, input_shape)
            wires = wiring(place, generator)
            self.layers.append(
                (LogicLayer if wires.dim() == 2 else LearnableLayer)(
                    before,
                    wires,
                    parametrization=parametrization,
                    estimator=estimator,
                    init=init,
                    generator=generator,
                )
            )
        self.head = GroupSum(classes, default_tau(widths[-1], classes) if tau is None else tau)

    def forward(
        self, x: Tensor, lengths: Tensor | None = None, *, packed: bool = False, coefficients: Tensor | None = None
    ) -> Tensor:
        """x [batch, in_features], floating (taken as it is) or integer/bool (above zero is 1); `lengths` is unused.

        `packed`: x is uint8[batch, ceil(in_features / 8)], eight features to a byte, the first in the lowest bit.
        `coefficients`: what `coefficients()` gave, for calls that have to go through one and the same circuit.
        """
        x = x.flatten(1)
        columns = (self.in_features + 7) // 8 if packed else self.in_features
        assert x.shape[1] == columns, (x.shape, columns)
        fixed = all(layer.has_fixed_wiring for layer in self._layers())
        engine = find_engine(self.backend, x, self._layers()[0].weight) if fixed else None
        if engine is not None:
            return run_on(engine, self, self._layers(), x, self.head, packed, coefficients, self.storage)
        # sums over thousands of gates and their gradients need more digits than autocast would leave them
        with torch.autocast(x.device.type, enabled=False):
            return self._eager(unpack_bits(x, self.in_features, torch.uint8) if packed else x, coefficients)

    def coefficients(self) -> Tensor:
        """float[all neurons, 4], by mode and estimator: one circuit, with one draw of the noise if there is any."""
        weights = self._layers()[0].weight
        with torch.autocast(weights.device.type, enabled=False):
            return torch.cat([layer.coefficients() for layer in self._layers()])

    def _layers(self) -> list[LogicLayer]:
        return list(self.layers)  # type: ignore[arg-type]  # a ModuleList does not say of what

    def _eager(self, x: Tensor, coefficients: Tensor | None = None) -> Tensor:
        dtype = next(self.parameters()).dtype
        h = (x if x.is_floating_point() else x > 0).to(dtype).t()
        widths = [layer.out_features for layer in self._layers()]
        given = [None] * len(widths) if coefficients is None else coefficients.split(widths)
        for layer, ready in zip(self.layers, given, strict=True):
            h = layer(h, ready, self.backend)
        logits: Tensor = self.head(h)
        return logits
