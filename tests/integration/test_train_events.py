"""Runs on events that are sliced as they are read: the same as on prepared frames, to the bit, stopped or not."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from difflogic_tonic import cache
from difflogic_tonic.cache.event_split import EventSplit
from difflogic_tonic.config import StoragePaths, load_prepare_config
from difflogic_tonic.errors import STOPPED, ConfigError, ResumeMismatch
from difflogic_tonic.storage import open_storage

pytestmark = pytest.mark.integration
WAY = {"time_bins": 3, "overlap": 0.5}


@pytest.fixture
def workplace(laboratory: Any, small_recordings: Path) -> Any:
    """A laboratory with prepare configs `events.yaml` and `frames.yaml` of the same slicing, both prepared."""
    for place in (laboratory.scratch, laboratory.project):
        (place / "data").unlink()
    data = {"name": "NMNIST", "data_root": str(small_recordings), "allow_subset": True, "val_fraction": 0.2, **WAY}
    for kind in ("events", "u8"):
        write_prepare(laboratory, kind, data | {"frames": kind})
        storage = open_storage(StoragePaths(laboratory.scratch, laboratory.project))
        cache.prepare(load_prepare_config(prepare_config(laboratory, kind)), storage, progress=False)
    return laboratory


def prepare_config(laboratory: Any, kind: str) -> Path:
    return Path(laboratory.root / f"prepare_{kind}.yaml")


def write_prepare(laboratory: Any, kind: str, data: dict[str, Any]) -> None:
    prepare_config(laboratory, kind).write_text(yaml.safe_dump({"data": data}))


def run(laboratory: Any, kind: str, *options: str, job: str = "job", words: str = "") -> int:
    override = f"data.prepare={prepare_config(laboratory, kind)} {words}"
    return int(laboratory.main(*options, "--override", override, job=job))


def same_weights(laboratory: Any, one: str, other: str) -> bool:
    ours, theirs = laboratory.weights(job=one), laboratory.weights(job=other)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("model_type", ["MLP", "SNN"])
def test_a_run_on_events_is_the_run_on_their_frames(model_type: str, workplace: Any) -> None:
    workplace.write_config(model_type, epochs=1)
    assert run(workplace, "events") == run(workplace, "u8", job="frames") == 0
    assert same_weights(workplace, "job", "frames")
    saved = yaml.safe_load((workplace.project / "runs" / "job" / "config.yaml").read_text())
    assert {key: saved["data"]["slice"][key] for key in WAY} == WAY


def test_a_stopped_run_goes_on_to_the_same_weights(workplace: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    workplace.write_config("MLP", epochs=2)
    run(workplace, "events", job="whole")
    read, calls = EventSplit.read_frames, iter(range(10**6))

    def stopping(split: EventSplit, frames: Any, out: Any) -> None:
        if next(calls) == 12:
            os.kill(os.getpid(), signal.SIGUSR1)
        read(split, frames, out)

    monkeypatch.setattr(EventSplit, "read_frames", stopping)
    assert run(workplace, "events") == STOPPED
    assert run(workplace, "events", "--resume") == 0
    assert same_weights(workplace, "job", "whole")


def test_a_resume_with_another_slicing_is_refused_wherever_it_is_written(workplace: Any) -> None:
    workplace.write_config("MLP", epochs=1)
    run(workplace, "events")
    with pytest.raises(ResumeMismatch, match=r"data\.slice\.time_bins was 3 in the checkpoint and is 4 now"):
        run(workplace, "events", "--resume", words="data.slice.time_bins=4 data.slice.overlap=0.5")
    data = yaml.safe_load(prepare_config(workplace, "events").read_text())["data"]
    write_prepare(workplace, "events", data | {"time_bins": 5})
    with pytest.raises(ResumeMismatch, match=r"data\.slice\.time_bins was 3 in the checkpoint and is 5 now"):
        run(workplace, "events", "--resume")


def test_another_text_of_the_slicing_function_is_refused_by_a_resume_and_told_by_an_evaluation(
    workplace: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from difflogic_tonic.train.evaluation import evaluate_run

    text = "import numpy as np\n\ndef whole(events, H, W):\n    counts = np.zeros((1, 2, H, W), int)\n"
    text += "    np.add.at(counts, (0, events['p'], events['y'], events['x']), 1)\n    return counts\n"
    source = workplace.root / "slicer_of_resume.py"
    source.write_text(text)
    monkeypatch.syspath_prepend(workplace.root)
    words = "data.slice.custom_slicing=slicer_of_resume:whole"
    workplace.write_config("MLP", epochs=1)
    run(workplace, "events", words=words)
    source.write_text(text.replace(", 1)", ", 2)"))
    with pytest.raises(ResumeMismatch, match=r"the source of data\.slice\.custom_slicing has changed"):
        run(workplace, "events", "--resume", words=words)
    capsys.readouterr()
    for now, changed in ((source.read_text(), True), (text, False)):
        source.write_text(now)
        evaluate_run("job", "best", "cpu", StoragePaths(workplace.scratch, workplace.project))
        said = "".join(capsys.readouterr())
        assert ("the source of data.slice.custom_slicing has changed since this model was trained" in said) == changed


def test_a_model_is_evaluated_again_on_its_own_slicing(workplace: Any, capsys: pytest.CaptureFixture[str]) -> None:
    from difflogic_tonic.train.evaluation import evaluate_run

    workplace.write_config("MLP", epochs=1)
    run(workplace, "events")
    first = [line for line in capsys.readouterr().out.splitlines() if "accuracy" in line]
    prepare_config(workplace, "events").unlink()
    assert evaluate_run("job", "best", "cpu", StoragePaths(workplace.scratch, workplace.project)) == 0
    assert first == [line for line in capsys.readouterr().out.splitlines() if "accuracy" in line]


def test_a_variant_of_events_by_name_asks_for_a_slicing(workplace: Any) -> None:
    workplace.write_config("MLP", epochs=1)
    storage = open_storage(StoragePaths(workplace.scratch, workplace.project))
    events = load_prepare_config(prepare_config(workplace, "events"))
    fingerprint = cache.prepare(events, storage, progress=False).fingerprint
    with pytest.raises(ConfigError, match=r"has events; say how they become frames, e\.g\. with data\.slice\.events_p"):
        workplace.main("--override", f"data.variant='{fingerprint[:20]}'")
    assert workplace.main("--override", f"data.variant='{fingerprint[:20]}' data.slice.time_bins=4") == 0


def test_thresholds_of_bits_are_an_error_that_names_the_key_of_the_slicing(workplace: Any) -> None:
    workplace.write_config("DiffLogic", epochs=1)
    words = "data.slice.time_bins=3 data.slice.frames=bits model.difflogic.thresholds=[2]"
    with pytest.raises(ConfigError, match=r"stores bits; use data\.slice\.frames: u8, or"):
        run(workplace, "events", words=words)
