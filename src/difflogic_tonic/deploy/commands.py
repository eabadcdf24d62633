"""The sub-commands of `deploy.py`."""

import logging
import tempfile
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

from difflogic_tonic.config import StoragePaths
from difflogic_tonic.deploy.formats import FORMATS
from difflogic_tonic.deploy.job import Job, labelled_batches, open_job
from difflogic_tonic.deploy.verify import compare
from difflogic_tonic.errors import ExportDiffers
from difflogic_tonic.runs.log import log_to_console
from difflogic_tonic.storage import storage_errors

log = logging.getLogger(__name__)


def export(arguments: Namespace, places: StoragePaths) -> int:
    """Write the circuit of a job in one form."""
    log_to_console()
    job = open_job(arguments.job_id, arguments.weights, places)
    folder = arguments.output or job.folder
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for path in FORMATS[arguments.format].write(job.circuit, folder, file_name(job)):
        log.info("%s", path)
    return 0


def verify(arguments: Namespace, places: StoragePaths) -> int:
    """Write every form into a temporary folder, run it on the test set, and compare. ExportDiffers if one differs."""
    log_to_console()
    job = open_job(arguments.job_id, arguments.weights, places)
    differing = []
    for name in arguments.format or FORMATS:
        form = FORMATS[name]
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


def file_name(job: Job) -> str:
    """What the names of exported files begin with: the job id where C and Verilog take it, else `model`."""
    return job.job_id if job.job_id.isidentifier() and job.job_id.isascii() else "model"


COMMANDS: dict[str, Callable[[Namespace, StoragePaths], int]] = {
    "export": export,
    "verify": verify,
}
"""Name → what it does. Arguments and help are in `arguments.deployment.COMMANDS`, whose names are the same."""
