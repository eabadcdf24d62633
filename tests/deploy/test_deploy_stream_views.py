"""The live view of a stream, in terminals of several sizes."""

import re
from dataclasses import replace

import numpy as np
import pytest

from difflogic_tonic.cache.manifest import Manifest, Recordings
from difflogic_tonic.config import SensorSize
from difflogic_tonic.deploy.stream import Answers
from difflogic_tonic.deploy.stream_views import Screen
from difflogic_tonic.events.live import LiveFrames

CLASSES = tuple(f"class {k}" for k in range(11))
SMALL = SensorSize(34, 34, 2)
LARGE = SensorSize(346, 260, 2)


def manifest_of(sensor: SensorSize) -> Manifest:
    return Manifest(
        dataset="TOY", fingerprint="ab" * 32, parameters={}, parameters_hash="ab" * 32, classes=CLASSES, sensor=sensor,
        storage="u8", splits={}, recordings=Recordings((), (), (), (), ()), skipped=(), subset=None, n_saturated=0,
        versions={},
    )  # fmt: skip


def answers_of(sensor: SensorSize) -> Answers:
    """One frame with an event everywhere, taken for the last class."""
    frames = LiveFrames(np.ones((1, sensor.values), np.uint8), np.array([2_500_000]), np.array([sensor.values]))
    scores = np.arange(len(CLASSES), dtype=np.int32)[None]
    return Answers(frames, scores, scores / scores.sum(), latency=0.001)


def drawn(screen: Screen, answers: Answers, capsys: pytest.CaptureFixture[str]) -> str:
    screen(answers)
    screen.finish()
    return capsys.readouterr().out


def lines_of(printed: str) -> list[str]:
    """What the terminal shows, without escape codes."""
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", printed).splitlines()


@pytest.mark.parametrize("sensor", [SMALL, LARGE])
@pytest.mark.parametrize(("columns", "rows"), [(200, 60), (99, 40), (80, 24), (60, 12), (30, 6)])
def test_a_picture_stays_inside_the_terminal(
    sensor: SensorSize,
    columns: int,
    rows: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("LINES", str(rows))
    lines = lines_of(drawn(Screen(CLASSES, manifest_of(sensor)), answers_of(sensor), capsys))
    assert max(map(len, lines)) < columns, "a line that is broken takes two rows"
    assert len(lines) < rows, "what scrolls out cannot be drawn over"
    assert any("▀" in line for line in lines)
    assert any("> class 10" in line for line in lines)


def test_a_terminal_of_usual_size_has_the_whole_line_of_a_vote(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    lines = lines_of(drawn(Screen(CLASSES, manifest_of(SMALL)), answers_of(SMALL), capsys))
    assert lines[0].endswith("  frame 0  2.500 s  1.00 ms")
    assert lines[12].endswith("  > class 10     ████                 0.18")
    assert lines[16].startswith("▀" * 34)
    assert len(lines) == 17


def test_a_picture_is_drawn_over_the_one_before(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    screen, answers = Screen(CLASSES, manifest_of(SMALL)), answers_of(SMALL)
    first = drawn(screen, answers, capsys)
    second = drawn(screen, replace(answers, latency=0.002), capsys)
    assert not first.startswith("\x1b[17A")
    assert second.startswith("\x1b[17A\x1b[2K")
    assert "frame 1  2.500 s  2.00 ms" in second
