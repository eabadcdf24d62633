"""How the processes of one training find each other, and part."""

import datetime
import logging
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist

from difflogic_tonic.config import RankPlace, TrainConfig
from difflogic_tonic.errors import INTERRUPTED, STOPPED, ConfigError, RanksLost, UserError
from difflogic_tonic.runs.log import only_errors
from difflogic_tonic.runs.signals import StopRequest
from difflogic_tonic.train.heartbeat import Heartbeat
from difflogic_tonic.train.ranks import Ranks

JOIN_SECONDS = 600
"""Machines of one job may come up minutes apart."""

CALL_TIMEOUT = datetime.timedelta(hours=6)
"""Of one exchange: as long as rank 0 may be busy with a slow disk. Whether the others live, their heartbeats tell."""

log = logging.getLogger(__name__)


class Stopped(Exception):
    """A training that was asked to stop before its first step, in this process or another."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


@contextmanager
def together(
    place: RankPlace | None, config: TrainConfig, device: torch.device, stop: StopRequest
) -> Iterator[Ranks | None]:
    """Inside, this process trains with others; None where it is alone.

    What goes wrong inside ends all of them with the same exit code. Raises `ConfigError` for what cannot be shared,
    `RanksLost` if others are lost, and `Stopped`.
    """
    if place is None:
        yield None
        return
    if place.rank:
        only_errors(place.rank)
    try:
        check_share(place, config)
        with stop.interruptible():
            ranks = meet(place, stop)
    except UserError as error:
        raise _of_rank(error, place.rank) from error
    try:
        with stop.interruptible():
            connect(ranks, place, device)
        yield ranks
        ranks.leave()
    except BaseException as error:
        report = ranks.fail(error)
        if report.code in (STOPPED, INTERRUPTED):
            raise Stopped(report.code, report.text) from error
        if isinstance(error, UserError):
            raise _of_rank(error, place.rank) from error
        raise


def _of_rank(error: UserError, rank: int) -> UserError:
    """`error` with the rank in front, but for rank 0, which speaks for all."""
    if rank == 0:
        return error
    told = type(error)(f"rank {rank}: {error}")
    told.exit_code = error.exit_code
    return told


def check_share(place: RankPlace, config: TrainConfig) -> None:
    """`ConfigError` if a batch has fewer samples than there are processes."""
    size = config.train.dataloader.batch_size
    if size < place.world:
        raise ConfigError(
            f"train.dataloader.batch_size: {size} samples for {place.world} processes, which share each batch; use at "
            f"least {place.world}, or fewer processes"
        )


def meet(place: RankPlace, stop: StopRequest) -> Ranks:
    """Find the store that rank 0, or torchrun, keeps. Raises `RanksLost` if it is not there in time."""
    found = find_store(place)
    name = f"difflogic/{place.start}"
    another = found.clone()  # type: ignore[attr-defined]  # with a connection of its own
    heartbeat = Heartbeat(dist.PrefixStore(name, another), place.rank, place.world)
    return Ranks(place, dist.PrefixStore(name, found), heartbeat, stop)


def connect(ranks: Ranks, place: RankPlace, device: torch.device) -> None:
    """Meet all others. Raises `RanksLost` if they do not come, `ConfigError` if their devices do not fit together."""
    if place.threads is not None:
        torch.set_num_threads(place.threads)
    gpu = str(torch.cuda.get_device_properties(device).uuid) if device.type == "cuda" else None
    check_devices(ranks.meet_all([device.type, socket.gethostname(), gpu], JOIN_SECONDS))
    # Objects and evaluations travel through the CPU, gradients on the device.
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    if device.type == "cuda":
        torch.cuda.set_device(device)
    try:
        ranks.open(backend, CALL_TIMEOUT)
    except RuntimeError as error:
        raise RanksLost(f"no connection between the processes: {_first_line(error)}; {_ADVICE}") from error
    log.info("%d processes train together (%s)", place.world, backend)


_ADVICE = (
    "export MASTER_ADDR (the machine of rank 0) and MASTER_PORT, or GLOO_SOCKET_IFNAME and NCCL_SOCKET_IFNAME, the "
    "network interface that the machines share"
)


def find_store(place: RankPlace) -> dist.TCPStore:
    """What rank 0, or torchrun, keeps. Raises `RanksLost` if it is not there in time, or its port is taken."""
    if place.rank == 0 and not place.agent:
        try:
            return dist.TCPStore(place.address, place.port, is_master=True, wait_for_workers=False)
        except RuntimeError as error:
            raise RanksLost(
                f"rank 0 cannot listen on port {place.port}: {_first_line(error)}; export another MASTER_PORT"
            ) from None
    end = time.monotonic() + JOIN_SECONDS
    while True:
        try:  # not by torch: it waits where no signal reaches it, and fills the screen
            socket.create_connection((place.address, place.port), timeout=5).close()
            return dist.TCPStore(place.address, place.port, is_master=False)
        except (OSError, dist.DistError) as error:
            if isinstance(error, socket.gaierror) or time.monotonic() > end:
                raise RanksLost(
                    f"{socket.gethostname()} does not find rank 0 at {place.address}:{place.port}: "
                    f"{_first_line(error)}; {_ADVICE}"
                ) from None
            time.sleep(0.2)


def check_devices(found: list[Any]) -> None:
    """Kind of device, machine and GPU of each process. `ConfigError` for two kinds, or a GPU that two would share."""
    kinds = {kind for kind, _, _ in found}
    if len(kinds) > 1:
        raise ConfigError(
            f"train.device: some processes have a GPU and others none ({', '.join(f'{k} on {m}' for k, m, _ in found)})"
            f"; set train.device: cpu, or ask for machines of one kind"
        )
    seen: dict[tuple[str, str | None], int] = {}
    for rank, (kind, machine, gpu) in enumerate(found):
        if kind == "cuda" and (other := seen.setdefault((machine, gpu), rank)) != rank:
            raise ConfigError(
                f"train.device: ranks {other} and {rank} would share one GPU of {machine}; start as many processes as "
                f"there are GPUs, or set train.device: cpu"
            )


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]
