"""What Yosys makes of a circuit: look-up tables, registers and levels. See https://yosyshq.net/yosys."""

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
            f"read_verilog {names}; hierarchy -check -top {top}; tee -q -o read.txt stat;"
            f" synth -flatten -lut {lut_inputs} -top {top}; tee -q -o mapped.txt stat; tee -q -o path.txt ltp -noff"
        )
        done = subprocess.run([yosys, "-p", script], cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1]
            raise UserError(f"yosys did not accept {sources[0]}: {last}")
        read, mapped, path = ((Path(folder) / f"{name}.txt").read_text() for name in ("read", "mapped", "path"))
    before, after = _cells(read), _cells(mapped)
    return Synthesis(
        gates=sum(before.get(cell, 0) for cell in BINARY_CELLS),
        luts=after.get("$lut", 0),
        registers=sum(number for cell, number in after.items() if "DFF" in cell),
        levels=int(re.findall(r"Longest topological path .*\(length=(\d+)\)", path)[-1]),
        lut_inputs=lut_inputs,
    )


def _cells(output: str) -> dict[str, int]:
    """Cells by type of the last statistics in `output`, submodules included."""
    if "Number of cells:" not in output:  # newer releases print another table; zeros would look like a result
        raise UserError("yosys prints statistics without `Number of cells:`, as 0.23 has it; use an older release")
    listed = output.rpartition("Number of cells:")[2].partition("\n\n")[0]
    return {cell: int(number) for cell, number in re.findall(r"^\s+(\S+)\s+(\d+)$", listed, re.MULTILINE)}
