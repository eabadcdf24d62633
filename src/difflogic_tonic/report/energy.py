"""What one recording costs in energy: an estimate for arithmetic at 45 nm, never a measurement.

    E = MACs · 4.6 pJ + ACs · 0.9 pJ + gates · 0.75 fJ

MAC     a multiplication and an addition in float32, 3.7 + 0.9 pJ
AC      an addition in float32, 0.9 pJ: what a synaptic operation (SynOp) is, one spike meeting one weight
gate    a logic gate with two inputs. A full adder is five of them, an adder of 8 bits therefore 40, and takes 0.03 pJ:
        0.75 fJ each (an adder of 32 bits would give 0.1 pJ / 160 = 0.63 fJ)

Source of the picojoules: M. Horowitz, "Computing's energy problem (and what we can do about it)", ISSCC 2014, figure
1.1.9 (45 nm, 0.9 V). What is counted, of the model that the run chose:

SNN         every spike that a layer with weights receives, times the weights that it meets, as ACs; layers that
            receive anything but spikes (the first one on images, the one behind an average pooling) as MACs
CNN, MLP    multiply-accumulates of convolutions and dense layers
DiffLogic   gates and inverters after simplification, and five gates for each output bit that is added up at the end

Left out, for all: memory traffic (at 45 nm reading 64 bits takes 10 pJ from a small cache and more than 1 nJ from DRAM,
so that it is the larger part wherever weights do not stay beside the arithmetic), wires, clock, leakage, pooling, batch
normalisation, biases, membrane updates, and whatever makes a frame out of events. A gate is counted in every
evaluation, whether its output changes or not.
"""

from dataclasses import dataclass
from typing import Any

MAC_PICOJOULES = 4.6
AC_PICOJOULES = 0.9
GATE_PICOJOULES = 0.00075
GATES_PER_ADDED_BIT = 5
"""A full adder: adding up m bits takes fewer than m of them."""

ASSUMPTIONS = (
    "energy_nj_per_recording is an estimate, not a measurement: "
    f"{MAC_PICOJOULES} pJ per MAC, {AC_PICOJOULES} pJ per SynOp (AC), {1000 * GATE_PICOJOULES:g} fJ per logic gate",
    "from Horowitz, ISSCC 2014, figure 1.1.9, 45 nm: float32 multiply 3.7 pJ, add 0.9 pJ; 8-bit add 0.03 pJ = 40 gates",
    "arithmetic only: memory traffic, wires, clock, leakage, pooling, normalisation and membranes are left out",
)
"""For the heads of tables and figures."""


@dataclass(frozen=True)
class Operations:
    """What a network does for one recording, means over the test data; whole numbers only where every one is alike."""

    macs: float = 0.0
    acs: float = 0.0
    gates: float = 0.0

    @property
    def nanojoules(self) -> float:
        """The estimate of the module's equation."""
        picojoules = self.macs * MAC_PICOJOULES + self.acs * AC_PICOJOULES + self.gates * GATE_PICOJOULES
        return picojoules / 1000


def operations_of(summary: dict[str, Any]) -> Operations | None:
    """What the run of this `summary.json` does for one recording; None where the summary does not tell."""
    model_type = summary.get("model_type")
    split = "test" if "test_loss" in summary else "val"
    if model_type == "SNN":
        macs, acs = (number(summary, f"{split}_{name}_per_sample") for name in ("macs", "synops"))
        return None if macs is None or acs is None else Operations(macs=macs, acs=acs)
    times = evaluations_per_recording(summary, split)
    once = circuit_gates(summary) if model_type == "DiffLogic" else number(summary, "macs")
    if times is None or once is None:
        return None
    return Operations(gates=once * times) if model_type == "DiffLogic" else Operations(macs=once * times)


def number(summary: dict[str, Any], name: str) -> float | None:
    """A number of a summary; None where there is none, also in a file that somebody else has written."""
    found = summary.get(name)
    return found if isinstance(found, int | float) and not isinstance(found, bool) else None


def circuit_gates(summary: dict[str, Any]) -> int | None:
    """Gates of one evaluation of a logic network: its simplified circuit, and the adders behind it."""
    try:
        after = summary["netlist"]["after"]
        return int(after["gates"] + after["inverters"] + GATES_PER_ADDED_BIT * after["outputs"])
    except (KeyError, TypeError):
        return None


def evaluations_per_recording(summary: dict[str, Any], split: str) -> float | None:
    """How often the network sees something of one recording: all its frames one by one, or all at once."""
    frames, recordings = number(summary, f"{split}_frames"), number(summary, f"{split}_recordings")
    if frames is not None and recordings:
        return frames / recordings
    return number(summary, f"{split}_frames_per_recording") if summary.get("view") == "sequence" else 1.0
