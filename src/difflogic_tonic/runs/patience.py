"""`metrics.jsonl` in a place that may go away for a while: rows wait in memory, and in every checkpoint."""

from collections.abc import Sequence
from pathlib import Path

from difflogic_tonic.errors import StorageError
from difflogic_tonic.runs.metrics import MetricsLog, Row
from difflogic_tonic.runs.outage import Outage


class PatientMetrics(MetricsLog):
    """A `MetricsLog` that keeps in `unwritten` what cannot be written, and tries again with every new row."""

    def __init__(self, path: Path, tensorboard: Path, keep_rows: int = 0, unwritten: Sequence[Row] = ()) -> None:
        """`unwritten` are the rows that waited when the checkpoint was taken. Raises `StorageError`."""
        super().__init__(path, tensorboard, keep_rows)
        self.unwritten: list[Row] = []
        self._error: StorageError | None = None
        self._outage = Outage("rows of metrics")
        self._outage_of_sync = Outage("metrics")
        for row in unwritten:
            self.append(row)

    def append(self, row: Row) -> None:
        """Write one row, now or when that is possible."""
        self.unwritten.append(row)
        self._write_waiting()

    def sync(self) -> None:
        """Make sure that what is written survives a power failure, as far as its disk lets us."""
        try:
            super().sync()
        except (StorageError, FileNotFoundError) as error:
            self._outage_of_sync.failed(f"metrics cannot be made safe: {error}")
        else:
            self._outage_of_sync.over()

    def finish(self) -> None:
        """Write what waits. Raises `StorageError` if that is not possible."""
        self._write_waiting()
        if self._error is not None:
            raise self._error

    def _write_waiting(self) -> None:
        self._error = None
        while self.unwritten:
            try:
                super().append(self.unwritten[0])
            except StorageError as error:
                self._error = error
                self._outage.failed(f"{error}; rows of metrics wait, in every checkpoint too, and training goes on")
                return
            del self.unwritten[0]
        self._outage.over()
