"""Which of several processes this is: what torchrun or srun tell in environment variables. Read before torch is loaded.

torchrun sets RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR and MASTER_PORT. `srun` sets SLURM_PROCID and
SLURM_LOCALID, and for its step SLURM_STEP_NUM_TASKS, SLURM_STEP_NODELIST and SLURM_STEP_TASKS_PER_NODE; the batch
script itself has SLURM_PROCID and SLURM_NTASKS, but none of a step, and so is one process.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from difflogic_tonic.errors import ConfigError

LOOPBACK = "127.0.0.1"
FIRST_PORT, N_PORTS = 20_000, 12_000
"""Ports that job ids are mapped to: below those that systems hand out themselves."""

TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class RankPlace:
    """One of `world` processes that train together, of which `local_world` are on this machine.

    Rank 0 listens on `address`:`port`, or, with `agent`, torchrun does. `start` tells repeated starts of one launcher
    apart, and jobs that come to the same port. `threads`: how many this process should compute with; None: as torch
    chooses.
    """

    rank: int
    world: int
    local_rank: int
    local_world: int
    address: str
    port: int
    agent: bool = False
    start: str = "0"
    threads: int | None = None


def environment_ranks(variables: Mapping[str, str] | None = None) -> RankPlace | None:
    """The place of this process among several; None if it is alone. `ConfigError` for variables that make no sense."""
    environment = os.environ if variables is None else variables
    if environment.get("RANK") or environment.get("WORLD_SIZE"):
        return _of_torchrun(environment)
    if _number(environment, "SLURM_STEP_NUM_TASKS", 1) > 1:
        return _of_srun(environment)
    return None


def _of_torchrun(environment: Mapping[str, str]) -> RankPlace | None:
    if _number(environment, "WORLD_SIZE", 2) == 1:
        return None
    missing = [name for name in TORCHRUN if not environment.get(name)]
    if missing:
        found = ", ".join(name for name in TORCHRUN if name not in missing)
        raise ConfigError(
            f"environment variables {', '.join(missing)}: not set, though {found} are; start several processes with "
            f"torchrun or srun, or unset these for one"
        )
    world, local_rank = _number(environment, "WORLD_SIZE"), _number(environment, "LOCAL_RANK")
    return _checked(
        RankPlace(
            rank=_number(environment, "RANK"),
            world=world,
            local_rank=local_rank,
            local_world=_number(environment, "LOCAL_WORLD_SIZE", max(1, local_rank + 1)),
            address=environment["MASTER_ADDR"],
            port=_number(environment, "MASTER_PORT"),
            agent=environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
            start=environment.get("TORCHELASTIC_RESTART_COUNT") or "0",
        ),
        "RANK and WORLD_SIZE",
    )


def _of_srun(environment: Mapping[str, str]) -> RankPlace:
    names = ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_JOB_ID")
    missing = [name for name in names if not environment.get(name)]
    if missing:
        raise ConfigError(
            f"environment variables {', '.join(missing)}: not set, though SLURM_STEP_NUM_TASKS is; start several "
            f"processes with srun, or unset SLURM_STEP_NUM_TASKS for one"
        )
    nodes = _number(environment, "SLURM_STEP_NUM_NODES", 1)
    tasks = tasks_per_node(environment.get("SLURM_STEP_TASKS_PER_NODE", ""))
    node, world = _number(environment, "SLURM_NODEID", 0), _number(environment, "SLURM_STEP_NUM_TASKS")
    local_world = tasks[node] if node < len(tasks) else -(-world // nodes)
    first = first_host(environment.get("SLURM_STEP_NODELIST", "")) if nodes > 1 else LOOPBACK
    job, step = _number(environment, "SLURM_JOB_ID"), _number(environment, "SLURM_STEP_ID", 0)
    return _checked(
        RankPlace(
            rank=_number(environment, "SLURM_PROCID"),
            world=world,
            local_rank=_number(environment, "SLURM_LOCALID"),
            local_world=local_world,
            address=environment.get("MASTER_ADDR") or first,
            port=_number(environment, "MASTER_PORT", FIRST_PORT + (job + step) % N_PORTS),
            start=f"{job}.{step}.{environment.get('SLURM_RESTART_COUNT') or 0}",
            threads=_threads(environment, local_world),
        ),
        "SLURM_PROCID and SLURM_STEP_NUM_TASKS",
    )


def _threads(environment: Mapping[str, str], local_world: int) -> int | None:
    """Every process would otherwise start as many threads as there are processors, also for those of the others."""
    if environment.get("OMP_NUM_THREADS"):
        return None
    own = _number(environment, "SLURM_CPUS_PER_TASK", 0)
    return own or max(1, len(os.sched_getaffinity(0)) // local_world)


def _checked(place: RankPlace, names: str) -> RankPlace:
    if not (0 <= place.rank < place.world and 0 <= place.local_rank < place.local_world):
        raise ConfigError(
            f"environment variables {names}: rank {place.rank} of {place.world}, on this machine {place.local_rank} of "
            f"{place.local_world}; expected ranks from 0 on that are smaller"
        )
    return place


def tasks_per_node(text: str) -> list[int]:
    """`2(x3),1` as SLURM writes it, [2, 2, 2, 1]; empty for anything else."""
    found: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part.strip())
        if match is None:
            return []
        found += [int(match[1])] * int(match[2] or 1)
    return found


def first_host(nodes: str) -> str:
    """The first of `gpu[07-09,12],login`: gpu07. Raises `ConfigError` for an empty list."""
    match = re.match(r"([^\[,]+)(?:\[([^\],-]+)[^\]]*\]([^,\[]*))?", nodes.strip())
    if match is None:
        raise ConfigError(
            f"environment variable SLURM_STEP_NODELIST={nodes}: no node in it; export MASTER_ADDR, the address of the "
            f"machine of rank 0"
        )
    return match[1] + (match[2] or "") + (match[3] or "")


def _number(environment: Mapping[str, str], name: str, default: int | None = None) -> int:
    text = environment.get(name, "").strip()
    if not text and default is not None:
        return default
    if not text.isdecimal():
        raise ConfigError(f"environment variable {name}={text}: expected a number; unset it")
    return int(text)
