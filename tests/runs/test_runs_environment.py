"""What makes a resumed run differ in the last bits is said."""

import json
import logging
from pathlib import Path

import pytest

from difflogic_tonic.runs.environment import say_what_changed

NOW = {"cpu": "A", "python": "3.11.2", "packages": {"torch": "2.13.0", "numpy": "2.0"}, "host": "here"}


def said(path: Path, before: dict[str, object], caplog: pytest.LogCaptureFixture) -> list[str]:
    path.write_text(json.dumps(before))
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        say_what_changed(path, NOW)
    return caplog.messages


def test_another_processor_or_library_is_said_and_another_host_is_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "environment.json"
    assert said(path, NOW | {"host": "there"}, caplog) == []
    assert said(path, NOW | {"cpu": "B", "packages": {"torch": "2.12.0", "numpy": "2.0"}}, caplog) == [
        "changed since the last start: cpu B, now A; torch 2.12.0, now 2.13.0; results may differ in the last bits "
        "from here on"
    ]


def test_a_missing_or_damaged_file_says_nothing(tmp_path: Path) -> None:
    say_what_changed(tmp_path / "none.json", NOW)
    (tmp_path / "half.json").write_text("{")
    say_what_changed(tmp_path / "half.json", NOW)
