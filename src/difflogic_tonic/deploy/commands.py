"""The sub-commands of `deploy.py`."""

import logging
import shutil
import tempfile
from argparse import Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path

from difflogic_tonic.config import StoragePaths
from difflogic_tonic.deploy.formats import FORMATS
from difflogic_tonic.deploy.job import Job, labelled_batches, open_job
from difflogic_tonic.deploy.synthesis import synthesise
from difflogic_tonic.deploy.verify import compare
from difflogic_tonic.deploy.verilog import core_module
from difflogic_tonic.deploy.verilog_files import simplified_with_head, write_verilog
from difflogic_tonic.errors import ConfigError, ExportDiffers
from difflogic_tonic.netlist import count, with_head
from difflogic_tonic.runs.log import log_to_console
from difflogic_tonic.storage import storage_errors, write_text

log = logging.getLogger(__name__)


def export(arguments: Namespace, places: StoragePaths) -> int:
    """Write the circuit of a job in one form."""
    log_to_console()
    job = open_job(arguments.job_id, arguments.weights, places)
    folder = arguments.output or job.folder
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write = FORMATS[arguments.format].write
    if arguments.pipeline is not None:
        if arguments.format != "verilog":
            raise ConfigError(f"--pipeline places registers in Verilog; --format {arguments.format} has none")
        write = partial(write_verilog, every=arguments.pipeline)
    for path in write(job.circuit, folder, file_name(job)):
        log.info("%s", path)
    return 0


def verify(arguments: Namespace, places: StoragePaths) -> int:
    """Write every form into a temporary folder, run it on the test set, and compare. ExportDiffers if one differs."""
    log_to_console()
    job = open_job(arguments.job_id, arguments.weights, places)
    differing = []
    for name in arguments.format or FORMATS:
        form = FORMATS[name]
        missing = [program for program in form.needs if shutil.which(program) is None]
        if missing and not arguments.format:
            log.warning("%-8s not checked: %s is not installed", f"{name}:", missing[0])
            continue
        limits = [limit for limit in (arguments.samples, form.limit) if limit is not None]
        with tempfile.TemporaryDirectory() as folder:
            paths = form.write(job.circuit, Path(folder), file_name(job))
            run = form.open(job.circuit, paths)
            found = compare(run, labelled_batches(job, min(limits, default=None)), job.circuit.readout)
        differing += [name] if found.different else []
        log.info(
            "%-8s %s of %d samples differ from the network; %.2f%% right",
            *(f"{name}:", found.different or "none", found.samples, 100 * found.right / max(1, found.samples)),
        )
    if differing:
        raise ExportDiffers(f"job {job.job_id}: {', '.join(differing)} does not compute what the network computes")
    return 0


def synth(arguments: Namespace, places: StoragePaths) -> int:
    """Let Yosys map the circuit of a job, as trained and simplified, and print what it needs."""
    log_to_console()
    job = open_job(arguments.job_id, arguments.weights, places)
    log.info("%-10s  %9s  %9s  %8s  %9s  %6s", "circuit", "gates", "as read", "LUTs", "registers", "levels")
    for label, headed in (
        ("as trained", with_head(job.circuit.netlist)),
        ("simplified", simplified_with_head(job.circuit.netlist)),
    ):
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "model_core.v"
            write_text(source, core_module(headed, "model", arguments.pipeline))
            found = synthesise([source], "model_core", arguments.lut)
        numbers = (count(headed.netlist).gates, found.gates, found.luts, found.registers, found.levels)
        log.info("%-10s  %9d  %9d  %8d  %9d  %6d", label, *numbers)
    log.info("look-up tables of up to %d inputs; gates include counting and comparing the classes", arguments.lut)
    return 0


def file_name(job: Job) -> str:
    """What the names of exported files begin with: the job id where C and Verilog take it, else `model`."""
    return job.job_id if job.job_id.isidentifier() and job.job_id.isascii() else "model"


COMMANDS: dict[str, Callable[[Namespace, StoragePaths], int]] = {
    "export": export,
    "verify": verify,
    "synth": synth,
}
"""Name → what it does. Arguments and help are in `arguments.deployment.COMMANDS`, whose names are the same."""
