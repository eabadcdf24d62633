"""Differentiable logic gate networks (Petersen et al. 2022, arXiv 2210.08277).

| module            | what it holds                                                                                  |
|-------------------|------------------------------------------------------------------------------------------------|
| `gates`           | the sixteen gates and their four coefficients                                                  |
| `parametrization` | from trained numbers to coefficients: raw, light, walsh; soft, hard and Gumbel estimators      |
| `wiring`          | which inputs a neuron reads: random, unique, structured                                        |
| `learnable`       | inputs chosen in training, among candidates                                                    |
| `layer`           | one layer in plain torch, the reference; hard mode                                             |
| `network`         | the stack with its head, one module                                                            |
| `conv`, `conv_network`, `conv_cpu` | convolutional logic trees with OR-pooling; layers of them before a dense stack; |
|                   | their C kernel                                                                                 |
| `recurrent`       | the stack over the frames of a recording, with state bits                                      |
| `backend`         | which kernel takes a batch                                                                     |
| `cpu`, `cpu_build`, `kernel/` | the C kernel: the whole network per tile of samples                                |
| `gpu*`, `triton_kernels`      | the Triton kernels for CUDA                                                        |
| `peer`            | the layers of the difflogic package on our weights                                             |
| `encoders`        | event counts to thermometer bits                                                               |
| `interchange`     | states of difflogic and torchlogix networks                                                    |
| `gate_report`     | gate histogram and unused gates of a trained network                                           |
"""

from difflogic_tonic.nets.logic.conv import LogicConv
from difflogic_tonic.nets.logic.conv_network import ConvLogicNetwork
from difflogic_tonic.nets.logic.encoders import (
    Thermometer,
    distributive_thresholds,
    even_thresholds,
    fixed_thresholds,
    listed_thresholds,
)
from difflogic_tonic.nets.logic.gate_report import logic_report
from difflogic_tonic.nets.logic.gates import GATE_NAMES, gate_coefficients
from difflogic_tonic.nets.logic.layer import LogicLayer, LogicNeurons, hard_mode, has_hard_mode, set_temperature
from difflogic_tonic.nets.logic.learnable import LearnableLayer, freeze_wiring
from difflogic_tonic.nets.logic.network import GroupSum, LogicNetwork, check_sizes, default_tau
from difflogic_tonic.nets.logic.recurrent import RecurrentLogicNetwork

__all__ = [
    "GATE_NAMES",
    "ConvLogicNetwork",
    "GroupSum",
    "LearnableLayer",
    "LogicConv",
    "LogicLayer",
    "LogicNetwork",
    "LogicNeurons",
    "RecurrentLogicNetwork",
    "Thermometer",
    "check_sizes",
    "default_tau",
    "distributive_thresholds",
    "even_thresholds",
    "fixed_thresholds",
    "freeze_wiring",
    "gate_coefficients",
    "hard_mode",
    "has_hard_mode",
    "listed_thresholds",
    "logic_report",
    "set_temperature",
]
