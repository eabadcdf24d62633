"""The sub-commands of `deploy.py`."""

import logging
import re
import shutil
import tempfile
from argparse import Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from difflogic_tonic.config import StoragePaths
from difflogic_tonic.deploy.bench import build_seconds, cores, first_frames, rates
from difflogic_tonic.deploy.formats import CHECKED, FORMATS
from difflogic_tonic.deploy.job import labelled_batches, open_job
from difflogic_tonic.deploy.onnx_export import export_onnx, verify_onnx
from difflogic_tonic.deploy.stream_command import stream
from difflogic_tonic.deploy.synthesis import synthesise
from difflogic_tonic.deploy.verify import compare
from difflogic_tonic.deploy.verilog import KEYWORDS, core_module
from difflogic_tonic.deploy.verilog_files import simplified_with_head, write_verilog
from difflogic_tonic.errors import ConfigError, ExportDiffers
from difflogic_tonic.netlist import Engine, count, with_head
from difflogic_tonic.runs.log import log_to_console
from difflogic_tonic.storage import storage_errors, write_text
from difflogic_tonic.train.opened import open_run

log = logging.getLogger(__name__)


def export(arguments: Namespace, places: StoragePaths) -> int:
    """Write the circuit of a job in one form, or its network as ONNX."""
    log_to_console()
    for option, form in (("pipeline", "verilog"), ("frames", "onnx")):
        if getattr(arguments, option) is not None and arguments.format != form:
            raise ConfigError(f"--{option} is for --format {form}; --format {arguments.format} does not know it")
    if arguments.format == "onnx":
        return _export_onnx(arguments, places)
    job = open_job(arguments.job_id, arguments.weights, places)
    folder = _made(arguments.output or job.folder)
    write = FORMATS[arguments.format].write
    if arguments.pipeline is not None:
        write = partial(write_verilog, every=arguments.pipeline)
    for path in write(job.circuit, folder, file_name(job.job_id)):
        log.info("%s", path)
    return 0


def _export_onnx(arguments: Namespace, places: StoragePaths) -> int:
    run = open_run(arguments.job_id, arguments.weights, torch.device("cpu"), places)
    folder = _made(arguments.output or run.path.parent / "deploy")
    path = folder / f"{file_name(arguments.job_id)}.onnx"
    unrolled = export_onnx(run, path, arguments.frames)
    shape = ["batch", *unrolled.shape] if unrolled.frames is None else [unrolled.frames, 1, *unrolled.shape]
    log.info("%s: counts float32%s to logits", path, str(shape).replace("'", ""))
    return 0


def _made(folder: Path) -> Path:
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def verify(arguments: Namespace, places: StoragePaths) -> int:
    """Compare the evaluator and every form, written and read again, on the test set. ExportDiffers if one differs."""
    log_to_console()
    if arguments.format == ["onnx"]:
        return _verify_onnx(arguments, places)
    for name in arguments.format or ():
        if name not in CHECKED:
            raise ConfigError(f"--format {name} is not a form of a circuit; verify it alone")
    job = open_job(arguments.job_id, arguments.weights, places)
    differing = []
    for name in arguments.format or CHECKED:
        form = CHECKED[name]
        missing = [program for program in form.needs if not any(map(shutil.which, program.split(" or ")))]
        if missing and not arguments.format:
            log.warning("%-10s not checked: %s is not installed", f"{name}:", missing[0])
            continue
        limits = [limit for limit in (arguments.samples, form.limit) if limit is not None]
        with tempfile.TemporaryDirectory() as folder:
            paths = form.write(job.circuit, Path(folder), file_name(job.job_id))
            run = form.open(job.circuit, paths)
            found = compare(run, labelled_batches(job, min(limits, default=None)), job.circuit.readout)
        differing += [name] if found.different else []
        log.info(
            "%-10s %s of %d samples differ from the network; %.2f%% right",
            *(f"{name}:", found.different or "none", found.samples, 100 * found.right / max(1, found.samples)),
        )
    if differing:
        raise ExportDiffers(f"job {job.job_id}: {', '.join(differing)} does not compute what the network computes")
    return 0


def _verify_onnx(arguments: Namespace, places: StoragePaths) -> int:
    run = open_run(arguments.job_id, arguments.weights, torch.device("cpu"), places)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        found = verify_onnx(run, path, export_onnx(run, path), arguments.samples)
    log.info(
        "onnx:    %s of %d samples get another class than from the network, logits are %.1e apart; %.2f%% right%s",
        *(found.different or "none", found.samples, found.apart, 100 * found.right / max(1, found.samples)),
        f"; {found.skipped} have fewer frames than the graph" if found.skipped else "",
    )
    if found.different:
        raise ExportDiffers(f"job {arguments.job_id}: onnx does not compute what the network computes")
    return 0


def bench(arguments: Namespace, places: StoragePaths) -> int:
    """Time the evaluator on frames of the test set, and what it takes to make one."""
    log_to_console()
    job = open_job(arguments.job_id, arguments.weights, places)
    circuit = job.circuit
    bits = first_frames((batch.bits for batch in labelled_batches(job)), circuit.code.n_bits)
    engine = Engine(circuit.netlist)
    log.info(
        "%d gates simplified, evaluated with %s; made ready in %.1f ms",
        *(engine.netlist.n_gates, engine.level, 1e3 * build_seconds(circuit)),
    )
    for rate in rates(circuit, bits, arguments.threads or cores()):
        each = rate.seconds / rate.samples
        log.info("%-30s %10.2f µs each  %12.0f a second", f"{rate.name}:", 1e6 * each, 1 / each)
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


def file_name(job_id: str) -> str:
    """What the names of exported files begin with: the job id as C and Verilog take it, `my_run_3` for `my-run.3`.

    It begins with `job_` where a digit would be first, and where the id is a word of Verilog.
    """
    name = re.sub(r"[^A-Za-z0-9_]", "_", job_id)
    return f"job_{name}" if name[:1].isdigit() or name in KEYWORDS else name


COMMANDS: dict[str, Callable[[Namespace, StoragePaths], int]] = {
    "export": export,
    "verify": verify,
    "bench": bench,
    "synth": synth,
    "stream": stream,
}
"""Name → what it does. Arguments and help are in `arguments.deployment.COMMANDS`, whose names are the same."""
