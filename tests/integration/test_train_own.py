"""A whole run of a network and an optimizer of one's own."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from difflogic_tonic.errors import ResumeMismatch

pytestmark = pytest.mark.integration
SOURCE = """
from torch import nn, optim

def network(frame_shape, classes, neuron):
    return nn.Sequential(nn.MaxPool2d(4), nn.Flatten(), nn.LazyLinear(12), neuron(), nn.LazyLinear(classes))

def model(frame_shape, classes):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(classes))

def optimizer(parameters, learning_rate, weight_decay):
    return optim.NAdam(parameters, lr=learning_rate, weight_decay=weight_decay)
"""


@pytest.fixture
def parts(own_module: Callable[[str, str], Path]) -> Path:
    """A module `my_parts` that can be imported."""
    return own_module("my_parts", SOURCE)


@pytest.mark.parametrize(
    ("model", "named"),
    [
        ({"model_type": "SNN", "snn": {"architecture": "my_parts:network"}}, "model.snn.architecture"),
        ({"model_type": "my_parts:model"}, "model.model_type"),
    ],
)
def test_it_trains_is_evaluated_again_and_goes_on_only_with_the_same_source(
    model: dict[str, Any], named: str, laboratory: Any, parts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from difflogic_tonic.config import StoragePaths
    from difflogic_tonic.train.evaluation import evaluate_run

    laboratory.write_config("SNN", epochs=1, optimizer="my_parts:optimizer")
    laboratory.config["model"] = model
    laboratory.config_path.write_text(yaml.safe_dump(laboratory.config))
    assert laboratory.main() == 0
    summary = json.loads((laboratory.project / "runs" / "job" / "summary.json").read_text())
    assert summary["code"].keys() == {"train.optimizer", named}
    said = [line for line in capsys.readouterr().out.splitlines() if "test: " in line]
    assert evaluate_run("job", "best", "cpu", StoragePaths(laboratory.scratch, laboratory.project)) == 0
    assert said[0].partition("test: ")[2] in capsys.readouterr().out
    assert laboratory.main("--resume", "--override", "train.epochs=2") == 0
    parts.write_text(SOURCE + "# changed\n")
    with pytest.raises(ResumeMismatch, match=r"the source of \S+ has changed .*; put it back"):
        laboratory.main("--resume", "--override", "train.epochs=3")
