"""The processes that train together, and what they tell each other.

All of them do the same at the same time: see the same order of batches, each computing its part of each, add up the
gradients, and make the same step. So they hold the same weights and the same progress, and rank 0 alone writes files.
"""

import datetime
import json
import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from difflogic_tonic.config import RankPlace
from difflogic_tonic.data import Batch
from difflogic_tonic.errors import ConfigError, RanksLost, UserError
from difflogic_tonic.runs.signals import StopRequest, stop_number, stop_reason
from difflogic_tonic.train.heartbeat import (
    Heartbeat,
    Report,
    ranks_text,
    read_report,
    silent_ranks,
    store_is_gone,
    tell,
)

LOOK_SECONDS = 0.02
"""How often a process that waits for others looks."""

NAMING_SECONDS = 5.0
"""How long one that has lost a connection looks for who is to blame: longer than the others need for a few beats."""

LINGER_SECONDS = 10.0
"""How long rank 0, in whom the store lives, waits for the others to read why it ends."""

log = logging.getLogger(__name__)

Value = TypeVar("Value")


class Ranks:
    """This process among those that train together. `stop` is what all of them have agreed on.

    It is also what layers ask for sums over all parts of a batch: `nets.moment.Collective`.
    """

    def __init__(self, place: RankPlace, store: dist.Store, heartbeat: Heartbeat, stop: StopRequest) -> None:
        self.rank, self.world = place.rank, place.world
        self.stop = StopRequest(stop.wakeups)
        self._place, self._store, self._heartbeat, self._own_stop = place, store, heartbeat, stop

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def gather(self, values: Tensor) -> Tensor:
        """Numbers [n] of each process as [processes, n], on all of them."""
        found = values.new_zeros(self.world, len(values))
        found[self.rank] = values
        self.add(found)
        return found

    def add(self, values: Tensor) -> None:
        """Put the sum over all processes in the place of `values`; the same bits on all of them."""
        with self._talking():
            dist.all_reduce(values)

    def add_all(self, tensors: list[Tensor]) -> None:
        """`add` for several tensors at once."""
        with self._talking():
            calls = [dist.all_reduce(values, async_op=True) for values in tensors]
            for call in calls:
                call.wait()

    def collect(self, value: Value) -> list[Value]:
        """What each process gives, by rank. Plain data, small."""
        found: list[Any] = [None] * self.world
        with self._talking():
            dist.all_gather_object(found, value)
        return found

    def from_first(self, make: Callable[[], Value]) -> Value:
        """What `make` gives in rank 0, where alone it is called."""
        found = [make() if self.leads else None]
        with self._talking():
            dist.broadcast_object_list(found, src=0)
        return found[0]  # type: ignore[return-value]

    def same_weights(self, model: nn.Module) -> None:
        """Give all the weights and buffers of rank 0: another processor may have rounded differently."""
        with self._talking(), torch.no_grad():
            for tensor in model.state_dict().values():
                dist.broadcast(tensor, src=0)

    def whole_batch(self, scores: Tensor, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Scores [own, classes] of this part to those, the labels and the rows of the whole batch, on the CPU.

        As f64, which holds them all exactly. Also agrees on whether to stop.
        """
        part, classes = batch.place, scores.shape[1]
        found = torch.zeros(part.total + 1, max(classes + 2, self.world), dtype=torch.float64)
        mine = slice(part.first, part.first + part.own)
        found[mine, :classes] = scores[: part.own].double().cpu()
        found[mine, classes] = batch.labels[: part.own].double().cpu()
        found[mine, classes + 1] = batch.rows[: part.own].double().cpu()
        found[-1, self.rank] = self.stop_number()
        self.add(found)
        self.agree(found[-1, : self.world].tolist())
        rows = found[:-1]
        return rows[:, :classes], rows[:, classes].long(), rows[:, classes + 1].long()

    def stop_number(self) -> int:
        """The signal that asked this process to stop, for `agree`; 0 for none."""
        return stop_number(self._own_stop.reason)

    def agree(self, numbers: list[float]) -> None:
        """Given the `stop_number` of each: from now on all want to stop if one does, for the reason of the first."""
        for number in numbers:
            if number:
                self.stop.request(stop_reason(int(number)))

    def check_same(self, facts: dict[str, object]) -> None:
        """`ConfigError` unless `facts` are the same in all processes."""
        for rank, others in enumerate(self.collect(facts)):
            for name, value in facts.items():
                if others[name] != value:
                    raise ConfigError(
                        f"the processes of one training differ in {name}: rank {self.rank} has {value}, rank {rank} "
                        f"{others[name]}; for runs of their own start each by itself, as a job array does"
                    )

    def meet_all(self, fact: Any, seconds: float) -> list[Any]:
        """What each process gives, plain data, before there are connections. Raises `RanksLost` after `seconds`."""
        self._meet("here", json.dumps(fact), seconds)
        self._heartbeat.start()
        try:
            return [json.loads(self._store.get(f"here/{rank}")) for rank in range(self.world)]
        except dist.DistError as error:
            raise self._lost() from error

    def open(self, backend: str, timeout: datetime.timedelta) -> None:
        """Connect each process with all others. `RuntimeError` if that cannot be done."""
        group = dist.PrefixStore("group", self._store)
        dist.init_process_group(backend, store=group, rank=self.rank, world_size=self.world, timeout=timeout)

    @contextmanager
    def first_on_each_machine(self) -> Iterator[None]:
        """The block first in one process of each machine, and then, finding what that has made, in the others."""
        if self._place.local_rank == 0:
            yield
        self._meet("made")
        if self._place.local_rank != 0:
            yield

    def leave(self) -> None:
        """Wait until all have come here, and part. Raises `RanksLost` if one of them ends otherwise."""
        self._meet("done")
        self._heartbeat.stop()
        dist.destroy_process_group()
        self._see_off()

    def fail(self, error: BaseException) -> Report:
        """Let all others end because of `error`, and return why this process ends, which may be another reason."""
        code, text = 1, f"{type(error).__name__}: {error}".partition("\n")[0]
        if isinstance(error, UserError):
            code, text = error.exit_code, str(error)
        elif isinstance(error, KeyboardInterrupt):
            code, text = self._own_stop.exit_code, f"stopped by {error or 'Ctrl-C'} before the first step"
        report = tell(self._store, Report(self.rank, code, text))
        self._heartbeat.stop()
        if dist.is_initialized() and dist.get_backend() == "gloo":  # ends what others wait for; NCCL might wait itself
            dist.destroy_process_group()
        self._see_off()
        return report

    def on_end(self, last_words: Callable[[Report], None]) -> None:
        """`last_words` is called if this process must be ended where it waits."""
        self._heartbeat.last_words = last_words

    def _meet(self, name: str, value: str = "1", seconds: float = math.inf) -> None:
        """Return when all processes have called this with the same `name`; `value` is then in the store."""
        names = [f"{name}/{rank}" for rank in range(self.world)]
        end = time.monotonic() + seconds
        try:
            self._store.set(names[self.rank], value)
            while not self._store.check(names):
                if report := read_report(self._store):
                    raise report.error(self.rank)
                if time.monotonic() > end:
                    absent = [rank for rank, one in enumerate(names) if not self._store.check([one])]
                    raise RanksLost(f"{ranks_text(absent)} of {self.world} did not come in {seconds:.0f} seconds")
                time.sleep(LOOK_SECONDS)
        except dist.DistError as error:
            raise self._lost() from error

    def _see_off(self) -> None:
        """Rank 0 leaves last: the store lives in it."""
        try:
            self._store.set(f"left/{self.rank}", "1")
            end = time.monotonic() + LINGER_SECONDS
            everybody = [f"left/{rank}" for rank in range(self.world)]
            while self.leads and not self._store.check(everybody) and time.monotonic() < end:
                time.sleep(LOOK_SECONDS)
        except dist.DistError:
            return  # nobody is there to wait for

    @contextmanager
    def _talking(self) -> Iterator[None]:
        """Inside, nothing but calls to others: an error is one of the network."""
        try:
            yield
        except RuntimeError as error:
            raise self._lost() from error

    def _lost(self) -> RanksLost:
        """Why a connection broke: what was reported, or who gives no sign of life."""
        beats: dict[int, bytes] = {}
        try:
            silent = silent_ranks(self._store, self.world, beats)
            end = time.monotonic() + NAMING_SECONDS
            while time.monotonic() < end:
                if report := read_report(self._store):
                    return report.error(self.rank)
                time.sleep(LOOK_SECONDS)
            silent = silent_ranks(self._store, self.world, beats)
        except dist.DistError:
            return RanksLost(store_is_gone(self.rank))
        said = f"{ranks_text(silent)} died without a word" if silent else "a connection between ranks broke"
        return tell(self._store, Report(self.rank, RanksLost.exit_code, said)).error(self.rank)


def only_first(ranks: Ranks | None, make: Callable[[], Value]) -> Value:
    """What `make` gives, called in one process of several only."""
    return make() if ranks is None else ranks.from_first(make)
