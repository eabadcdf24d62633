"""What torchrun and srun tell a process of the others."""

import os

import pytest

from difflogic_tonic.config.ranks import environment_ranks, first_host, tasks_per_node
from difflogic_tonic.errors import ConfigError

TORCHRUN = {
    "RANK": "3",
    "WORLD_SIZE": "4",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "gpu07",
    "MASTER_PORT": "29500",
    "TORCHELASTIC_USE_AGENT_STORE": "True",
    "TORCHELASTIC_RESTART_COUNT": "2",
}
SRUN = {
    "SLURM_PROCID": "2",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "1",
    "SLURM_JOB_ID": "1234567",
    "SLURM_STEP_NUM_TASKS": "3",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_STEP_NODELIST": "gpu[07-08]",
    "SLURM_STEP_TASKS_PER_NODE": "2,1",
    "OMP_NUM_THREADS": "1",
}


def test_torchrun_says_everything():
    place = environment_ranks(TORCHRUN)
    assert place is not None
    assert (place.rank, place.world, place.local_rank, place.local_world) == (3, 4, 1, 2)
    assert (place.address, place.port, place.agent, place.start) == ("gpu07", 29500, True, "2")


def test_srun_says_it_in_its_own_words_and_the_port_comes_from_the_job():
    place = environment_ranks(SRUN)
    assert place is not None
    assert (place.rank, place.world, place.local_rank, place.local_world) == (2, 3, 0, 1)
    assert (place.address, place.port) == ("gpu07", 20_000 + 1234567 % 12_000)
    assert place.threads is None  # OMP_NUM_THREADS has the last word


def test_address_and_port_of_ones_own_win_over_those_of_the_job():
    place = environment_ranks(SRUN | {"MASTER_ADDR": "10.0.0.7", "MASTER_PORT": "29999"})
    assert place is not None
    assert (place.address, place.port) == ("10.0.0.7", 29999)


def test_processes_of_one_machine_need_no_name_of_it():
    place = environment_ranks(
        SRUN | {"SLURM_STEP_NUM_NODES": "1", "SLURM_STEP_TASKS_PER_NODE": "3", "SLURM_NODEID": "0"}
    )
    assert place is not None
    assert place.address == "127.0.0.1"


def test_torchrun_within_srun_is_what_counts():
    place = environment_ranks(SRUN | TORCHRUN)
    assert place is not None
    assert place.world == 4


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"SLURM_PROCID": "0", "SLURM_NTASKS": "2", "SLURM_JOB_ID": "5"},  # a batch script of two tasks
        SRUN | {"SLURM_STEP_NUM_TASKS": "1"},
        TORCHRUN | {"RANK": "0", "WORLD_SIZE": "1"},
    ],
)
def test_one_process_is_alone(variables):
    assert environment_ranks(variables) is None


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"RANK": "0"}, "WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT: not set, though RANK are"),
        ({"WORLD_SIZE": "2"}, "RANK, LOCAL_RANK, MASTER_ADDR, MASTER_PORT: not set"),
        (TORCHRUN | {"RANK": "4"}, "rank 4 of 4"),
        (TORCHRUN | {"MASTER_PORT": "http"}, "MASTER_PORT=http: expected a number"),
        ({"SLURM_STEP_NUM_TASKS": "2"}, "SLURM_PROCID, SLURM_LOCALID, SLURM_JOB_ID: not set"),
        (SRUN | {"SLURM_STEP_NODELIST": ""}, "export MASTER_ADDR"),
    ],
)
def test_half_an_environment_is_refused_in_one_line(variables, message):
    with pytest.raises(ConfigError) as caught:
        environment_ranks(variables)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("nodes", "first"),
    [("n1", "n1"), ("n1,n2", "n1"), ("gpu[07-09,12],login", "gpu07"), ("gpu[3]", "gpu3"), ("a[1-2]-ib,b", "a1-ib")],
)
def test_the_first_of_a_list_of_nodes(nodes, first):
    assert first_host(nodes) == first


@pytest.mark.parametrize(("text", "tasks"), [("2(x3),1", [2, 2, 2, 1]), ("4", [4]), ("", []), ("2(x", [])])
def test_tasks_of_each_node(text, tasks):
    assert tasks_per_node(text) == tasks


def test_processes_of_one_machine_share_its_processors():
    without = {name: text for name, text in SRUN.items() if name != "OMP_NUM_THREADS"}
    place = environment_ranks(without | {"SLURM_STEP_TASKS_PER_NODE": "1,2"})
    assert place is not None
    assert place.threads == max(1, len(os.sched_getaffinity(0)) // 2)
    place = environment_ranks(without | {"SLURM_CPUS_PER_TASK": "3"})
    assert place is not None
    assert place.threads == 3


@pytest.mark.parametrize("other", [{"SLURM_JOB_ID": "12815"}, {"SLURM_JOB_ID": "814", "SLURM_STEP_ID": "1"}])
def test_jobs_that_come_to_one_port_are_told_apart(other):
    job = {"SLURM_JOB_ID": "815", "SLURM_STEP_ID": "0"}
    first, second = environment_ranks(SRUN | job), environment_ranks(SRUN | job | other)
    assert first is not None
    assert second is not None
    assert first.port == second.port
    assert first.start != second.start
