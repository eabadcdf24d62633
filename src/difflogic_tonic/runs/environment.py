"""What a result depends on besides config and data: versions, commit, host, CPU, threads, device."""

import importlib.metadata
import json
import logging
import os
import platform
import socket
import subprocess
import sys
from pathlib import Path

from difflogic_tonic.config import repository_root

PACKAGES = ("difflogic-tonic", "torch", "numpy", "numba", "h5py", "pydantic", "scikit-learn", "tensorboard", "triton")

log = logging.getLogger(__name__)


def describe_environment(device: str) -> dict[str, object]:
    """Plain data for `environment.json`. Parts that this machine cannot tell are absent."""
    import torch

    described: dict[str, object] = {
        "python": sys.version.split()[0],
        "packages": package_versions(),
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "cpu": cpu_name(),
        "cpus_usable": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "device": device,
    }
    if device.startswith("cuda"):
        described["gpu"] = torch.cuda.get_device_name(device)
        described["cuda"] = torch.version.cuda
    described.update(git_state(repository_root()))
    return described


def say_what_changed(path: Path, now: dict[str, object]) -> None:
    """Warn of what is another here than at the last start, which left `path`, and makes sums round differently.

    The number of threads is in the checkpoint, whose reader compares it.
    """
    try:
        before = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return
    changes = [
        f"{name} {old}, now {new}"
        for name, old, new in (
            *((key, before.get(key), now.get(key)) for key in ("cpu", "gpu", "cuda", "python")),
            *((key, before.get("packages", {}).get(key), _packages(now).get(key)) for key in PACKAGES[1:]),
        )
        if old != new
    ]
    if changes:
        log.warning(
            "changed since the last start: %s; results may differ in the last bits from here on", "; ".join(changes)
        )


def _packages(described: dict[str, object]) -> dict[str, str]:
    packages = described["packages"]
    assert isinstance(packages, dict)
    return packages


def package_versions() -> dict[str, str]:
    """Versions of the packages that a result may depend on; those not installed are absent."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def cpu_name() -> str:
    """The processor's name as Linux gives it, else what Python knows."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def git_state(root: Path) -> dict[str, object]:
    """`git_commit` and `git_changed` (whether tracked files differ from it); empty without git or a checkout."""
    try:
        commit = _git(root, "rev-parse", "HEAD")
        changed = bool(_git(root, "status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"git_commit": commit, "git_changed": changed}


def _git(root: Path, *arguments: str) -> str:
    call = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True, timeout=10)
    return call.stdout.strip()
