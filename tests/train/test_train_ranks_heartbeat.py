"""Processes that die, hang or fail are noticed by the others, and named."""

import os
import signal
import time
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from difflogic_tonic.config import RankPlace
from difflogic_tonic.errors import ConfigError, RanksLost, UserError
from difflogic_tonic.runs.signals import StopRequest
from difflogic_tonic.train.heartbeat import Heartbeat, Report, read_report, silent_ranks, tell
from difflogic_tonic.train.inputs import gpu_of
from difflogic_tonic.train.ranks import Ranks
from difflogic_tonic.train.rendezvous import check_devices, connect, find_store, meet
from rank_processes import CPU, Rank, free_port, in_ranks, start

pytestmark = pytest.mark.integration


def here() -> dist.TCPStore:
    return dist.TCPStore("127.0.0.1", free_port(), is_master=True, wait_for_workers=False)


def test_the_first_report_stands_and_is_told_to_all() -> None:
    store = here()
    assert read_report(store) is None
    first = Report(1, 10, "out of memory")
    assert tell(store, first) == first
    assert tell(store, Report(0, 13, "rank 1 died")) == first
    assert str(first.error(1)) == "out of memory"
    assert str(first.error(0)) == "ended by rank 1: out of memory"
    assert first.error(0).exit_code == 10


def test_ranks_without_a_beat_are_silent() -> None:
    store, beats = here(), dict[int, bytes]()
    for rank in (0, 1):
        store.set(f"beat/{rank}", "1")
    assert silent_ranks(store, 3, beats) == []
    store.set("beat/0", "2")
    assert silent_ranks(store, 3, beats) == [1, 2]


def code_of(process: Rank, other: Rank) -> int:
    """The exit code of a process that ends by itself, although the other does not."""
    try:
        return process.wait(15)
    finally:
        other.kill()


def test_a_process_that_hangs_ends_those_that_wait_for_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def wait_in_rank_0(place: RankPlace) -> None:
        store = dist.TCPStore("127.0.0.1", place.port, is_master=place.rank == 0, wait_for_workers=False)
        heart = Heartbeat(store, place.rank, 2, lost_beats=10, beat_seconds=0.02)
        if place.rank == 0:
            heart.start()  # rank 1 never does
        time.sleep(20)

    waiting, hanging = start(wait_in_rank_0, tmp_path)
    assert code_of(waiting, hanging) == RanksLost.exit_code
    assert "error: rank 0: no sign of life from rank 1 for 0 seconds" in capfd.readouterr().err


def test_a_rank_0_that_stands_still_ends_those_that_ask_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def stand_still(place: RankPlace) -> None:
        if place.rank == 0:
            kept = dist.TCPStore("127.0.0.1", place.port, is_master=True, wait_for_workers=False)
            kept.set("beat/0", "1")
            kept.wait(["beat/1"])
            time.sleep(0.3)
            os.kill(os.getpid(), signal.SIGSTOP)
        store = find_store(place)
        Heartbeat(store, place.rank, 2, lost_beats=20, beat_seconds=0.02).start()
        time.sleep(20)

    still, asking = start(stand_still, tmp_path)
    assert code_of(asking, still) == RanksLost.exit_code
    assert "no answer from rank 0" in capfd.readouterr().err


def test_a_process_that_fails_ends_the_others_with_its_code(tmp_path: Path) -> None:
    def fail_in_rank_1(place: RankPlace) -> None:
        ranks = meet(place, StopRequest())
        try:
            connect(ranks, place, CPU)
            if place.rank == 1:
                raise ConfigError("no")
            ranks.add(torch.zeros(1))
        except UserError as error:
            ranks.fail(error)
            raise

    assert [rank.wait(60) for rank in start(fail_in_rank_1, tmp_path)] == [2, 2]


def test_numbers_objects_and_reasons_to_stop_travel(tmp_path: Path) -> None:
    def talk(ranks: Ranks) -> None:
        gathered = ranks.gather(torch.tensor([float(ranks.rank), 5.0]))
        assert gathered.tolist() == [[0.0, 5.0], [1.0, 5.0], [2.0, 5.0]]
        assert ranks.collect(f"of {ranks.rank}") == ["of 0", "of 1", "of 2"]
        assert ranks.from_first(lambda: {"step": ranks.rank}) == {"step": 0}
        order = []
        with ranks.first_on_each_machine():
            order.append(ranks.rank)
        assert not ranks.stop
        if ranks.rank == 2:
            ranks._own_stop.request("SIGUSR1")
        ranks.agree(ranks.gather(torch.tensor([float(ranks.stop_number())]))[:, 0].tolist())
        assert ranks.stop.reason == "SIGUSR1"
        with pytest.raises(ConfigError, match=r"differ in base\.job_id"):
            ranks.check_same({"base.job_id": ranks.rank})

    in_ranks(talk, tmp_path, 3)


def test_devices_that_do_not_fit_together_are_refused() -> None:
    check_devices([["cpu", "a", None], ["cpu", "a", None]])
    check_devices([["cuda", "a", "GPU-1"], ["cuda", "a", "GPU-2"], ["cuda", "b", "GPU-1"]])
    with pytest.raises(ConfigError, match="ranks 0 and 1 would share one GPU of a"):
        check_devices([["cuda", "a", "GPU-1"], ["cuda", "a", "GPU-1"]])
    with pytest.raises(ConfigError, match="some processes have a GPU and others none"):
        check_devices([["cuda", "a", "GPU-1"], ["cpu", "b", None]])


def test_each_process_of_a_machine_takes_a_gpu_of_its_own() -> None:
    place = RankPlace(3, 4, 1, 2, "127.0.0.1", 1)
    assert gpu_of(place, "auto", 2) == 1
    assert gpu_of(place, "cuda", 8) == 1
    assert gpu_of(place, "cuda", 1) == 0  # the only one that SLURM shows to it
    with pytest.raises(ConfigError, match="names one GPU"):
        gpu_of(place, "cuda:1", 2)
    with pytest.raises(ConfigError, match="4 processes on this machine and 2 GPUs"):
        gpu_of(RankPlace(3, 4, 1, 4, "127.0.0.1", 1), "cuda", 2)


def test_a_rank_0_that_cannot_be_found_is_named_at_once() -> None:
    place = RankPlace(1, 2, 1, 2, "no-such-machine.invalid", 29999)
    with pytest.raises(RanksLost, match=r"does not find rank 0 at no-such-machine\.invalid:29999.*MASTER_ADDR"):
        meet(place, StopRequest())


def test_a_port_that_is_taken_is_named() -> None:
    store = here()
    with pytest.raises(RanksLost, match=f"cannot listen on port {store.port}.*another MASTER_PORT"):
        meet(RankPlace(0, 2, 0, 2, "127.0.0.1", store.port), StopRequest())
