"""What Yosys makes of a circuit: look-up tables, registers and levels. See https://yosyshq.net/yosys."""

import json
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from difflogic_tonic.errors import UserError

LUT_INPUTS = 6
"""Inputs of a look-up table of current large FPGAs (AMD 7 series and later, Intel ALMs); small ones have 4."""

BINARY_CELLS = ("$and", "$or", "$xor", "$xnor")


@dataclass(frozen=True)
class Synthesis:
    """Counts of a module.

    gates      two-input gates as Yosys reads them, before any optimisation
    luts       look-up tables of up to `lut_inputs` inputs after optimisation and mapping
    registers  flip-flops after optimisation
    levels     look-up tables on the longest path between registers, inputs and outputs
    """

    gates: int
    luts: int
    registers: int
    levels: int
    lut_inputs: int


def synthesise(sources: list[Path], top: str, lut_inputs: int = LUT_INPUTS) -> Synthesis:
    """Run Yosys on Verilog files. UserError where it is not installed or does not accept them."""
    yosys = shutil.which("yosys")
    if yosys is None:
        raise UserError("yosys is not installed; install it (Debian, Ubuntu: sudo apt-get install yosys)")
    names = " ".join(f'"{path}"' for path in sources)
    with tempfile.TemporaryDirectory() as folder:
        script = (
            f"read_verilog {names}; hierarchy -check -top {top}; tee -q -o read.txt stat -json;"
            f" synth -flatten -lut {lut_inputs} -top {top};"
            " tee -q -o mapped.txt stat -json; tee -q -o path.txt ltp -noff"
        )
        done = subprocess.run([yosys, "-p", script], cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1]
            raise UserError(f"yosys did not accept {sources[0]}: {last}")
        read, mapped, path = ((Path(folder) / f"{name}.txt").read_text() for name in ("read", "mapped", "path"))
    before, after = _cells(read), _cells(mapped)
    lengths = re.findall(r"Longest topological path .*\(length=(\d+)\)", path)
    if not lengths:
        raise UserError(f"{yosys} prints no longest path as 0.23 does; use an older release")
    return Synthesis(
        gates=sum(before.get(cell, 0) for cell in BINARY_CELLS),
        luts=after.get("$lut", 0),
        registers=sum(number for cell, number in after.items() if "DFF" in cell),
        levels=int(lengths[-1]),
        lut_inputs=lut_inputs,
    )


def _cells(output: str) -> dict[str, int]:
    """Cells of the design by type, of statistics as JSON: the tables for people differ from release to release."""
    try:
        found: dict[str, int] = json.loads(output)["design"]["num_cells_by_type"]
    except (ValueError, LookupError, TypeError):  # zeros would look like a result
        raise UserError(
            "yosys prints statistics without num_cells_by_type, as 0.23 has it; use another release"
        ) from None
    return found
