"""The threads that write checkpoints while training goes on: one for scratch, one that mirrors to project storage.

Each holds at most one waiting item, the newest: a slow disk delays checkpoints, never training.
"""

import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar

from difflogic_tonic.errors import StorageError
from difflogic_tonic.runs.checkpoint import Checkpoints, Position, pack
from difflogic_tonic.runs.outage import Outage
from difflogic_tonic.storage import Place, Storage

log = logging.getLogger(__name__)

Item = TypeVar("Item")


class NewestOnly(Generic[Item]):
    """A thread that calls `work(item)` for the newest item put, one at a time; an older one still waiting is dropped.

    What `work` raises is raised by the next `put`, `drain` or `close`.
    """

    def __init__(self, work: Callable[[Item], None], name: str) -> None:
        self._work = work
        self._waiting: deque[Item] = deque(maxlen=1)
        self._calls: list[Future[None]] = []
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=name)

    @property
    def busy(self) -> bool:
        return any(not call.done() for call in self._calls)

    def put(self, item: Item) -> None:
        for call in self._calls:
            if call.done():
                call.result()
        self._calls = [call for call in self._calls if not call.done()]
        self._waiting.append(item)
        self._calls.append(self._pool.submit(self._work_on_newest))

    def drain(self) -> None:
        """Wait until nothing is left to do."""
        for call in self._calls:
            call.result()

    def close(self) -> None:
        """Finish what is there and end the thread."""
        self._pool.shutdown(wait=True)
        self.drain()

    def _work_on_newest(self) -> None:
        try:
            item = self._waiting.pop()
        except IndexError:
            return  # an earlier call took the newest
        self._work(item)


class CheckpointWriter:
    """Writes snapshots to the first place that takes them and mirrors them to the other.

    A snapshot that cannot be written is a warning while an earlier checkpoint is safe, and an error at the next
    `check` otherwise: training for hours with nothing saved is worse than stopping.
    """

    def __init__(self, checkpoints: Checkpoints, storage: Storage) -> None:
        self._checkpoints = checkpoints
        self._first, *self._mirrors = storage.places
        self._error: StorageError | None = None
        self._outages = {place.name: Outage(f"checkpoints in {place.name} storage") for place in storage.places}
        self._outage = Outage("checkpoints")
        self._writer: NewestOnly[tuple[Position, dict[str, Any], Callable[[], None]]] = NewestOnly(
            self._write, "checkpoint"
        )
        self._mirror: NewestOnly[tuple[Position, bytes | memoryview]] = NewestOnly(self._write_mirror, "mirror")

    @property
    def busy(self) -> bool:
        """Whether a snapshot is still on its way to the first place."""
        return self._writer.busy

    def put(self, position: Position, snapshot: dict[str, Any], first: Callable[[], None] = lambda: None) -> None:
        """Hand over `snapshot`, whose tensors nobody else changes any more, and return at once.

        The thread calls `first` before it writes: for what a checkpoint refers to and must be on disk with it.
        """
        self._writer.put((position, snapshot, first))

    def put_and_wait(
        self, position: Position, snapshot: dict[str, Any], first: Callable[[], None] = lambda: None
    ) -> None:
        """Write `snapshot` to every place before returning. Raises `StorageError` if no place took it."""
        self._writer.drain()
        self._error = None
        self._writer.put((position, snapshot, first))
        self._writer.drain()
        self._mirror.drain()
        if self._error is not None:
            raise self._error
        if self._checkpoints.verified != position:
            raise StorageError(f"the checkpoint of step {position.step} was not written; see the warnings above")

    def check(self) -> None:
        """Raise the error of a failed write after which no checkpoint is safe."""
        if self._error is not None and self._checkpoints.verified is None:
            raise self._error

    def close(self) -> None:
        """Finish what is being written and end the threads."""
        self._writer.close()
        self._mirror.close()

    def _write(self, item: tuple[Position, dict[str, Any], Callable[[], None]]) -> None:
        position, snapshot, first = item
        first()
        content = pack(snapshot)
        try:
            self._checkpoints.write(self._first, position, content)
        except StorageError as error:
            if not self._mirrors:
                self._failed(position, error)
            else:
                self._outages[self._first.name].failed(
                    f"{error}; checkpoints are written to {self._mirrors[0].name} storage only"
                )
                self._write_mirror((position, content), is_only_one=True)
            return
        self._written(self._first)
        if self._mirrors:
            self._mirror.put((position, content))

    def _write_mirror(self, item: tuple[Position, bytes | memoryview], is_only_one: bool = False) -> None:
        position, content = item
        for place in self._mirrors:
            try:
                self._checkpoints.write(place, position, content)
            except StorageError as error:
                if is_only_one:
                    self._failed(position, error)
                else:
                    self._outages[place.name].failed(
                        f"{error}; checkpoints, from that of step {position.step} on, are in scratch only"
                    )
            else:
                self._written(place)

    def _written(self, place: Place) -> None:
        self._error = None
        self._outage.over()
        self._outages[place.name].over()

    def _failed(self, position: Position, error: StorageError) -> None:
        self._error = error
        safe = self._checkpoints.verified
        if safe is not None:
            self._outage.failed(
                f"{error}; no checkpoint of step {position.step}, the one of step {safe.step} is safe, training goes on"
            )
