"""Time left: of the run, of the job, and the warning when one is shorter than the other."""

import logging
import time

import pytest

from difflogic_tonic.train.standing import Standing, eta_seconds
from difflogic_tonic.train.state import Progress


def test_the_rest_takes_as_long_per_epoch_as_what_is_done() -> None:
    assert eta_seconds(Progress(), 10) is None
    assert eta_seconds(Progress(epoch=1, seconds=3600.0), 10) == 9 * 3600.0
    assert eta_seconds(Progress(epoch=2, seconds=30.0), 10) == 120.0
    assert eta_seconds(Progress(epoch=10, seconds=150.0), 10) == 0.0
    assert eta_seconds(Progress(epoch=12, seconds=150.0), 10) == 0.0


def test_a_short_first_epoch_foretells_nothing() -> None:
    assert eta_seconds(Progress(epoch=1, seconds=59.0), 10) is None
    assert eta_seconds(Progress(epoch=1, seconds=59.0), 1) == 0.0  # there is no other


def test_without_a_job_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    left = Standing(None)
    left.compare(Progress(epoch=1, seconds=1e9), 10)
    assert left.facts(Progress(step=4), 10) == {"epoch": 0, "epochs": 10, "step": 4, "saves": 0}
    left.saved()
    facts = left.facts(Progress(epoch=2, seconds=20.0), 3)
    assert facts == {"epoch": 2, "epochs": 3, "step": 0, "saves": 1, "eta_seconds": 10.0}
    assert caplog.records == []


def test_a_job_that_is_too_short_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    left = Standing(time.time() + 60)
    with caplog.at_level(logging.WARNING):
        left.compare(Progress(epoch=2, seconds=10.0), 10)
        assert caplog.messages == []
        for _ in range(2):
            left.compare(Progress(epoch=1, seconds=3600.0), 3)
    assert len(caplog.messages) == 1
    assert "and the run takes about 2:00:00: it will save and be queued again" in caplog.messages[0]
    assert 0 < float(str(left.facts(Progress(), 3)["time_left_seconds"])) <= 60
