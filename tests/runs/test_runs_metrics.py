"""metrics.jsonl and TensorBoard events: rows only grow, and a resume cuts both to what the checkpoint knows of."""

import json
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from difflogic_tonic.errors import StorageFull
from difflogic_tonic.runs.metrics import EVENT_FILE, MetricsLog, read_metrics

FullDisk = Callable[[int], AbstractContextManager[None]]


def row(step: int, **metrics: float) -> dict[str, Any]:
    return {"kind": "step", "step": step, "epoch": 1, "time": 1000.5 + step, "loss": 0.1 * step, **metrics}


def opened(folder: Path, keep_rows: int = 0) -> MetricsLog:
    return MetricsLog(folder / "metrics.jsonl", folder, keep_rows)


def events(folder: Path) -> list[tuple[int, str, float]]:
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    found = []
    for event in LegacyEventFileLoader(str(folder / EVENT_FILE)).Load():
        found += [(event.step, value.tag, round(value.simple_value, 5)) for value in event.summary.value]
    return found


def test_rows_come_back_as_written(tmp_path: Path) -> None:
    log = opened(tmp_path)
    rows = [row(1, test_loss=1 / 3), row(2)]
    for each in rows:
        log.append(each)
    assert read_metrics(tmp_path / "metrics.jsonl") == rows
    assert events(tmp_path) == [(1, "Step/Loss", 0.1), (1, "Test/Loss", 0.33333), (2, "Step/Loss", 0.2)]


def test_rows_after_the_checkpoint_are_cut_from_both_files(tmp_path: Path) -> None:
    first = opened(tmp_path)
    for step in (1, 2, 3):
        first.append(row(step))
    resumed = opened(tmp_path, keep_rows=2)
    assert resumed.n_rows == 2
    resumed.append(row(3, val_loss=0.5))
    assert read_metrics(tmp_path / "metrics.jsonl") == [row(1), row(2), row(3, val_loss=0.5)]
    assert [event[:2] for event in events(tmp_path)] == [
        (1, "Step/Loss"),
        (2, "Step/Loss"),
        (3, "Step/Loss"),
        (3, "Val/Loss"),
    ]


def test_a_line_that_a_kill_cut_short_is_dropped(tmp_path: Path) -> None:
    opened(tmp_path).append(row(1))
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "step", "st')
    assert opened(tmp_path, keep_rows=1).n_rows == 1
    assert (tmp_path / "metrics.jsonl").read_text() == json.dumps(row(1)) + "\n"


def test_events_that_are_gone_or_torn_are_rebuilt_from_the_rows(tmp_path: Path) -> None:
    log = opened(tmp_path)
    for step in (1, 2):
        log.append(row(step))
    whole = (tmp_path / EVENT_FILE).read_bytes()
    (tmp_path / EVENT_FILE).write_bytes(whole[:-5])
    opened(tmp_path, keep_rows=2)
    assert (tmp_path / EVENT_FILE).read_bytes() == whole
    (tmp_path / EVENT_FILE).unlink()
    opened(tmp_path, keep_rows=2)
    assert (tmp_path / EVENT_FILE).read_bytes() == whole


def test_a_cut_is_a_truncation_so_that_a_running_tensorboard_goes_on(tmp_path: Path) -> None:
    log = opened(tmp_path)
    for step in (1, 2, 3):
        log.append(row(step))
    inode = (tmp_path / EVENT_FILE).stat().st_ino
    opened(tmp_path, keep_rows=1)
    assert (tmp_path / EVENT_FILE).stat().st_ino == inode
    assert len(events(tmp_path)) == 1


def test_rows_missing_from_the_file_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    opened(tmp_path).append(row(1))
    with caplog.at_level(logging.WARNING, "difflogic_tonic"):
        assert opened(tmp_path, keep_rows=3).n_rows == 1
    assert "has 1 of the 3 rows" in caplog.text


def test_a_full_disk_leaves_whole_rows_and_one_clear_error(tmp_path: Path, full_disk: FullDisk) -> None:
    log = opened(tmp_path)
    log.append(row(1))
    size = (tmp_path / "metrics.jsonl").stat().st_size
    with full_disk(size + 20), pytest.raises(StorageFull):
        log.append(row(2))
    assert read_metrics(tmp_path / "metrics.jsonl") == [row(1)]
    assert (tmp_path / "metrics.jsonl").stat().st_size == size
    assert log.n_rows == 1


def test_a_full_disk_for_tensorboard_alone_is_a_warning_and_mended_later(
    tmp_path: Path, full_disk: FullDisk, caplog: pytest.LogCaptureFixture
) -> None:
    log = opened(tmp_path)
    log.append(row(1))
    many = {f"metric_{number}": 0.0 for number in range(40)}
    limit = (tmp_path / "metrics.jsonl").stat().st_size + len(json.dumps(row(2, **many))) + 1
    with full_disk(limit), caplog.at_level(logging.WARNING, "difflogic_tonic"):
        log.append(row(2, **many))
    assert "TensorBoard misses rows from step 2 on" in caplog.text
    assert opened(tmp_path, keep_rows=2).n_rows == 2
    assert len(events(tmp_path)) == 42


def test_nan_is_not_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        opened(tmp_path).append(row(1, test_loss=float("nan")))
    assert read_metrics(tmp_path / "metrics.jsonl") == []


def test_a_tensorboard_that_cannot_be_written_is_said_once(
    tmp_path: Path, full_disk: FullDisk, caplog: pytest.LogCaptureFixture
) -> None:
    log = opened(tmp_path)
    (tmp_path / EVENT_FILE).write_bytes(bytes(10_000))
    with full_disk(10_000), caplog.at_level(logging.WARNING, "difflogic_tonic"):
        for step in (1, 2, 3):
            log.append(row(step))
    assert caplog.text.count("TensorBoard misses") == 1
    assert log.n_rows == 3


def test_damaged_events_are_replaced_whole_or_not_at_all(tmp_path: Path, full_disk: FullDisk) -> None:
    log = opened(tmp_path)
    for step in (1, 2, 3):
        log.append(row(step))
    damaged = b"?" + (tmp_path / EVENT_FILE).read_bytes()[1:]
    (tmp_path / EVENT_FILE).write_bytes(damaged)
    with full_disk(20), pytest.raises(StorageFull):
        opened(tmp_path, keep_rows=2)
    assert (tmp_path / EVENT_FILE).read_bytes() == damaged
