"""The only reader of environment variables: where the two storage places are, and what SLURM says of this job."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from difflogic_tonic.errors import ConfigError

PROJECT_VARIABLE = "PROJECT_STORAGE_DIR"
SCRATCH_VARIABLE = "SCRATCH_STORAGE_DIR"


@dataclass(frozen=True)
class StoragePaths:
    """Fast storage that may be wiped (`scratch`), slow storage that persists (`project`); equal if there is one."""

    scratch: Path
    project: Path


def repository_root() -> Path:
    """The checkout that this package runs from; the current folder if it was installed without one."""
    root = Path(__file__).resolve().parents[3]
    return root if (root / "main.py").is_file() else Path.cwd()


def environment_storage(variables: Mapping[str, str] | None = None) -> StoragePaths:
    """Read PROJECT_STORAGE_DIR and SCRATCH_STORAGE_DIR; one that is unset or empty follows the other, else `./storage`.

    Raises `ConfigError` for a path that is not absolute: a job started from another folder would not find its own data.
    """
    environment = os.environ if variables is None else variables
    places = {}
    for name in (PROJECT_VARIABLE, SCRATCH_VARIABLE):
        text = environment.get(name, "").strip()
        if not text:
            continue
        try:
            path = Path(text).expanduser()
        except RuntimeError:
            raise ConfigError(f"environment variable {name}={text}: no such user; export an absolute path") from None
        if not path.is_absolute():
            raise ConfigError(f"environment variable {name}={text}: not absolute; export {name}={path.absolute()}")
        places[name] = path
    fallback = next(iter(places.values()), repository_root() / "storage")
    return StoragePaths(
        scratch=places.get(SCRATCH_VARIABLE, fallback),
        project=places.get(PROJECT_VARIABLE, fallback),
    )


def slurm_restart_count(variables: Mapping[str, str] | None = None) -> int:
    """How often SLURM has requeued this job: SLURM_RESTART_COUNT, which is unset on the first run."""
    environment = os.environ if variables is None else variables
    text = environment.get("SLURM_RESTART_COUNT", "").strip() or "0"
    if not text.isdecimal():
        raise ConfigError(f"environment variable SLURM_RESTART_COUNT={text}: expected a number of restarts; unset it")
    return int(text)


def slurm_job_id(variables: Mapping[str, str] | None = None) -> str:
    """The id of the SLURM job (of an array: of this task), which its requeues keep; empty outside SLURM."""
    environment = os.environ if variables is None else variables
    return environment.get("SLURM_JOB_ID", "").strip()


def slurm_end_time(variables: Mapping[str, str] | None = None) -> float | None:
    """When the time limit of this SLURM job is (Unix seconds); None without one. The wrappers ask SLURM for it."""
    environment = os.environ if variables is None else variables
    text = environment.get("SLURM_JOB_END_TIME", "").strip()
    return float(text) if text.isdecimal() else None


def outer_container(variables: Mapping[str, str] | None = None) -> tuple[str, str] | None:
    """Runtime and image that whoever started this command outside a container can use for another one.

    None outside containers, and in the shell of one, where the next command is typed inside as well.
    """
    environment = os.environ if variables is None else variables
    for runtime in ("apptainer", "singularity"):
        head = runtime.upper()
        if environment.get(f"{head}_NAME"):
            # The wrapper's copy of the image on scratch goes away, the image that it was made of stays.
            image = environment.get("DIFFLOGIC_IMAGE") or environment.get(f"{head}_CONTAINER", "")
            return (runtime, image) if image and environment.get(f"{head}_COMMAND") != "shell" else None
    return None


def job_report(variables: Mapping[str, str] | None = None) -> Path | None:
    """The file in which the job script wants to read the exit code and how far the run came; None without one."""
    environment = os.environ if variables is None else variables
    text = environment.get("JOB_REPORT", "").strip()
    return Path(text) if text else None
