"""The doctor's look at the machine: Python, packages, container, GPU, SLURM, compiler. Needs nothing but Python."""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from difflogic_tonic.sync.finding import Finding

SETUP = "helper_scripts/setup_environment.sh"
LIST_PACKAGES = (
    "import importlib.metadata as m, json, platform, sys\n"
    "print(json.dumps({'python': platform.python_version(), 'packages':"
    " {d.metadata['Name'].lower().replace('_', '-'): d.version for d in m.distributions()}}))"
)
SHOWN = 3
ASKING_SECONDS = 25.0


def ask(command: Sequence[str | Path], seconds: float = ASKING_SECONDS) -> tuple[int, str]:
    """Exit code and what a program says, errors if it says nothing else; (-1, why) if it cannot be run."""
    try:
        done = subprocess.run(
            [str(word) for word in command], capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return -1, str(error)
    return done.returncode, (done.stdout.strip() or done.stderr.strip())


def check_python() -> list[Finding]:
    """The Python that runs this."""
    text = f"{platform.python_version()} at {sys.executable}"
    return [Finding("Python", "ok", f"{text}, {len(os.sched_getaffinity(0))} CPUs can be used")]


def locked_versions(root: Path, *names: str) -> dict[str, str]:
    """Package → version of lock files."""
    lines = [line for name in names for line in (root / "requirements" / f"{name}.lock").read_text().splitlines()]
    pairs = [match.groups() for line in lines if (match := re.match(r"([A-Za-z0-9_.-]+)==([^\s;]+)", line))]
    return {name.lower().replace("_", "-"): version for name, version in pairs}


def check_environment(root: Path, variables: Mapping[str, str]) -> list[Finding]:
    """.venv, and whether it has what the lock files say."""
    python = root / ".venv" / "bin" / "python"
    if not python.exists():
        if variables.get("SINGULARITY_CONTAINER"):
            return [Finding("environment", "ok", "no .venv, and none needed with a container")]
        return [Finding("environment", "note", "no .venv yet; the first run makes it, in minutes", SETUP)]
    code, answer = ask([python, "-c", LIST_PACKAGES])
    if code:
        reason = answer.splitlines()[-1] if answer else f"exit code {code}"
        return [Finding("environment", "failure", f".venv is broken: {reason}", f"rm -rf .venv; {SETUP}")]
    installed = json.loads(answer)["packages"]
    wanted = locked_versions(root, "config", "base", "torch-cpu")
    others = [
        f"{name} {installed.get(name, 'missing')} instead of {version}"
        for name, version in wanted.items()
        if installed.get(name, "").partition("+")[0] != version
    ]
    if others:
        more = f" and {len(others) - SHOWN} more" if len(others) > SHOWN else ""
        text = f".venv differs from the lock files: {', '.join(others[:SHOWN])}{more}"
        return [Finding("environment", "warning", text, f"rm .venv/*.done; {SETUP}")]
    return [Finding("environment", "ok", f".venv has the locked packages, torch {installed['torch']}")]


def check_container(variables: Mapping[str, str]) -> list[Finding]:
    """The image that SINGULARITY_CONTAINER names, by running it."""
    image = variables.get("SINGULARITY_CONTAINER", "").strip()
    if Path("/.singularity.d").is_dir() or variables.get("APPTAINER_NAME"):
        return [Finding("container", "note", "this runs inside one")]
    runtime = shutil.which("apptainer") or shutil.which("singularity")
    if not image:
        have = f"; {Path(runtime).name} is installed" if runtime else ""
        return [Finding("container", "note", f"SINGULARITY_CONTAINER is not set: .venv is used{have}")]
    if not os.access(image, os.R_OK):
        fix = "helper_scripts/sync_container_to_remote.sh brings it; unset SINGULARITY_CONTAINER to use .venv"
        return [Finding("container", "failure", f"SINGULARITY_CONTAINER={image} cannot be read", fix)]
    if runtime is None:
        fix = "load its module (module load apptainer), or unset SINGULARITY_CONTAINER to use .venv"
        return [Finding("container", "failure", "neither apptainer nor singularity is installed", fix)]
    code, answer = ask([runtime, "exec", image, "python3", "-c", LIST_PACKAGES])
    if code:
        reason = answer.splitlines()[-1] if answer else f"exit code {code}"
        return [
            Finding("container", "failure", f"{image} does not run: {reason}", "build it again: singularity/build.sh")
        ]
    try:
        found = json.loads(answer.splitlines()[-1])
        torch = found["packages"].get("torch")
    except (ValueError, IndexError, KeyError, TypeError, AttributeError):
        fix = "build it again: singularity/build.sh"
        return [Finding("container", "failure", f"{image}: its python3 does not answer", fix)]
    if torch is None:
        return [Finding("container", "failure", f"{image} has no torch", "build it again: singularity/build.sh")]
    return [Finding("container", "ok", f"{image} runs: Python {found['python']}, torch {torch}")]


def check_gpu(root: Path, variables: Mapping[str, str]) -> list[Finding]:
    """GPUs and driver, and whether the torch of .venv can use them."""
    if not shutil.which("nvidia-smi"):
        return [Finding("GPU", "note", "no NVIDIA driver here: training runs on the CPU")]
    code, answer = ask(["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"])
    if code:
        reason = answer.splitlines()[0] if answer else f"exit code {code}"
        fix = "on a node with GPUs: ask for one (--gres=gpu:1), or mend the driver"
        return [Finding("GPU", "warning", f"no GPU can be used: nvidia-smi says {reason}", fix)]
    findings = [Finding("GPU", "ok", line.strip()) for line in answer.splitlines()]
    versions = sorted((root / ".venv").glob("lib/python3*/site-packages/torch/version.py"))
    cuda = re.search(r"^cuda[^=\n]*= *'?([\d.]+|None)", versions[-1].read_text(), re.M) if versions else None
    if cuda and cuda[1] == "None" and not variables.get("SINGULARITY_CONTAINER"):
        text = "the torch of .venv is built without CUDA and cannot use it"
        findings.append(Finding("GPU", "failure", text, f"on a node with a GPU: rm -rf .venv; {SETUP}"))
    return findings


def check_slurm(variables: Mapping[str, str]) -> list[Finding]:
    """Whether jobs can be submitted, and to which partitions."""
    if not shutil.which("sbatch"):
        return [Finding("SLURM", "note", "no sbatch here: nothing can be submitted from this machine")]
    code, answer = ask(["sinfo", "-h", "-o", "%R"])
    if code:
        reason = answer.splitlines()[0] if answer else f"exit code {code}"
        return [
            Finding("SLURM", "failure", f"its controller does not answer: {reason}", "ask whoever runs the cluster")
        ]
    names = sorted(set(answer.split()))
    inside = f"; this is job {variables['SLURM_JOB_ID']}" if variables.get("SLURM_JOB_ID") else ""
    wanted = variables.get("SBATCH_PARTITION", "")
    unknown = [name for name in wanted.split(",") if name and name not in names]
    if unknown:
        fix = f"choose of {', '.join(names)} in helper_scripts/project_variables.local.sh"
        return [Finding("SLURM", "failure", f"SBATCH_PARTITION={wanted}: no partition {', '.join(unknown)}", fix)]
    return [Finding("SLURM", "ok", f"partitions {', '.join(names)}{inside}")]


def check_compiler() -> list[Finding]:
    """Whether the C kernels can be built, by building something."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    fix = "install gcc (Debian, Ubuntu: sudo apt-get install gcc libc6-dev), or load its module"
    cost = "networks run without the C kernels, which is slower"
    if compiler is None:
        return [Finding("compiler", "warning", f"no gcc: {cost}", fix)]
    with tempfile.TemporaryDirectory(prefix="doctor-") as folder:
        source = Path(folder) / "try.c"
        source.write_text("#include <pthread.h>\n#include <stdint.h>\nint64_t tried(void) { return 1; }\n")
        code, answer = ask(
            [compiler, "-std=gnu11", "-shared", "-fPIC", "-pthread", "-o", source.with_suffix(".so"), source]
        )
    if code:
        reason = answer.splitlines()[0] if answer else f"exit code {code}"
        return [Finding("compiler", "warning", f"{compiler} builds nothing ({reason}): {cost}", fix)]
    return [Finding("compiler", "ok", f"{compiler} builds C kernels")]
