"""Derivatives that stand in for the step function's, which is zero almost everywhere.

A neuron spikes where u = h - threshold >= 0. The backward pass uses one of

    atan          α/2 / (1 + (π/2 αu)²)      α = 2    Fang et al. 2021
    sigmoid       α σ(αu) (1 - σ(αu))        α = 4    σ(x) = 1 / (1 + exp(-x))
    fast_sigmoid  1 / (1 + α |u|)²           α = 25   Zenke and Ganguli 2018
    triangle      max(0, α - α² |u|)         α = 1    Esser et al. 2016

All are 1 at the threshold with the α given here, which is the one where no other is asked for; a larger one is steeper.
`neuron_kernels` and `neuron_triton` have the same four for their kernels.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor


def atan(u: Tensor, alpha: float) -> Tensor:
    return alpha / 2 / (1 + (math.pi / 2 * alpha * u).square())


def sigmoid(u: Tensor, alpha: float) -> Tensor:
    s = torch.sigmoid(alpha * u)
    return alpha * s * (1 - s)


def fast_sigmoid(u: Tensor, alpha: float) -> Tensor:
    return 1 / (1 + alpha * u.abs()).square()


def triangle(u: Tensor, alpha: float) -> Tensor:
    return (alpha - alpha * alpha * u.abs()).clamp(min=0)


SURROGATES: dict[str, Callable[[Tensor, float], Tensor]] = {
    "atan": atan,
    "sigmoid": sigmoid,
    "fast_sigmoid": fast_sigmoid,
    "triangle": triangle,
}

ALPHAS = {"atan": 2.0, "sigmoid": 4.0, "fast_sigmoid": 25.0, "triangle": 1.0}
"""The steepness of each where a rule does not say."""

NUMBERS = {name: number for number, name in enumerate(SURROGATES)}
"""What the kernels call them."""
