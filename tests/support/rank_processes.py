"""Several forked processes that train together."""

import os
import pickle
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from difflogic_tonic.config import RankPlace
from difflogic_tonic.errors import UserError
from difflogic_tonic.runs.signals import StopRequest
from difflogic_tonic.train.ranks import Ranks
from difflogic_tonic.train.rendezvous import connect, meet
from forked import Forked

CPU = torch.device("cpu")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def places(world: int) -> list[RankPlace]:
    """`world` places on this machine."""
    port = free_port()
    return [RankPlace(rank, world, rank, world, "127.0.0.1", port) for rank in range(world)]


@dataclass
class Rank(Forked):
    """One of them."""

    answer: Path

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        self.wait()


def start(work: Callable[[RankPlace], Any], folder: Path, world: int = 2) -> list[Rank]:
    """`work(place)` in `world` processes. Exit code 0, that of its `UserError`, or 1; what it returns in `answer`."""
    found = []
    for place in places(world):
        answer = folder / f"rank-{place.rank}-of-{world}-{place.port}"
        pid = os.fork()
        if pid == 0:
            os._exit(_work(work, place, answer))
        found.append(Rank(pid, answer))
    return found


def _work(work: Callable[[RankPlace], Any], place: RankPlace, answer: Path) -> int:
    try:
        torch.set_num_threads(1)
        answer.write_bytes(pickle.dumps(work(place)))
    except UserError as error:
        answer.write_bytes(pickle.dumps(str(error)))
        return error.exit_code
    except BaseException:  # noqa: BLE001 (the child must never return into pytest)
        traceback.print_exc(file=sys.__stderr__)
        return 1
    return 0


def in_ranks(work: Callable[[Ranks], Any], folder: Path, world: int = 2) -> list[Any]:
    """What `work(ranks)` gives in each of `world` connected processes."""

    def connected(place: RankPlace) -> Any:
        ranks = meet(place, StopRequest())
        connect(ranks, place, CPU)
        found = work(ranks)
        ranks.leave()
        return found

    started = start(connected, folder, world)
    assert [rank.wait() for rank in started] == [0] * world
    return [pickle.loads(rank.answer.read_bytes()) for rank in started]
