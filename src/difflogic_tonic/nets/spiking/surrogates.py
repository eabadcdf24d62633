"""Derivatives that stand in for the step function's, which is zero almost everywhere.

A neuron spikes where u = h - threshold >= 0. The backward pass uses one of

    atan          1 / (1 + (πu)²)            Fang et al. 2021, with alpha = 2
    sigmoid       4 σ(4u) (1 - σ(4u))        σ(x) = 1 / (1 + exp(-x))
    fast_sigmoid  1 / (1 + 25 |u|)²          Zenke and Ganguli 2018
    triangle      max(0, 1 - |u|)            Esser et al. 2016

All are 1 at the threshold. `neuron_cpu` has the same four for its kernel.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor


def atan(u: Tensor) -> Tensor:
    return 1 / (1 + (math.pi * u).square())


def sigmoid(u: Tensor) -> Tensor:
    s = torch.sigmoid(4 * u)
    return 4 * s * (1 - s)


def fast_sigmoid(u: Tensor) -> Tensor:
    return 1 / (1 + 25 * u.abs()).square()


def triangle(u: Tensor) -> Tensor:
    return (1 - u.abs()).clamp(min=0)


SURROGATES: dict[str, Callable[[Tensor], Tensor]] = {
    "atan": atan,
    "sigmoid": sigmoid,
    "fast_sigmoid": fast_sigmoid,
    "triangle": triangle,
}
