"""The shipped configs of CIFAR10-DVS and DVS128 Gesture: from files as they are published to a trained network."""

import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from difflogic_tonic.config import DATASETS, StoragePaths, load_prepare_config, load_train_config
from difflogic_tonic.runs.signals import stop_on
from difflogic_tonic.storage import open_storage

pytestmark = pytest.mark.integration
EVENTS = 400


def stream(rng: np.random.Generator, label: int, span_us: int) -> tuple[np.ndarray, ...]:
    """x, y, t, p of events around a place that depends on the class."""
    x = np.clip(rng.normal(10 * label + 10, 5, EVENTS), 0, 127).astype(np.uint32)
    y, p = rng.integers(0, 128, EVENTS, np.uint32), rng.integers(0, 2, EVENTS, np.uint32)
    return x, y, np.sort(rng.integers(0, span_us, EVENTS)).astype(np.uint32), p


def write_cifar10dvs(root: Path) -> None:
    """`<class>/cifar10_<class>_<number>.aedat`: AEDAT 2.0, an address and a time, big-endian."""
    rng = np.random.default_rng(0)
    for label, name in enumerate(DATASETS["CIFAR10DVS"].classes):
        (root / name).mkdir(parents=True)
        for number in range(6):
            x, y, t, p = stream(rng, label, 1_300_000)
            words = np.stack([(127 - x) << 8 | (127 - y) << 1 | 1 - p, t], axis=1).astype(">u4")
            content = b"#!AER-DAT2.0\r\n# This is a raw AE data file\r\n" + words.tobytes()
            (root / name / f"cifar10_{name}_{number}.aedat").write_bytes(content)


def write_dvsgesture(root: Path) -> None:
    """Recordings of all gestures in AEDAT 3.1, the tables that cut them, and the lists of the two splits."""
    rng = np.random.default_rng(0)
    root.mkdir()
    splits = {"train": ["user01_led", "user02_lab", "user03_natural"], "test": ["user24_led"]}
    for split, trials in splits.items():
        (root / f"trials_to_{split}.txt").write_text("".join(f"{trial}.aedat\n" for trial in trials))
        for trial in trials:
            content, table = (
                b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n#!END-HEADER\r\n",
                ["class,start,end"],
            )
            for label in range(11):
                start = 80_000_000 + 6_000_000 * label
                x, y, t, p = stream(rng, label, 5_000_000)
                words = np.stack([x << 17 | y << 2 | p << 1 | 1, t + start], axis=1).astype("<u4")
                content += struct.pack("<HHIIIIII", 1, 1, 8, 4, 0, EVENTS, EVENTS, EVENTS) + words.tobytes()
                table.append(f"{label + 1},{start},{start + 5_000_000}")
            (root / f"{trial}.aedat").write_bytes(content)
            (root / f"{trial}_labels.csv").write_text("\n".join(table) + "\n")


@pytest.fixture(scope="module")
def places(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> StoragePaths:
    """Both datasets prepared by their shipped configs."""
    from difflogic_tonic import cache

    root = tmp_path_factory.mktemp("datasets")
    paths = StoragePaths(root / "storage", root / "storage")
    for name, write in (("cifar10dvs", write_cifar10dvs), ("dvsgesture", write_dvsgesture)):
        write(root / name)
        given = [f"data.data_root={root / name}", "data.allow_subset=true", "data.val_fraction=0.1"]
        config = load_prepare_config(repository / f"configs/prepare_{name}.yaml", given)
        cache.prepare(config, open_storage(paths), progress=False)
    return paths


@pytest.mark.parametrize("model", ["difflogic", "cnn", "mlp", "snn"])
@pytest.mark.parametrize("name", ["cifar10dvs", "dvsgesture"])
def test_the_shipped_configs_train_on_files_in_the_original_formats(
    name: str, model: str, repository: Path, places: StoragePaths, capsys: pytest.CaptureFixture[str]
) -> None:
    from difflogic_tonic.train import session

    torch.set_num_threads(1)
    job = f"{name}_{model}"
    config = load_train_config(
        repository / f"configs/{job}.yaml",
        ["train.epochs=1", "train.device=cpu", "train.dataloader.batch_size=32"],
        job,
    )
    with stop_on("SIGTERM") as stop:
        assert session.train(session.Request(config, "new", [job], places), stop) == 0
    part = {"cifar10dvs": "[subset: 60 of 10,000]", "dvsgesture": "[subset: 33 of 1,176 train, 11 of 288 test]"}
    assert part[name] in capsys.readouterr().out
