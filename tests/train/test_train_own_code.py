"""Optimizers and networks of one's own in a run."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from difflogic_tonic.errors import ConfigError, ResumeMismatch
from difflogic_tonic.train.resume import check_data, code_digests

SOURCE = """
from torch import optim

def halved(parameters, learning_rate, weight_decay):
    return optim.NAdam(parameters, lr=learning_rate, weight_decay=weight_decay)

def its_own(parameters, learning_rate, weight_decay):
    first, *rest = parameters
    return optim.SGD([{"params": [first], "lr": 0.5}, {"params": rest}], lr=learning_rate)

def a_rate(parameters, learning_rate, weight_decay):
    return learning_rate
"""


@pytest.fixture
def module(own_module: Callable[[str, str], Path]) -> Path:
    """A module `my_optimizers` that can be imported."""
    return own_module("my_optimizers", SOURCE)


def test_it_trains_and_follows_the_schedule(workshop: Any, module: Path) -> None:
    config = workshop.config("MLP", epochs=1, optimizer="my_optimizers:halved", weight_decay=0.25)
    outcome = workshop.train(config)
    assert isinstance(outcome.state.optimizer, torch.optim.NAdam)
    (group,) = outcome.state.optimizer.param_groups
    assert (group["weight_decay"], group["lr"]) == (0.25, outcome.state.progress.rate)


def test_what_it_must_return(workshop: Any, module: Path) -> None:
    with pytest.raises(ConfigError, match=r"my_optimizers:a_rate returned float; expected an instance of torch\.optim"):
        workshop.state(workshop.config("MLP", optimizer="my_optimizers:a_rate"))
    with pytest.raises(
        ConfigError, match=r"its_own takes the learning rate 0\.5 and not the 0\.25 .* set train\.learning"
    ):
        workshop.state(workshop.config("MLP", optimizer="my_optimizers:its_own", learning_rate=0.25))


def test_a_resume_after_a_change_of_its_source_is_refused(workshop: Any, module: Path) -> None:
    config = workshop.config("MLP", optimizer="my_optimizers:halved")
    state = workshop.state(config)
    before = replace(state.identity, code=code_digests(config))
    state.identity = before
    snapshot = state.snapshot()
    check_data(snapshot, before)
    module.write_text(SOURCE + "# another\n")
    now = replace(before, code=code_digests(config))
    with pytest.raises(ResumeMismatch, match=r"source of train\.optimizer has changed .*put it back, or .*--fresh"):
        check_data(snapshot, now)


def test_only_code_of_ones_own_has_a_digest(workshop: Any, module: Path) -> None:
    assert code_digests(workshop.config("SNN")) == {}
    assert code_digests(workshop.config("SNN", optimizer="my_optimizers:halved")).keys() == {"train.optimizer"}
    with pytest.raises(ConfigError, match=r"train\.optimizer: no_such:f: there is no module no_such"):
        code_digests(workshop.config("SNN", optimizer="no_such:f"))
