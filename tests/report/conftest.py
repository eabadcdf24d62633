"""Run folders made by hand, small enough to know every number in them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from difflogic_tonic.runs.folder import RunFolder
from difflogic_tonic.runs.metrics import MetricsLog

MakeRun = Callable[..., RunFolder]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """A finished run of two epochs in project storage `tmp_path`, like those that training leaves."""

    def make(job_id: str = "job", summary: dict[str, Any] | None = None, config: str | None = None) -> RunFolder:
        files = RunFolder(tmp_path / "runs" / job_id)
        files.tensorboard.mkdir(parents=True)
        files.config.write_text(config or "base: {seed: 3, tag: null}\nmodel: {model_type: CNN}\ntrain: {epochs: 2}\n")
        files.command.write_text("2026-01-01T00:00:00+00:00 host: main.py c.yaml job\n")
        files.environment.write_text(json.dumps({"python": "3.11.7", "device": "cpu", "packages": {"torch": "2.13.0"}}))
        files.status.write_text(json.dumps({"state": "finished", "exit_code": 0}))
        files.summary.write_text(json.dumps({"job_id": job_id, "model_type": "CNN"} | (summary or {})))
        metrics = MetricsLog(files.metrics, files.tensorboard)
        for epoch in (1, 2):
            metrics.append({"kind": "step", "step": 5 * epoch, "epoch": epoch, "time": 10.0 * epoch, "loss": 1 / epoch})
            metrics.append({"kind": "epoch", "step": 5 * epoch, "epoch": epoch, "time": 10.0 * epoch, "test_loss": 0.5})
        return files

    return make
