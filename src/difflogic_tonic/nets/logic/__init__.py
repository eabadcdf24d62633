"""Differentiable logic gate networks (Petersen et al. 2022, arXiv 2210.08277)."""

from difflogic_tonic.nets.logic.gate_report import logic_report
from difflogic_tonic.nets.logic.gates import GATE_NAMES, gate_coefficients
from difflogic_tonic.nets.logic.layer import LogicLayer, hard_mode, has_hard_mode, set_temperature
from difflogic_tonic.nets.logic.network import GroupSum, LogicNetwork, check_sizes, default_tau

__all__ = [
    "GATE_NAMES",
    "GroupSum",
    "LogicLayer",
    "LogicNetwork",
    "check_sizes",
    "default_tau",
    "gate_coefficients",
    "hard_mode",
    "has_hard_mode",
    "logic_report",
    "set_temperature",
]
