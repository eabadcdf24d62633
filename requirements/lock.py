"""Write the lock files anew: resolve pyproject.toml in clean environments and record the exact versions.

    python3 requirements/lock.py

pip is used as it is configured. The libraries of the CUDA build of torch are read from the metadata of the build on the
public index, also where pip is configured to find a CPU build first.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
TORCH = "torch==2.13.0"
LIGHT = ("pydantic", "pyyaml")
LINUX_ONLY = ("nvidia", "cuda", "triton")
PEERS = [
    "aedat==2.3.0",
    "event-stream==1.6.3",
    "faery==0.7.1",
    "loguru==0.7.3",
    "snntorch==1.0.0",
    "spikingjelly==2.0.0",
]
"""Installed without their dependencies: tests compare with the parts that need numpy and torch only, and spikingjelly
asks for torchvision and torchaudio, which would bring another torch. It does not import without loguru."""
HEAD = "# Exact versions; made by `make lock`, installed by helper_scripts/setup_environment.sh.\n"


def main() -> int:
    project = tomllib.loads((FOLDER.parent / "pyproject.toml").read_text())["project"]
    needed = [line for line in project["dependencies"] if not line.startswith("torch")]
    light = [line for line in needed if line.startswith(LIGHT)]
    with tempfile.TemporaryDirectory() as folder:
        config = _resolved(Path(folder) / "config", light)
        training = _resolved(Path(folder) / "training", [TORCH, "setuptools", *config, *needed])
        dev = _resolved(Path(folder) / "dev", [TORCH, *training, *project["optional-dependencies"]["dev"]])
    base = [line for line in training if line not in config]
    _write("config.lock", "What reading and checking a config needs.", config)
    _write("base.lock", "What training needs beside config.lock and torch.", base)
    _write("torch-cpu.lock", "torch without CUDA libraries; its other dependencies are in base.lock.", [TORCH])
    _write("torch-cuda.lock", "torch with the CUDA libraries that its build asks for.", [TORCH, *_cuda_libraries()])
    extra = [_where_it_exists(line) for line in dev if line not in training]
    _write("dev.lock", "Tools for tests and checks, and the peers that tests compare with.", extra)
    _write("peers.lock", "More peers that tests compare with, installed without their dependencies.", PEERS)
    return 0


def _resolved(folder: Path, requirements: list[str]) -> list[str]:
    """`name==version` of everything that pip installs for `requirements` in a new environment, torch left out."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip = [folder / "bin" / "python", "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--quiet", *requirements], check=True)
    frozen = subprocess.run([*pip, "freeze", "--all"], check=True, capture_output=True, text=True).stdout
    rows = {_normal(line) for line in frozen.splitlines() if "==" in line}
    asked = any(line.startswith("setuptools") for line in requirements)
    left_out = ("torch==", "pip==") if asked else ("torch==", "pip==", "setuptools==")
    return sorted(row for row in rows if not row.startswith(left_out))


def _cuda_libraries() -> list[str]:
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--dry-run",
        "--ignore-installed",
        "--quiet",
        "--report",
        "-",
        TORCH,
    ]
    environment = {**os.environ, "PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": ""}
    output = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    found = [item["metadata"] for item in json.loads(output)["install"]]
    rows = [_normal(f"{item['name']}=={item['version']}") for item in found]
    return sorted(_where_it_exists(row) for row in rows if row.startswith(LINUX_ONLY))


def _where_it_exists(row: str) -> str:
    return f'{row}; sys_platform == "linux"' if row.startswith(LINUX_ONLY) else row


def _normal(line: str) -> str:
    name, version = line.strip().split("==")
    return f"{re.sub(r'[-_.]+', '-', name).lower()}=={version}"


def _write(name: str, purpose: str, rows: list[str]) -> None:
    (FOLDER / name).write_text(f"{HEAD}# {purpose}\n" + "".join(f"{row}\n" for row in rows))


if __name__ == "__main__":
    sys.exit(main())
