"""Whole runs of several processes: what is written, signals, resumes on other numbers of them, and deaths."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from difflogic_tonic.errors import STOPPED, OutOfMemory, RanksLost, TrainingDiverged
from rank_processes import free_port

pytestmark = pytest.mark.integration


@pytest.fixture
def start(laboratory: Any, repository: Path) -> Callable[..., list[Any]]:
    """Start `main.py` as torchrun does, in so many processes."""

    def started(
        world: int, *options: str, job: str = "job", first: Callable[[int], None] = lambda rank: None
    ) -> list[Any]:
        port = str(free_port())
        return [
            laboratory.fork_main(
                repository,
                *options,
                job=job,
                output=f"{job}-rank-{rank}.out",
                first=lambda rank=rank: first(rank),
                RANK=str(rank),
                WORLD_SIZE=str(world),
                LOCAL_RANK=str(rank),
                LOCAL_WORLD_SIZE=str(world),
                MASTER_ADDR="127.0.0.1",
                MASTER_PORT=port,
            )
            for rank in range(world)
        ]

    return started


def codes(processes: list[Any], seconds: float = 60) -> list[int]:
    return [process.wait(seconds) for process in processes]


def slowly(rank: int) -> None:
    """Every batch of the evaluations and of the training takes a while, so that signals find it."""
    from difflogic_tonic.train import fit

    step = fit.train_step

    def slow_step(*given: Any) -> Any:
        time.sleep(0.05)
        return step(*given)

    fit.train_step = slow_step


def test_rank_0_writes_what_one_process_would(laboratory: Any, start: Any) -> None:
    laboratory.write_config("SNN", epochs=1, amp="off", optimizer="sgd")
    laboratory.config["model"]["snn"] = {"architecture": "4C5-BN-MP4-DP0.3-FC10"}
    laboratory.config_path.write_text(yaml.safe_dump(laboratory.config))
    processes = start(2)
    assert codes(processes) == [0, 0]
    assert codes([laboratory.fork_main(Path(__file__).parents[2], job="alone")]) == [0]
    both, alone = laboratory.rows()[-1], laboratory.rows("alone")[-1]
    assert both.keys() == alone.keys()
    for name, value in alone.items():
        if name.endswith(("_correct", "recordings", "frames")) or name == "step":
            assert both[name] == value, name
        elif name.endswith(("loss", "accuracy")):
            assert both[name] == pytest.approx(value, abs=1e-3), name
    for name, value in laboratory.weights(job="alone").items():
        torch.testing.assert_close(laboratory.weights()[name], value, rtol=0, atol=1e-4)
    assert "2 processes train together (gloo)" in processes[0].text
    assert processes[1].text == ""


def test_a_signal_to_one_rank_stops_all_and_any_number_of_them_goes_on(laboratory: Any, start: Any) -> None:
    laboratory.write_config("CNN", epochs=6, amp="off")
    whole = start(2, job="whole")
    assert codes(whole) == [0, 0]
    stopped = start(2, first=slowly)
    stopped[0].until("epoch 1/6", 60)
    stopped[1].send("SIGUSR1")
    assert codes(stopped) == [STOPPED, STOPPED], stopped[0].text + stopped[1].text
    assert "stopped by SIGUSR1 and saved in epoch" in stopped[0].text
    again = start(2, "--resume", first=slowly)
    again[0].until("epoch 3/6", 60)
    again[0].send("SIGTERM")
    assert codes(again) == [STOPPED, STOPPED], again[0].text + again[1].text
    assert codes(start(2, "--resume")) == [0, 0]
    for name, value in laboratory.weights(job="whole").items():
        assert torch.equal(laboratory.weights()[name], value), name


def test_a_run_goes_on_from_two_processes_to_one_to_two(laboratory: Any, start: Any) -> None:
    laboratory.write_config("CNN", epochs=3, amp="off")
    assert codes(start(2, job="whole")) == [0, 0]
    for world, line in ((2, "epoch 1/3"), (1, "epoch 2/3")):
        processes = start(world, "--resume=auto", first=slowly)
        processes[0].until(line, 60)
        processes[-1].send("SIGUSR1")
        assert codes(processes) == [STOPPED] * world
    assert codes(start(2, "--resume")) == [0, 0]
    for name, value in laboratory.weights(job="whole").items():
        torch.testing.assert_close(laboratory.weights()[name], value, rtol=0, atol=1e-3)


@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_rank_ends_the_others_with_an_error(killed: int, laboratory: Any, start: Any) -> None:
    laboratory.write_config("MLP", epochs=1000)
    processes = start(2)
    processes[0].until("epoch 2/1000", 60)
    os.kill(processes[killed].pid, signal.SIGKILL)
    began = time.monotonic()
    other = processes[1 - killed]
    assert other.wait(60) == RanksLost.exit_code, other.text
    assert time.monotonic() - began < 60
    assert "error: " in other.text
    assert f"rank {killed} died without a word" in other.text or "has lost the connection to rank 0" in other.text
    assert "Traceback" not in other.text


def test_a_rank_that_dies_in_an_evaluation_ends_the_others(laboratory: Any, start: Any) -> None:
    def die_in_rank_1(rank: int) -> None:
        from difflogic_tonic.train import fit

        evaluate = fit.evaluate

        def dying(*given: Any) -> Any:
            for number, seconds in enumerate(evaluate(*given)):
                if (rank, number) == (1, 1):
                    os.kill(os.getpid(), signal.SIGKILL)
                yield seconds

        fit.evaluate = dying

    laboratory.write_config("MLP", epochs=2)
    assert codes(start(2, first=die_in_rank_1)) == [RanksLost.exit_code, -signal.SIGKILL]


@pytest.mark.parametrize("signalled", [0, 1])
def test_a_signal_to_one_rank_before_the_first_step_ends_all_at_once(
    signalled: int, laboratory: Any, start: Any
) -> None:
    def stop_one(rank: int) -> None:
        from difflogic_tonic.train import session

        build = session.build_state

        def stopped(*given: Any) -> Any:
            if rank == signalled:
                os.kill(os.getpid(), signal.SIGUSR1)
            return build(*given)

        session.build_state = stopped

    laboratory.write_config("MLP", epochs=2)
    processes = start(2, first=stop_one)
    assert codes(processes) == [STOPPED, STOPPED], processes[0].text + processes[1].text
    assert "stopped by SIGUSR1 before the first step" in processes[0].text
    assert "error" not in processes[0].text + processes[1].text


def in_step_3_of_rank_1(act: Callable[[Any], None]) -> Callable[[int], None]:
    """What a process has to do at first so that `act(model)` happens there."""

    def first(rank: int) -> None:
        from difflogic_tonic.train import fit

        step = fit.train_step

        def acting(*given: Any) -> Any:
            if rank == 1 and given[6] == 3:
                act(given[0])
            return step(*given)

        fit.train_step = acting

    return first


def test_an_error_in_one_rank_ends_all_with_its_code(laboratory: Any, start: Any) -> None:
    def fail(_: Any) -> None:
        raise torch.OutOfMemoryError("out of memory")

    laboratory.write_config("MLP", epochs=10)
    processes = start(2, first=in_step_3_of_rank_1(fail))
    assert codes(processes) == [OutOfMemory.exit_code] * 2, processes[0].text + processes[1].text
    assert "error: rank 1: out of memory with train.dataloader.batch_size" in processes[1].text
    assert "error: ended by rank 1: out of memory" in processes[0].text


def test_a_loss_that_is_not_finite_in_one_rank_ends_all(laboratory: Any, start: Any) -> None:
    def spoil(model: Any) -> None:
        model.layers[1].bias.data.fill_(float("nan"))

    laboratory.write_config("MLP", epochs=10)
    processes = start(2, first=in_step_3_of_rank_1(spoil))
    assert codes(processes) == [TrainingDiverged.exit_code] * 2, processes[0].text + processes[1].text
    assert "error: step 3: the loss is nan; nothing was updated. It begins at layers.1 (Linear)" in processes[0].text


def test_more_processes_than_samples_of_a_batch_are_refused(laboratory: Any, start: Any) -> None:
    laboratory.write_config("MLP", dataloader={"batch_size": 1})
    processes = start(2)
    assert codes(processes) == [2, 2]
    assert "error: train.dataloader.batch_size: 1 samples for 2 processes" in processes[0].text


def test_processes_of_different_jobs_are_not_joined(laboratory: Any, repository: Path) -> None:
    laboratory.write_config("MLP")
    environment = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    environment["MASTER_PORT"] = str(free_port())
    processes = [
        laboratory.fork_main(
            repository, job=f"job_{rank}", output=f"{rank}.out", RANK=str(rank), LOCAL_RANK=str(rank), **environment
        )
        for rank in range(2)
    ]
    assert codes(processes) == [2, 2], processes[0].text + processes[1].text
    assert "differ in base.job_id: rank 0 has job_0, rank 1 job_1" in processes[0].text


@pytest.mark.parametrize(
    ("device", "through"),
    [
        ("cpu", "gloo"),
        pytest.param(
            "cuda",
            "cpu:gloo,cuda:nccl",
            marks=[pytest.mark.gpu, pytest.mark.skipif(torch.cuda.device_count() < 2, reason="no two CUDA devices")],
        ),
    ],
)
def test_torchrun_itself_starts_two_processes_that_train_together(
    device: str, through: str, laboratory: Any, repository: Path, importing_environment: dict[str, str]
) -> None:
    laboratory.write_config("DiffLogic", epochs=1, device=device)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*command, repository / "main.py", *laboratory.arguments()],
        env=importing_environment
        | {"OMP_NUM_THREADS": "1", "PROJECT_STORAGE_DIR": str(laboratory.project)}
        | {"SCRATCH_STORAGE_DIR": str(laboratory.scratch)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(f"2 processes train together ({through})") == 1
    assert laboratory.rows()[-1]["kind"] == "epoch"
