"""Logic neurons and one layer of them, as plain torch: the reference that every kernel is tested against."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from difflogic_tonic.errors import ConfigError
from difflogic_tonic.nets.logic.gates import bilinear
from difflogic_tonic.nets.logic.parametrization import (
    ESTIMATORS,
    INITS,
    PARAMETRIZATIONS,
    hard_coefficients,
    soft_coefficients,
    straight_through_coefficients,
)
from difflogic_tonic.nets.logic.wiring import check_wiring


class LogicNeurons(nn.Module):
    """n trained neurons and how they compute; what they read is up to the layers made of them.

    `weight` float32[n, 16 | 4] is trained. Hard mode, temperatures and gate counts find the neurons of a network by
    this class.
    """

    def __init__(
        self,
        n: int,
        *,
        parametrization: str = "raw",
        estimator: str = "soft",
        init: str = "random",
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        check_choice("parametrization", parametrization, PARAMETRIZATIONS)
        check_choice("estimator", estimator, ESTIMATORS)
        check_choice("init", init, INITS)
        self.parametrization = parametrization
        self.estimator = estimator
        self.hard = False
        self.temperature = 1.0
        rules = PARAMETRIZATIONS[parametrization]
        self.weight = nn.Parameter(rules.residual(n) if init == "residual" else rules.random(n, generator))

    @property
    def neurons(self) -> int:
        """Trained neurons."""
        return self.weight.shape[0]

    @property
    def circuit_gates(self) -> int:
        """Gates of the circuit that the layer becomes, before any is simplified away."""
        return self.neurons

    def coefficients(self) -> Tensor:
        """float32[n, 4]: what one forward pass needs to know of the weights, by mode and estimator."""
        rules = PARAMETRIZATIONS[self.parametrization]
        if self.hard:
            return hard_coefficients(rules, self.weight)
        if self.estimator == "soft" or not self.training:
            return soft_coefficients(rules, self.weight, self.temperature)
        return straight_through_coefficients(rules, self.weight, self.temperature, noisy=self.estimator == "gumbel")

    @property
    def mixes_logits(self) -> bool:
        """Whether `coefficients` is now the softmax of sixteen logits, which a kernel may compute by itself."""
        return self.parametrization == "raw" and not self.hard and (self.estimator == "soft" or not self.training)

    @property
    def chooses_logits(self) -> bool:
        """Whether it is now the likeliest of sixteen gates with the gradient of that softmax: a kernel may, too."""
        return self.parametrization == "raw" and not self.hard and self.estimator == "hard" and self.training

    def gates(self) -> Tensor:
        """int64[n]: the gate of each neuron after discretisation."""
        rules = PARAMETRIZATIONS[self.parametrization]
        with torch.no_grad():
            return rules.gates(rules.logits(self.weight))


class LogicLayer(LogicNeurons):
    """n neurons of two inputs: [in_features, batch] -> [n, batch], values in [0, 1].

    `weight` float32[n, 16 | 4] is trained; `wiring` int32[2, n] is a buffer and so travels with the weights.
    Layout is [features, batch]: a neuron reads two whole rows.
    """

    wiring: Tensor

    def __init__(
        self,
        in_features: int,
        wiring: Tensor,
        *,
        parametrization: str = "raw",
        estimator: str = "soft",
        init: str = "random",
        generator: torch.Generator,
    ) -> None:
        assert wiring.dim() == 2, wiring.shape
        assert wiring.dtype == torch.int32, wiring.dtype
        assert 0 <= int(wiring.min()) <= int(wiring.max()) < in_features, (wiring.min(), wiring.max(), in_features)
        super().__init__(
            wiring.shape[1], parametrization=parametrization, estimator=estimator, init=init, generator=generator
        )
        self.in_features = in_features
        self._connect(wiring)

    def _connect(self, wiring: Tensor) -> None:
        self.register_buffer("wiring", wiring)

    @property
    def out_features(self) -> int:
        return self.weight.shape[0]

    @property
    def has_fixed_wiring(self) -> bool:
        """Whether a neuron reads two inputs now, as kernels expect, and not a mean of several."""
        return True

    def check_inputs(self) -> None:
        """ConfigError where a neuron reads what is not there: the state of another network was loaded."""
        check_wiring(self.wiring, self.in_features)

    def forward(self, x: Tensor, coefficients: Tensor | None = None, backend: str = "eager") -> Tensor:
        """`coefficients` [n, 4]: instead of what the method of this name would give now.

        `backend` is for layers that have kernels of their own; this one is plain torch.
        """
        a, b = x.index_select(0, self.wiring[0]), x.index_select(0, self.wiring[1])
        return bilinear(self.coefficients() if coefficients is None else coefficients, a, b)

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, {self.parametrization}, {self.estimator}"


def check_choice(key: str, value: str, choices: object) -> None:
    """ConfigError naming the choices, where `value` is none of them."""
    names = list(choices)  # type: ignore[call-overload]
    if value not in names:
        raise ConfigError(f"{key}: {value!r} is none of {', '.join(names)}")


@contextmanager
def hard_mode(model: nn.Module) -> Iterator[None]:
    """Inside, every logic layer of `model` is its most likely gates: on 0/1 inputs all values are exactly 0 or 1.

    Changes neither weights nor the train/eval mode; nests; the layers are as before when it is left.
    """
    layers = [module for module in model.modules() if isinstance(module, LogicNeurons)]
    before = [layer.hard for layer in layers]
    for layer in layers:
        layer.hard = True
    try:
        yield
    finally:
        for layer, was_hard in zip(layers, before, strict=True):
            layer.hard = was_hard


def has_hard_mode(model: nn.Module) -> bool:
    """Whether `hard_mode` changes anything: whether there are logic neurons in `model`."""
    return any(isinstance(module, LogicNeurons) for module in model.modules())


def set_temperature(model: nn.Module, temperature: float) -> None:
    """Divide the logits of every logic layer by `temperature` (> 0, 1 = as trained) from now on, hard mode apart."""
    if not temperature > 0:
        raise ConfigError(f"temperature must be above 0, not {temperature}")
    for module in model.modules():
        if isinstance(module, LogicNeurons):
            module.temperature = temperature
