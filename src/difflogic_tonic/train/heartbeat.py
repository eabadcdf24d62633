"""Whether the other processes of a training still live, by what each writes into a small store every second.

A process that is killed is often noticed at once, because its connections close. Not so a machine that is gone, a
process that hangs, or one whose peers wait for a GPU: they would wait for it for ever.

Rank 0 looks at all others, they look at rank 0, and all at one report: the first thing that went wrong anywhere.
"""

import json
import logging
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass

from torch.distributed import DistError, Store

from difflogic_tonic.errors import RanksLost

BEAT_SECONDS = 1.0
LOST_BEATS = 30
"""Own beats without one of another process. Counted, not timed: a job that a scheduler suspends stops them all."""

GRACE_BEATS = 3
"""Own beats that a process has, after the end was reported, to end by itself; it may wait where nothing ends it."""

REPORT = "report"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Report:
    """Why a training ends before its time: what happened in process `rank`, and the exit code of all."""

    rank: int
    code: int
    text: str

    def error(self, own_rank: int) -> RanksLost:
        """What process `own_rank` says of it."""
        said = self.text if own_rank == self.rank else f"ended by rank {self.rank}: {self.text}"
        error = RanksLost(said)
        error.exit_code = self.code
        return error


class Heartbeat:
    """Threads that write the own beat and read those of others, until `stop`; `store` is used by nobody else."""

    def __init__(
        self, store: Store, rank: int, world: int, lost_beats: int = LOST_BEATS, beat_seconds: float = BEAT_SECONDS
    ) -> None:
        self._store, self._rank = store, rank
        self._watched = [other for other in range(world) if other != rank] if rank == 0 else [0]
        self._lost_beats, self._seconds = lost_beats, beat_seconds
        self._over = threading.Event()
        self._rounds = 0
        self._threads = [
            threading.Thread(target=work, name=work.__name__, daemon=True) for work in (self._run, self._watch)
        ]
        self.last_words: Callable[[Report], None] = lambda report: None
        """Called before a process that hangs is ended."""

        store.set(_beat(rank), "0")

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the thread; nobody is watched from here on."""
        self._over.set()
        if self._threads[0].is_alive():
            self._threads[0].join()

    def _run(self) -> None:
        seen, silent = dict.fromkeys(self._watched, b""), dict.fromkeys(self._watched, 0)
        report: Report | None = None
        since_report = 0
        while not self._over.wait(self._seconds):
            self._rounds += 1
            try:
                self._store.set(_beat(self._rank), str(self._rounds))
                report = report or read_report(self._store)
                for other in self._watched:
                    now = self._store.get(_beat(other)) if self._store.check([_beat(other)]) else b""
                    silent[other] = 0 if now != seen[other] else silent[other] + 1
                    seen[other] = now
            except DistError:
                report = report or Report(self._rank, RanksLost.exit_code, store_is_gone(self._rank))
            lost = [other for other, beats in silent.items() if beats >= self._lost_beats]
            if report is None and lost:
                report = tell(self._store, Report(self._rank, RanksLost.exit_code, self._said(lost)))
            if report is not None:
                since_report += 1
                if since_report > GRACE_BEATS:
                    self._end(report)

    def _watch(self) -> None:
        """End this process if the other thread waits for the store: whoever keeps it is gone, or stands still."""
        before, stood = 0, 0
        while not self._over.wait(self._seconds):
            stood = 0 if self._rounds != before else stood + 1
            before = self._rounds
            if stood >= self._lost_beats + GRACE_BEATS:
                text = f"no answer from rank 0 for {self._lost_beats * self._seconds:.0f} seconds"
                self._end(Report(self._rank, RanksLost.exit_code, text))

    def _said(self, lost: list[int]) -> str:
        return f"no sign of life from {ranks_text(lost)} for {self._lost_beats * self._seconds:.0f} seconds"

    def _end(self, report: Report) -> None:
        if self._over.is_set():
            return
        self.last_words(report)
        print(f"error: rank {self._rank}: {report.error(self._rank)}", file=sys.stderr, flush=True)
        # Not an exception: the main thread may wait for a GPU, or in a call that nothing ends.
        os._exit(report.code)


def tell(store: Store, report: Report) -> Report:
    """Report the end to all; the report that stands, which may be an earlier one of another process."""
    try:
        store.compare_set(REPORT, "", json.dumps(asdict(report)))
        return read_report(store) or report
    except DistError:
        return report


def read_report(store: Store) -> Report | None:
    """Raises `DistError` where the store is gone."""
    return Report(**json.loads(store.get(REPORT))) if store.check([REPORT]) else None


def silent_ranks(store: Store, world: int, beats: dict[int, bytes]) -> list[int]:
    """Those whose beat is still the one in `beats`, where it is put."""
    silent = []
    for rank in range(world):
        now = store.get(_beat(rank)) if store.check([_beat(rank)]) else b""
        if beats.get(rank) == now:
            silent.append(rank)
        beats[rank] = now
    return silent


def store_is_gone(rank: int) -> str:
    return f"rank {rank} has lost the connection to rank 0, or to torchrun: it has died, or the network has"


def ranks_text(ranks: list[int]) -> str:
    return f"rank{'s' if len(ranks) > 1 else ''} {', '.join(map(str, ranks))}"


def _beat(rank: int) -> str:
    return f"beat/{rank}"
