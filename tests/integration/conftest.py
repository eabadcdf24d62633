"""Whole runs on a small prepared dataset: 34 × 34 events, ten classes, eight recordings of each."""

import importlib
import importlib.util
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from forked import GLANCE_SECONDS, Forked
from mounts import mount  # noqa: F401 (a fixture)

CLASSES = 10
PER_CLASS = {"Train": 6, "Test": 2}
IMPORTED_ONCE = (
    "torch._dynamo",  # optimizers import it when they are made
    "tensorboard.compat.proto.event_pb2",
    "tensorboard.summary.writer.record_writer",
    "difflogic_tonic.train.session",
)
"""What every forked process would otherwise import by itself."""


@pytest.fixture(scope="session")
def small_recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of N-MNIST `.bin` files whose events lie around a place that depends on the class."""
    from difflogic_tonic.events import Events, encode_atis

    root = tmp_path_factory.mktemp("recordings")
    rng = np.random.default_rng(0)
    for split, per_class in PER_CLASS.items():
        for label in range(CLASSES):
            folder = root / split / str(label)
            folder.mkdir(parents=True)
            for number in range(1, per_class + 1):
                n = int(rng.integers(300, 500))
                x = np.clip(rng.normal(4 + 3 * label, 3, n), 0, 33).astype(np.uint16)
                y = np.clip(rng.normal(17, 6, n), 0, 33).astype(np.uint16)
                t = np.sort(rng.integers(0, 300_000, n))
                content = encode_atis(Events(x, y, t.astype(np.int64), rng.integers(0, 2, n).astype(np.uint8)))
                (folder / f"{number:05d}.bin").write_bytes(content)
    return root


@pytest.fixture(scope="session")
def small_storage(small_recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A storage root that holds the prepared dataset, 2 to 4 frames a recording, and nothing else."""
    from difflogic_tonic import cache
    from difflogic_tonic.config import StoragePaths, load_prepare_config
    from difflogic_tonic.storage import open_storage

    root = tmp_path_factory.mktemp("prepared")
    path = root / "prepare.yaml"
    data = {
        "name": "NMNIST",
        "data_root": str(small_recordings),
        "allow_subset": True,
        "events_per_frame": 150,
        "overlap": 50,
        "denoise_time": 0,
        "val_fraction": 0.2,
    }
    path.write_text(yaml.safe_dump({"data": data}))
    cache.prepare(load_prepare_config(path), open_storage(StoragePaths(root, root)), progress=False)
    return root


@dataclass
class Child(Forked):
    """One that trains, with what it prints in a file."""

    output: Path

    def send(self, name: str) -> None:
        os.kill(self.pid, getattr(signal, name))

    def until(self, text: str, seconds: float = 60) -> None:
        """Wait until it has printed `text`, or has ended."""
        end = time.monotonic() + seconds
        while text not in self.text and os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            assert time.monotonic() < end, self.text
            time.sleep(GLANCE_SECONDS)

    @property
    def text(self) -> str:
        return self.output.read_text()


def fork(work: Callable[[], int], output: Path) -> Child:
    """Run `work` in a forked process, which is as good as a new one but for the seconds of `import torch`."""
    for module in IMPORTED_ONCE:
        importlib.import_module(module)
    output.write_text("")
    pid = os.fork()
    if pid:
        return Child(pid, output)
    code = 70
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_APPEND)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        import sys

        sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
        code = work()
    except BaseException:  # noqa: BLE001 (the child must never return into pytest)
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)


@dataclass
class Laboratory:
    """Storage places of one test, with the small dataset in project storage, and runs in them."""

    root: Path
    config: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.scratch, self.project = self.root / "scratch", self.root / "project"
        self.config_path = self.root / "config.yaml"

    def write_config(self, model_type: str, **train: Any) -> None:
        sizes = {
            "DiffLogic": {"difflogic": {"num_neurons": 1160, "num_layers": 2}},
            "CNN": {"cnn": {"hidden": 8, "dropout": 0.2}},
            "MLP": {"mlp": {"hidden": [16], "dropout": 0.2}},
            "SNN": {"snn": {"architecture": "4C5-MP4-FC10"}},
        }
        defaults = {"epochs": 2, "device": "cpu", "dataloader": {"batch_size": 8}, "schedule": "cosine"}
        self.config = {
            "base": {"seed": 7},
            "data": {"name": "NMNIST"},
            "train": defaults | train,
            "model": {"model_type": model_type, **sizes[model_type]},
        }
        self.config_path.write_text(yaml.safe_dump(self.config))

    def arguments(self, *options: str, job: str = "job") -> list[str]:
        return [str(self.config_path), job, *options]

    def main(self, *options: str, job: str = "job") -> int:
        """What `main.py` does after its arguments, in this process and with one thread. Raises `UserError`."""
        import torch

        from difflogic_tonic.arguments import parse, train_parser
        from difflogic_tonic.config import StoragePaths, load_train_config
        from difflogic_tonic.runs.signals import stop_on
        from difflogic_tonic.train import session

        torch.set_num_threads(1)
        argv = self.arguments(*options, job=job)
        arguments = parse(train_parser(), argv)
        config = load_train_config(arguments.config, arguments.override, arguments.job_id)
        start = "fresh" if arguments.fresh else {None: "new", "always": "resume", "auto": "auto"}[arguments.resume]
        request = session.Request(config, start, argv, StoragePaths(self.scratch, self.project))
        with stop_on("SIGTERM", "SIGUSR1", "SIGINT") as stop:
            return session.train(request, stop)

    def fork(self, *options: str, job: str = "job", first: Callable[[], None] = lambda: None) -> Child:
        """`main` in a process of its own, which calls `first` before."""
        from difflogic_tonic.errors import run_command

        def work() -> int:
            first()
            return run_command(lambda argv: self.main(*options, job=job), [])

        return fork(work, self.root / f"{job}.out")

    def fork_main(
        self,
        repository: Path,
        *options: str,
        job: str = "job",
        output: str = "main.out",
        first: Callable[[], None] = lambda: None,
        **environment: str,
    ) -> Child:
        """`main.py` itself, under `environment`, in a process that has its imports already and calls `first` before."""
        import torch

        from difflogic_tonic.errors import run_command

        def work() -> int:
            torch.set_num_threads(1)
            first()
            places = {"PROJECT_STORAGE_DIR": str(self.project), "SCRATCH_STORAGE_DIR": str(self.scratch)}
            os.environ.update(places | environment)
            spec = importlib.util.spec_from_file_location("main", repository / "main.py")
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return run_command(module.main, self.arguments(*options, job=job))

        return fork(work, self.root / output)

    def evaluate_as_from_another_device(self, model: str, backend: str) -> int:
        """Evaluate the best model as if the section `model` of its config named another `backend`."""
        import torch

        from difflogic_tonic.config import StoragePaths
        from difflogic_tonic.train.evaluation import evaluate_run

        path = self.project / "models" / "job" / "best.pt"
        saved = torch.load(path, weights_only=False)
        saved["config"]["model"][model]["backend"] = backend
        torch.save(saved, path)
        return evaluate_run("job", "best", "cpu", StoragePaths(self.scratch, self.project))

    def weights(self, which: str = "last", job: str = "job") -> dict[str, Any]:
        from difflogic_tonic.runs.model_file import load_model

        return load_model(self.project / "models" / job / f"{which}.pt").model

    def rows(self, job: str = "job") -> list[dict[str, Any]]:
        from difflogic_tonic.runs.metrics import read_metrics

        return read_metrics(self.project / "runs" / job / "metrics.jsonl")

    def checkpoints(self, place: str = "scratch", job: str = "job") -> list[Path]:
        return sorted((self.root / place / "checkpoints" / job).glob("step-*.pt"))


@pytest.fixture(scope="session")
def make_laboratory(small_storage: Path) -> Callable[[Path], Laboratory]:
    """`make_laboratory(folder)`: the small dataset in both places of `folder`."""

    def make(root: Path) -> Laboratory:
        made = Laboratory(root)
        for place in (made.scratch, made.project):
            place.mkdir()
            (place / "data").symlink_to(small_storage / "data")
        return made

    return make


@pytest.fixture
def laboratory(tmp_path: Path, make_laboratory: Callable[[Path], Laboratory]) -> Laboratory:
    return make_laboratory(tmp_path)
