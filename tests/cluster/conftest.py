"""The real SLURM that the cluster tests share (see tests/support/slurm_cluster.py), and training jobs on it."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from slurm_cluster import PROGRAMS, Slurm

EPOCHS = 6


@pytest.fixture(scope="session")
def slurm(program: Callable[[str], str], repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """Four virtual nodes; the jobs of all tests of this process run side by side on them."""
    subprocess.run([repository / "tests" / "install_packages.sh", *PROGRAMS], check=True)
    for name in PROGRAMS:
        program(name)
    started = Slurm(tmp_path_factory.mktemp("slurm") / "lab").start()
    yield started
    started.stop()


@dataclass
class Site:
    """A user's place on the cluster: two storage places, a config of a small run, and jobs of `train.sh`."""

    root: Path
    slurm: Slurm
    repository: Path

    @property
    def config(self) -> Path:
        return self.root / "small.yaml"

    @property
    def project(self) -> Path:
        return self.root / "project"

    @property
    def scratch(self) -> Path:
        return self.root / "scratch"

    def environment(self, **more: str) -> dict[str, str]:
        """What the user has exported. One thread, as equality to the bit needs the same number everywhere."""
        return {
            "PROJECT_STORAGE_DIR": str(self.project),
            "SCRATCH_STORAGE_DIR": str(self.scratch),
            "PYTHONPATH": str(self.repository / "tests" / "support"),
            "OMP_NUM_THREADS": "1",
            "PROJECT_VARIABLES": "/dev/null",
            **more,
        }

    def submit(self, name: str, *options: str, sbatch: tuple[str, ...] = (), pace: float = 0.0, **more: str) -> str:
        """Submit `train.sh small.yaml NAME OPTIONS` from `root`; its output goes to `NAME.out`."""
        return self.slurm.submit(
            *("--cpus-per-task=1", "--time=10", f"--output={name}.out", *sbatch),
            *(self.repository / "train.sh", self.config, name, *options),
            cwd=self.root,
            **self.environment(PACE=str(pace), **more),
        )

    def output(self, name: str) -> str:
        path = self.root / f"{name}.out"
        return path.read_text() if path.exists() else ""

    def until(self, name: str, text: str, seconds: float = 120) -> None:
        """Wait until the job NAME has printed `text`."""
        end = time.monotonic() + seconds
        while text not in self.output(name):
            assert time.monotonic() < end, f"no {text!r} after {seconds} s in: {self.output(name)}"
            time.sleep(0.05)

    def status(self, name: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.project / "runs" / name / "status.json").read_text())
        return content

    def weights(self, name: str) -> dict[str, Any]:
        """The weights at the end of the run NAME."""
        from difflogic_tonic.runs.model_file import load_model

        return load_model(self.project / "models" / name / "last.pt").model


@pytest.fixture(scope="session")
def site(slurm: Slurm, repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A site whose dataset a batch job has prepared. Skipped without `.venv`, which the wrappers need."""
    if not (repository / ".venv" / "training.done").exists():
        pytest.skip("no .venv in the checkout; run ./run_tests.sh")
    made = Site(tmp_path_factory.mktemp("site"), slurm, repository)
    made.config.write_text(
        yaml.safe_dump(
            {
                "data": {"name": "DIGITS_DVS", "subset": 0.1},
                "train": {"epochs": EPOCHS, "device": "cpu", "dataloader": {"batch_size": 64}},
                "model": {"model_type": "paced:model"},
            }
        )
    )
    job = slurm.submit(
        *("--cpus-per-task=1", "--output=prepare.out", repository / "prepare_data.sh", "configs/prepare_digits.yaml"),
        cwd=made.root,
        **made.environment(),
    )
    assert slurm.wait(job) == "COMPLETED", made.output("prepare")
    return made


@pytest.fixture(scope="session")
def whole(site: Site) -> dict[str, Any]:
    """The final weights of a run that nothing disturbed."""
    assert site.slurm.wait(site.submit("whole")) == "COMPLETED", site.output("whole")
    return site.weights("whole")


def same_weights(left: dict[str, Any], right: dict[str, Any]) -> bool:
    """Equal to the bit."""
    import torch

    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


@pytest.fixture(scope="session")
def equal() -> Callable[[dict[str, Any], dict[str, Any]], bool]:
    return same_weights
