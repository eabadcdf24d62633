"""Lines of progress in a log file."""

import io
import logging

import pytest

from difflogic_tonic.cache import progress
from difflogic_tonic.cache.progress import Progress, bar_on_terminal, time_text


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that it is."""
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: False, raising=False)
    return now


def test_a_line_says_how_much_is_done_how_fast_and_how_long_it_takes(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with Progress(10_000, "recordings", "framing") as shown:
        clock[0] += 20
        shown.advance(500)  # most of the time was spent on compiling
        shown.show()
        clock[0] += 20
        shown.advance(2_000)
        shown.show()
        shown.show()  # too early for another
    assert caplog.messages == [
        "framing: 500 of 10,000 recordings",
        "framing: 2,500 of 10,000 recordings, 100/s, 75 s left",
    ]


def test_a_bar_shows_no_time_left_until_it_has_worked_for_a_while(clock: list[float]) -> None:
    with bar_on_terminal(1000, "batch", "epoch 1", initial=100, file=io.StringIO(), miniters=1, mininterval=0) as bar:
        clock[0] += 60  # compiling
        bar.update(1)
        assert "101/1000 [" in str(bar)
        assert "<" not in str(bar)
        clock[0] += progress.SETTLING_SECONDS
        bar.update(progress.SETTLING_UNITS - 1)
        assert "<" not in str(bar)
        bar.update(1)
        assert "<" in str(bar)


def test_what_was_found_at_once_does_not_count_as_a_rate(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    shown = Progress(1_000_000, "recordings", "framing")
    shown.advance(900_000)
    for _ in range(2):
        clock[0] += 20
        shown.advance(20)
        shown.show()
    assert caplog.messages[-1].endswith("recordings, 1.0/s, 27 h 46 min left")


def test_without_a_rate_the_time_is_unknown(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    shown = Progress(3, "recordings", "framing")
    for _ in range(2):
        clock[0] += 20
        shown.show()
    assert caplog.messages[-1] == "framing: 0 of 3 recordings, 0.0/s, unknown time left"


def test_nothing_is_said_when_quiet(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    shown = Progress(3, "recordings", "framing", enabled=False)
    clock[0] += 20
    shown.show()
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (99, "99 s"), (120, "2 min"), (3570, "1 h 0 min"), (12_300, "3 h 25 min"), (3000, "50 min")],
)
def test_times_are_rounded_to_what_matters(seconds: float, text: str) -> None:
    assert time_text(seconds) == text
