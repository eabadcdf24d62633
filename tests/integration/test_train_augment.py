"""Runs on augmented samples: an interruption changes nothing, and neither evaluation nor thresholds see any of it."""

from typing import Any

import pytest
import torch
import yaml

from difflogic_tonic.cache import SplitReader
from difflogic_tonic.config import load_train_config
from difflogic_tonic.errors import CacheMissing
from difflogic_tonic.train.inputs import open_inputs

pytestmark = pytest.mark.integration

PIXELS = {"flip": True, "shift": 2, "rotate": 10.0, "drop": 0.1, "noise": 0.01, "mixup": 0.2, "cutmix": 0.2}
CASES = {
    "MLP": {"augment": PIXELS},
    "SNN": {"augment": PIXELS | {"time_jitter": 1}, "batching": "bucketed"},
}


def write_config(laboratory: Any, model_type: str, **train: Any) -> None:
    laboratory.write_config(model_type, **train)
    laboratory.config["data"] |= CASES[model_type]
    laboratory.config_path.write_text(yaml.safe_dump(laboratory.config))


@pytest.mark.parametrize("model_type", CASES)
def test_a_resumed_run_equals_an_uninterrupted_one(
    model_type: str, laboratory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_config(laboratory, model_type, epochs=2)
    reads: list[int] = []

    def count_reads(last: float) -> None:
        """Every read of samples is noted; the one after `last` fails."""
        for name in ("read_frames", "read_recordings"):
            read = getattr(SplitReader, name)

            def counted(reader: SplitReader, which: Any, out: Any, read: Any = read) -> None:
                reads.append(len(which))
                if len(reads) > last:
                    raise CacheMissing("scratch storage was cleaned")
                read(reader, which, out)

            monkeypatch.setattr(SplitReader, name, counted)

    count_reads(float("inf"))
    laboratory.main(job="whole")
    n_reads = len(reads)
    monkeypatch.undo()
    reads.clear()
    count_reads(n_reads * 5 // 8)  # in the second epoch
    with pytest.raises(CacheMissing):
        laboratory.main()
    monkeypatch.undo()
    assert laboratory.rows()[-1]["epoch"] == 2
    assert laboratory.rows()[-1]["kind"] == "step"
    laboratory.main("--resume", "--override", "train.dataloader.num_workers=3 data.augment.on_device=true")
    whole, resumed = laboratory.weights(job="whole"), laboratory.weights()
    assert all(torch.equal(whole[name], weight) for name, weight in resumed.items())
    losses = [[row["loss"] for row in laboratory.rows(job) if row["kind"] == "step"] for job in ("whole", "job")]
    assert losses[0] == losses[1]


def test_only_training_batches_are_augmented(laboratory: Any, small_storage: Any) -> None:
    write_config(laboratory, "MLP")
    (variant,) = (small_storage / "data").glob("*/*/manifest.json")
    config = load_train_config(laboratory.config_path)
    unchanged = load_train_config(laboratory.config_path, [f"data.augment.{name}={off}" for name, off in OFF.items()])
    ours, plain = (open_inputs(which, variant.parent, "project", torch.device("cpu")) for which in (config, unchanged))
    for name, batches in plain.evaluated.items():
        for one, other in zip(batches.iterate(0), ours.evaluated[name].iterate(0), strict=True):
            assert torch.equal(one.inputs, other.inputs)
            assert other.mixed is None
    changed, before, thresholds = (next(source.iterate(0)) for source in (ours.train, plain.train, ours.plain_train))
    assert not torch.equal(changed.inputs, before.inputs)
    assert torch.equal(changed.rows, before.rows)
    assert torch.equal(thresholds.inputs, before.inputs)


OFF = {"flip": "false", "shift": 0, "rotate": 0, "drop": 0, "noise": 0, "mixup": 0, "cutmix": 0}
