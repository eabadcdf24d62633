"""Whole runs of spiking networks on images and events: stopped and resumed in every family, and short of memory."""

import gzip
import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from difflogic_tonic.errors import ConfigError

pytestmark = pytest.mark.integration

CLASSES = 10
PER_CLASS = {"train": 5, "t10k": 2}


@pytest.fixture(scope="session")
def image_storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A storage root with 50 + 20 prepared images of 28 × 28, a bar whose place depends on the class."""
    from difflogic_tonic import cache
    from difflogic_tonic.config import StoragePaths, load_prepare_config
    from difflogic_tonic.storage import open_storage

    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for split, per_class in PER_CLASS.items():
        labels = np.arange(CLASSES * per_class, dtype=np.uint8) % CLASSES
        images = rng.integers(0, 60, (len(labels), 28, 28), dtype=np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[2 * label + 3 : 2 * label + 6] += 150
        for name, values in (("images-idx3", images), ("labels-idx1", labels)):
            head = struct.pack(">BBBB", 0, 0, 8, values.ndim) + struct.pack(f">{values.ndim}I", *values.shape)
            (root / f"{split}-{name}-ubyte.gz").write_bytes(gzip.compress(head + values.tobytes()))
    path = root / "prepare.yaml"
    data = {"name": "FASHIONMNIST", "data_root": str(root), "allow_subset": True, "val_fraction": 0.2}
    path.write_text(yaml.safe_dump({"data": data}))
    cache.prepare(load_prepare_config(path), open_storage(StoragePaths(root, root)), progress=False)
    return root


def write(laboratory: Any, storage: Path | None, snn: dict[str, Any], **train: Any) -> None:
    """A run of two epochs on the images in `storage`, or, without it, on the events."""
    laboratory.write_config("SNN", **train)
    laboratory.config["model"]["snn"] = snn
    if storage is not None:
        laboratory.config["data"] = {"name": "FASHIONMNIST"}
        for place in (laboratory.scratch, laboratory.project):
            (place / "data").unlink()
            (place / "data").symlink_to(storage / "data")
    laboratory.config_path.write_text(yaml.safe_dump(laboratory.config))


FAMILIES: dict[str, tuple[bool, dict[str, Any], dict[str, Any]]] = {
    "poisson spikes, dropout, batch normalisation": (
        True,
        {"architecture": "4C5-BN-MP4-DP0.3-FC10", "encoding": "rate", "steps": 3, "readout": "rate"},
        {"loss": "mse", "optimizer": "sgd", "learning_rate": 0.1, "warmup_epochs": 0.5},
    ),
    "bf16, step by step": (
        True,
        {"architecture": "4C5-MP4-FC10", "readout": "current", "dropout": 0.2},
        {"loss": "tet", "amp": "bf16", "accumulate": 2},
    ),
    "latencies, computed again": (
        True,
        {"architecture": "4C5-BN-MP4-DP0.3-FC10", "encoding": "latency", "steps": 5},
        {"recompute": True},
    ),
    "recurrent and with synapses": (False, {"architecture": "4C5-MP4-ER-FC8-LR-SF2L-FC10"}, {"label_smoothing": 0.1}),
    "augmented events as changes": (False, {"architecture": "4C5-MP2-16C3-MP2-FC10", "encoding": "delta"}, {}),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_run_stopped_at_any_time_ends_as_one_that_was_not(
    family: str, laboratory: Any, image_storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from difflogic_tonic.errors import STOPPED
    from difflogic_tonic.runs.signals import StopRequest
    from difflogic_tonic.train.saving import Saver

    images, snn, train = FAMILIES[family]
    write(laboratory, image_storage if images else None, snn, **train)
    if family.startswith("augmented"):
        laboratory.config["data"]["augment"] = {"flip": True, "shift": 2}
        laboratory.config_path.write_text(yaml.safe_dump(laboratory.config))
    laboratory.main(job="whole")
    looks = iter(range(10**6))
    look = Saver.between_steps

    def every_fifth(saver: Saver) -> bool:
        if next(looks) % 5 == 4:
            request: StopRequest = saver._stop
            request.request("SIGUSR1")
        return look(saver)

    monkeypatch.setattr(Saver, "between_steps", every_fifth)
    starts = 1
    code = laboratory.main()
    while code == STOPPED:
        torch.manual_seed(starts)  # what a new process would start with
        code = laboratory.main("--resume")
        starts += 1
    assert code == 0
    assert starts >= 3
    whole, resumed = laboratory.weights(job="whole"), laboratory.weights()
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    summaries = [
        json.loads((laboratory.project / "runs" / job / "summary.json").read_text()) for job in ("whole", "job")
    ]
    for summary in summaries:
        for name in [name for name in summary if name == "job_id" or "second" in name or "memory" in name]:
            del summary[name]
    assert summaries[0] == summaries[1]


def test_images_learn_in_every_encoding(laboratory: Any, image_storage: Path) -> None:
    """Also that an evaluation of a saved model draws the same spikes."""
    write(laboratory, image_storage, {"architecture": "FC10"}, epochs=5, learning_rate=0.01)
    for encoding in ("direct", "rate", "latency", "delta"):
        laboratory.main("--override", f"model.snn.encoding={encoding}", job=encoding)
        rows = [row for row in laboratory.rows(job=encoding) if row["kind"] == "epoch"]
        assert rows[-1]["train_loss"] < 0.8 * rows[0]["train_loss"], encoding


def test_what_is_drawn_in_an_evaluation_is_drawn_again(
    laboratory: Any, image_storage: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from difflogic_tonic.config import StoragePaths
    from difflogic_tonic.train.evaluation import evaluate_run

    write(laboratory, image_storage, {"architecture": "FC10", "encoding": "rate"}, epochs=1)
    laboratory.main()
    measured = [line for line in capsys.readouterr().out.splitlines() if "accuracy" in line]
    evaluate_run("job", "best", "cpu", StoragePaths(laboratory.scratch, laboratory.project))
    assert measured == [line for line in capsys.readouterr().out.splitlines() if "accuracy" in line]


def test_a_run_on_another_device_than_the_saved_one_takes_the_neurons_that_fit(
    laboratory: Any, image_storage: Path
) -> None:
    write(laboratory, image_storage, {"architecture": "8C5-MP4-FC10"}, epochs=1)
    laboratory.main()
    assert laboratory.evaluate_as_from_another_device("snn", "compiled") == 0


def test_neurons_that_the_device_does_not_have_are_refused_before_there_is_a_run(
    laboratory: Any, image_storage: Path
) -> None:
    write(laboratory, image_storage, {"architecture": "8C5-MP4-FC10", "backend": "compiled"}, epochs=1)
    with pytest.raises(ConfigError, match=r"neuron backend compiled: .*; auto takes what there is"):
        laboratory.main()
    assert not (laboratory.project / "runs" / "job").exists()


def test_a_run_says_what_it_computes_in_and_both_accuracies(laboratory: Any, image_storage: Path) -> None:
    write(laboratory, image_storage, {"architecture": "FC10"}, epochs=3, amp="bf16")
    laboratory.main()
    folder = laboratory.project / "runs" / "job"
    assert json.loads((folder / "environment.json").read_text())["amp"] == "bf16"
    assert "computes in bf16, weights in fp32 (train.amp: bf16)" in (folder / "log.txt").read_text()
    summary = json.loads((folder / "summary.json").read_text())
    accuracies = {row["epoch"]: row["test_recording_accuracy"] for row in laboratory.rows() if row["kind"] == "epoch"}
    assert summary["test_recording_accuracy"] == accuracies[summary["best_epoch"]]
    assert summary["test_recording_accuracy_max"] == max(accuracies.values())
    assert accuracies[summary["test_recording_accuracy_max_epoch"]] == max(accuracies.values())
    said = (folder / "log.txt").read_text()
    assert "test, the best of 3 epochs: recordings" in said
    assert "optimistic" in said


def test_a_run_that_moves_keeps_its_precision_as_far_as_it_can(
    laboratory: Any, image_storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from difflogic_tonic.train import precision

    write(laboratory, image_storage, {"architecture": "FC10"}, epochs=1)
    folder = laboratory.project / "runs" / "job"
    computed = []
    for epochs, fast in ((1, True), (2, False), (3, True)):
        monkeypatch.setattr(precision, "is_fast_at_bf16", lambda device, fast=fast: fast)
        options = [] if epochs == 1 else ["--resume"]
        laboratory.main(*options, "--override", f"train.epochs={epochs}")
        computed.append(json.loads((folder / "environment.json").read_text())["amp"])
    assert computed == ["bf16", "off", "off"]  # the last: fp32 is what it began its last start with


DEEP = {"architecture": "8C5-MP2-16C5-MP2-FC10", "steps": 200, "threshold": 0.5}
"""About 1.4 MB of activations for each image."""


CONFINED = """
import resource, sys, threading
from pathlib import Path

threading.stack_size(1 << 20)  # stacks of threads count: eight times as much each, unless somebody says so

import torch

import main
from difflogic_tonic.errors import run_command
from difflogic_tonic.train import run

n_bytes, config, warming_up, job = int(sys.argv[1]), *sys.argv[2:]
torch.set_num_threads(1)
assert run_command(main.main, [warming_up, "warm_" + job]) == 0  # compilers need more memory than there will be
fit = run.fit

def confined(*arguments):
    status = Path("/proc/self/status").read_text()
    (used,) = (1024 * int(line.split()[1]) for line in status.splitlines() if line.startswith("VmData:"))
    resource.setrlimit(resource.RLIMIT_DATA, (used + n_bytes, used + n_bytes))
    return fit(*arguments)

run.fit = confined
sys.exit(run_command(main.main, [config, job]))
"""


def limited(laboratory: Any, repository: Path, n_bytes: int, warming_up: Path, job: str) -> Any:
    """A process that may not have more than `n_bytes` of memory on top of what it has when its first epoch begins.

    A new one, not a fork: what a process has freed it may use again, and ours has freed a lot. For the same reason
    this one maps each tensor by itself, which gives it back when freed: what is left in a heap differs by chance.
    """
    places = {"PROJECT_STORAGE_DIR": str(laboratory.project), "SCRATCH_STORAGE_DIR": str(laboratory.scratch)}
    arguments = [str(n_bytes), str(laboratory.config_path), str(warming_up), job]
    mapped = {"MALLOC_MMAP_THRESHOLD_": str(1 << 16), "MALLOC_TRIM_THRESHOLD_": str(1 << 16)}
    return subprocess.run(
        [sys.executable, "-c", CONFINED, *arguments],
        cwd=repository,
        env=os.environ | places | mapped | {"OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_does_not_fit_in_memory_trains_in_parts_and_computed_again(
    laboratory: Any, image_storage: Path, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from difflogic_tonic.errors import OutOfMemory
    from difflogic_tonic.train import preflight

    estimates = []
    estimate = preflight.estimate
    monkeypatch.setattr(
        preflight, "estimate", lambda *one, **two: estimates.append(estimate(*one, **two)) or estimates[-1]
    )

    def configure(batch_size: int, epochs: int = 2, **train: Any) -> None:
        loader = {"dataloader": {"batch_size": batch_size}}
        training = {"epochs": epochs, "optimizer": "sgd", "learning_rate": 0.2}
        write(laboratory, image_storage, DEEP, **training, **loader, **train)

    in_parts = {"accumulate": 8, "recompute": True, "recompute_steps": 10}
    configure(5, epochs=1, **in_parts)
    warming_up = tmp_path / "warming_up.yaml"
    warming_up.write_text(laboratory.config_path.read_text())
    configure(40)
    laboratory.main(job="whole")
    room = estimates[0].activations  # 57 MB; in parts it takes less than 25 MB, whole it fails with 120 MB as well
    failed = limited(laboratory, repository, room, warming_up, "failing")
    assert failed.returncode == OutOfMemory.exit_code, failed.stdout + failed.stderr
    (said,) = [line for line in failed.stderr.splitlines() if "out of memory" in line]
    for key in ("batch_size 40", "train.accumulate", "train.recompute: true", "train.amp: bf16"):
        assert key in said

    configure(5, **in_parts)
    fitting = limited(laboratory, repository, room, warming_up, "fitting")
    assert fitting.returncode == 0, fitting.stdout + fitting.stderr
    whole, parts = laboratory.weights(job="whole"), laboratory.weights(job="fitting")
    assert whole["network.7.bias"].abs().max() > 1e-3  # it began at 0
    for name, weight in whole.items():
        assert (weight - parts[name]).abs().max() < 1e-6, name
