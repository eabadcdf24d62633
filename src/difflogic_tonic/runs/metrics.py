"""`metrics.jsonl`, and the TensorBoard events that mirror it (`tags` has their names).

The event file is a pure function of the rows, so that after a resume both are cut to the rows that the checkpoint knows
of: a plain reader of either sees no gap and no duplicate.
"""

import io
import json
import logging
import os
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from difflogic_tonic.errors import StorageError
from difflogic_tonic.runs.tags import Histogram, points_of
from difflogic_tonic.storage import append_bytes, atomic_write, storage_errors

if TYPE_CHECKING:
    from tensorboard.compat.proto.summary_pb2 import Summary

EVENT_FILE = "events.out.tfevents.0000000000.metrics"

log = logging.getLogger(__name__)

Row = dict[str, Any]
"""`kind` ("step" or "epoch"), `step` (optimizer steps), `epoch` (from 1), `time` (Unix seconds), then the metrics."""


class Rows(Protocol):
    """Where rows go."""

    n_rows: int

    def append(self, row: Row) -> None:
        """Take one more row."""
        ...


class NoRows:
    """Where the rows of a process go that writes nothing, because another one does."""

    n_rows = 0

    def append(self, row: Row) -> None:
        self.n_rows += 1


class MetricsLog:
    """Appends rows to both files. `n_rows` is the position that a checkpoint remembers.

    `unwritten` are rows that a checkpoint must hold as well; see `patience`.
    """

    unwritten: Sequence[Row] = ()
    on_row: Callable[[int, Row], None] | None = None
    """Told of each row once it is written, and of its number from 0."""

    def __init__(self, path: Path, tensorboard: Path, keep_rows: int = 0) -> None:
        """Open the files and cut them to their first `keep_rows` rows. Raises `StorageError`."""
        rows = read_metrics(path)[:keep_rows]
        if len(rows) < keep_rows:
            log.warning("%s has %d of the %d rows that the checkpoint knows of", path, len(rows), keep_rows)
        self._path = path
        self._events = tensorboard / EVENT_FILE
        # Counted from the checkpoint, not from the file: the position must mean the same in the next resume.
        self.n_rows = len(rows)
        self._complained = False
        _cut_to(path, b"".join(_line(row) for row in rows))
        _cut_to(self._events, b"".join(_records(row, first=number == 0) for number, row in enumerate(rows)))

    def append(self, row: Row) -> None:
        """Write one row. If the disk is full, the file is as before and `StorageFull` is raised."""
        append_bytes(self._path, _line(row))
        try:
            append_bytes(self._events, _records(row, first=self.n_rows == 0))
        except StorageError as error:
            # They are rebuilt from metrics.jsonl at the next start.
            if not self._complained:
                log.warning("%s; TensorBoard misses rows from step %d on until a resume", error, row["step"])
            self._complained = True
        self.n_rows += 1
        if self.on_row is not None:
            self.on_row(self.n_rows - 1, row)

    def sync(self) -> None:
        """Make sure that the rows survive a power failure, before a checkpoint refers to them."""
        if self.n_rows:
            with storage_errors(self._path), self._path.open("rb") as file:
                os.fsync(file.fileno())


def read_metrics(path: Path) -> list[Row]:
    """All complete rows of a `metrics.jsonl`, in order; a last line that a kill cut short is left out."""
    if not path.exists():
        return []
    with storage_errors(path):
        lines = path.read_bytes().split(b"\n")[:-1]
    rows = []
    for line in lines:
        try:
            rows.append(json.loads(line))
        except ValueError:
            log.warning("%s: row %d is damaged; the rows from there on are dropped", path, len(rows) + 1)
            break
    return rows


def last_step(path: Path) -> int:
    """The step of the last complete row of a `metrics.jsonl`; 0 if there is none."""
    rows = read_metrics(path)
    return int(rows[-1]["step"]) if rows else 0


def _line(row: Row) -> bytes:
    return json.dumps(row, allow_nan=False).encode() + b"\n"


def _records(row: Row, first: bool) -> bytes:
    """The events of one row as TFRecords; the first row also writes the header that marks an event file."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    buffer = io.BytesIO()
    writer = RecordWriter(buffer)
    if first:
        writer.write(Event(wall_time=row["time"], file_version="brain.Event:2").SerializeToString())
    values = [_value(tag, value) for tag, value in points_of(row)]
    if values:
        event = Event(wall_time=row["time"], step=row["step"], summary=Summary(value=values))
        writer.write(event.SerializeToString())
    return buffer.getvalue()


def _value(tag: str, value: float | Histogram) -> "Summary.Value":
    """A point as TensorBoard's message. The sums of a histogram take every number for the middle of its bin."""
    from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary

    if not isinstance(value, Histogram):
        return Summary.Value(tag=tag, simple_value=value)
    filled = [place for place, count in enumerate(value.counts) if count]
    middles = [(low + high) / 2 for low, high in pairwise(value.edges)]
    return Summary.Value(
        tag=tag,
        histo=HistogramProto(
            min=value.edges[filled[0]] if filled else 0.0,
            max=value.edges[filled[-1] + 1] if filled else 0.0,
            num=sum(value.counts),
            sum=sum(count * middle for count, middle in zip(value.counts, middles, strict=True)),
            sum_squares=sum(count * middle**2 for count, middle in zip(value.counts, middles, strict=True)),
            bucket_limit=value.edges[1:],
            bucket=value.counts,
        ),
    )


def _cut_to(path: Path, content: bytes) -> None:
    """Make `path` hold `content`; where that is how it starts, by truncation, so that a reader following it goes on."""
    with storage_errors(path), path.open("ab+") as file:
        file.seek(0)
        if file.read(len(content)) == content:
            os.ftruncate(file.fileno(), len(content))
            os.fsync(file.fileno())
            return
    with atomic_write(path, len(content)) as partial:
        partial.write_bytes(content)
