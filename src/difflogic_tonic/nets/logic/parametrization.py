"""How the trained numbers of a neuron become its four coefficients.

Parametrizations (what is trained, per neuron):

    raw    16 logits, one per gate: coefficients = softmax(w / T) @ gates          (arXiv 2210.08277)
    light   4 logits, one per corner of the truth table: corners = sigmoid(w / T)  (input-wise, arXiv 2510.03250)
    walsh   4 Walsh coefficients; their Walsh-Hadamard transform gives the logits of the corners (after arXiv
            2602.03527, which puts the sigmoid behind the interpolation; on inputs that are 0 or 1 both are the same)

Estimators (what the forward pass of training uses; the backward pass is always that of the relaxation):

    soft    the relaxation itself
    hard    the most likely gate, straight-through
    gumbel  a gate drawn with Gumbel (raw) or logistic (light, walsh) noise, straight-through (arXiv 2506.07500).
            One draw per neuron and call; in training a function of the step, so a resumed run repeats it.

Outside of training there is no noise and no straight-through: evaluation is either soft or hard.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from difflogic_tonic.nets.logic.gates import PASS_A, corners_to_coefficients, gate_coefficients
from difflogic_tonic.nets.moment import generator_for

ESTIMATORS: tuple[str, ...] = ("soft", "hard", "gumbel")
INITS: tuple[str, ...] = ("random", "residual")

RESIDUAL_LOGIT = 5.0
"""Logit of gate A above the fifteen others in the residual start: probability 0.91 (arXiv 2411.04732 uses 0.9)."""

_RESIDUAL_CORNER_LOGIT = math.log(0.95 / 0.05)


@dataclass(frozen=True)
class Parametrization:
    """One way to write a neuron down.

    `size`: numbers per neuron. `logits(w)`: [n, size] to what the noise is added to and the nonlinearity is applied to.
    `relax(logits)`: to coefficients [n, 4], differentiable. `gates(logits)`: to the most likely gate int64[n].
    `noise(logits)`: one draw of the noise under which the most likely gate is a sample.
    """

    size: int
    logits: Callable[[Tensor], Tensor]
    relax: Callable[[Tensor], Tensor]
    gates: Callable[[Tensor], Tensor]
    noise: Callable[[Tensor], Tensor]
    random: Callable[[int, torch.Generator], Tensor]
    residual: Callable[[int], Tensor]


def _relax_raw(logits: Tensor) -> Tensor:
    return torch.softmax(logits, -1) @ gate_coefficients(logits.dtype, logits.device)


def _relax_corners(logits: Tensor) -> Tensor:
    return corners_to_coefficients(torch.sigmoid(logits))


def _gates_of_corners(logits: Tensor) -> Tensor:
    shifts = torch.arange(3, -1, -1, device=logits.device)
    return ((logits > 0).long() << shifts).sum(-1)


def _gumbel(logits: Tensor) -> Tensor:
    return -_exponential(logits).log()


def _logistic(logits: Tensor) -> Tensor:
    # the difference of two Gumbel draws; sampled without the poles of log(u / (1 - u))
    return _exponential(logits).log() - _exponential(logits).log()


def _exponential(like: Tensor) -> Tensor:
    return torch.empty_like(like).exponential_(generator=generator_for(like.device))


def _hadamard(like: Tensor) -> Tensor:
    # rows: corners 00, 01, 10, 11; columns: 1, A, B, AB with A, B in {-1, +1}. Computed where it is used: a CUDA graph
    # cannot hold the copy of a list to the device
    corner = torch.arange(4, device=like.device)
    a, b = 2 * (corner >> 1) - 1, 2 * (corner & 1) - 1
    return torch.stack((torch.ones_like(a), a, b, a * b), -1).to(like.dtype)


def _walsh_logits(weight: Tensor) -> Tensor:
    return weight @ _hadamard(weight).t()


def _residual_raw(n: int) -> Tensor:
    weight = torch.zeros(n, 16)
    weight[:, PASS_A] = RESIDUAL_LOGIT
    return weight


def _residual_corners(n: int) -> Tensor:
    return _RESIDUAL_CORNER_LOGIT * torch.tensor([-1.0, -1.0, 1.0, 1.0]).repeat(n, 1)


def _normal(size: int) -> Callable[[int, torch.Generator], Tensor]:
    return lambda n, generator: torch.randn(n, size, generator=generator)


def _random_walsh(n: int, generator: torch.Generator) -> Tensor:
    # half the spread: four of them add up to corner logits of unit variance
    return torch.randn(n, 4, generator=generator) / 2


def _residual_walsh(n: int) -> Tensor:
    return _residual_corners(n) @ _hadamard(torch.zeros(())) / 4


def _same(weight: Tensor) -> Tensor:
    return weight


PARAMETRIZATIONS: dict[str, Parametrization] = {
    "raw": Parametrization(
        16, _same, _relax_raw, lambda logits: logits.argmax(-1), _gumbel, _normal(16), _residual_raw
    ),
    "light": Parametrization(4, _same, _relax_corners, _gates_of_corners, _logistic, _normal(4), _residual_corners),
    "walsh": Parametrization(
        4, _walsh_logits, _relax_corners, _gates_of_corners, _logistic, _random_walsh, _residual_walsh
    ),
}


def soft_coefficients(parametrization: Parametrization, weight: Tensor, temperature: float = 1.0) -> Tensor:
    """Coefficients [n, 4] of the relaxation; weight [n, size]."""
    return parametrization.relax(parametrization.logits(weight) / temperature)


def hard_coefficients(parametrization: Parametrization, weight: Tensor) -> Tensor:
    """Coefficients [n, 4] of the most likely gates, without a gradient: on 0/1 inputs the outputs are exactly 0/1."""
    with torch.no_grad():
        gates = parametrization.gates(parametrization.logits(weight))
        return gate_coefficients(weight.dtype, weight.device)[gates]


def straight_through_coefficients(
    parametrization: Parametrization, weight: Tensor, temperature: float, *, noisy: bool
) -> Tensor:
    """Coefficients [n, 4] of the most likely gates (of the noisy logits), with the gradient of their relaxation."""
    logits = parametrization.logits(weight)
    if noisy:
        logits = logits + parametrization.noise(logits.detach())
    soft = parametrization.relax(logits / temperature)
    hard = gate_coefficients(weight.dtype, weight.device)[parametrization.gates(logits.detach())]
    # soft - soft.detach() is exactly 0, so the value stays exactly the gate's
    return hard + (soft - soft.detach())
