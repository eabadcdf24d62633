"""A real SLURM of four virtual nodes on loopback, with munge, in one folder; it ends with the process that started it.

    partition  nodes    CPUs each  for
    main       n1       16         everything else (the default); jobs do not disturb each other
    low, high  n2       1          preemption: a job of `high` requeues one of `low` after 4 s of grace
    pair       n3, n4   2          jobs on two nodes

`KillWait` is 30 s as on most clusters, a requeued job starts again after 6 s (120 s as SLURM comes). By hand:

    python tests/support/slurm_cluster.py FOLDER     # says what to export; Ctrl-C stops it
"""

import ctypes
import getpass
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")
NODES = ("n1", "n2", "n3", "n4")
Tracking = Literal["linuxproc", "cgroup"]
ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL", "BOOT_FAIL", "DEADLINE")

CONF = """
ClusterName=lab
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={control_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock,cred_expire=5
ProctrackType=proctrack/{tracking}
TaskPlugin=task/{task}
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
MpiDefault=none
ReturnToService=2
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
SchedulerParameters=sched_interval=1,sched_min_interval=0,bf_interval=1,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
SlurmctldParameters=preempt_send_user_signal
SlurmdParameters=config_overrides
KillWait=30
MinJobAge=900
{nodes}
PartitionName=main Nodes=n1 Default=YES MaxTime=60 DefaultTime=10
PartitionName=low  Nodes=n2 PriorityTier=1 PreemptMode=REQUEUE GraceTime=4 MaxTime=60 DefaultTime=10
PartitionName=high Nodes=n2 PriorityTier=10 PreemptMode=OFF MaxTime=60 DefaultTime=10
PartitionName=pair Nodes=n3,n4 MaxTime=60 DefaultTime=10
"""
CPUS = {"n1": 16, "n2": 1, "n3": 2, "n4": 2}
CGROUP_CONF = """
CgroupPlugin=cgroup/v1
CgroupMountpoint=/sys/fs/cgroup
CgroupAutomount=no
"""


def free_ports(n: int) -> list[int]:
    """Ports of loopback that nobody uses now."""
    sockets = [socket.socket() for _ in range(n)]
    for number in sockets:
        number.bind(("127.0.0.1", 0))
    ports = [number.getsockname()[1] for number in sockets]
    for number in sockets:
        number.close()
    return ports


@dataclass
class Slurm:
    """`start` it, `submit` jobs, `wait` for their states, `stop` it. `folder` must be new, its path free of spaces."""

    folder: Path
    tracking: Tracking = "linuxproc"
    nodes: Sequence[str] = NODES
    _daemons: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to talk to this SLURM; without what another SLURM may have set for this one."""
        # torch tells its children where its own compiler works, which a container does not see
        left_out = ("SLURM_", "SBATCH_", "SRUN_", "TORCHINDUCTOR_")
        rest = {key: value for key, value in os.environ.items() if not key.startswith(left_out)}
        return rest | {"SLURM_CONF": str(self.folder / "slurm.conf")}

    def start(self) -> "Slurm":
        """Bring it up and return when its nodes are idle."""
        self.folder.mkdir(parents=True)
        (self.folder / "state").mkdir()
        self._configure()
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        files = {"socket": "munge.sock", "key-file": "munge.key", "pid-file": "munged.pid", "seed-file": "munge.seed"}
        files["log-file"] = "munged.log"
        self._run(
            "munged", "--foreground", "--force", *(f"--{key}={self.folder / name}" for key, name in files.items())
        )
        self._until(lambda: (self.folder / "munge.sock").exists(), "munged")
        self._run("slurmctld", "-D")
        for node in self.nodes:
            self._run("slurmd", "-D", "-N", node)
        self._until(lambda: set(self.command("sinfo", "-h", "-o", "%T").split()) == {"idle"}, "slurmctld and slurmd")
        return self

    def stop(self) -> None:
        """Cancel every job and end the daemons; nothing that ran under this SLURM is left."""
        self.command("scancel", "--full", "--signal=KILL", f"--user={getpass.getuser()}")
        self.command("scancel", f"--user={getpass.getuser()}")
        end = time.monotonic() + 15
        while self._started_here() and time.monotonic() < end:
            time.sleep(0.05)
        for daemon in reversed(self._daemons):
            daemon.terminate()
        for daemon in reversed(self._daemons):
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        for pid in self._started_here():
            os.kill(pid, signal.SIGKILL)
        if self.tracking == "cgroup":
            for folder in sorted(Path("/sys/fs/cgroup").glob("*/slurm_*/**/"), reverse=True):
                if re.search(rf"slurm_({'|'.join(self.nodes)})(/|$)", str(folder)):
                    folder.rmdir()

    def submit(self, *words: object, cwd: Path | None = None, **environment: str) -> str:
        """`sbatch` with these words; the job id. `cwd`: where the user stands."""
        command = ["sbatch", "--parsable", *(str(word) for word in words)]
        result = subprocess.run(
            command, cwd=cwd, env=self.environment | environment, capture_output=True, text=True, timeout=60
        )
        assert result.returncode == 0, f"{command}: {result.stderr}"
        return result.stdout.strip().partition(";")[0]

    def command(self, *words: object) -> str:
        """What a command of SLURM (or any other) prints; it may fail."""
        result = subprocess.run(
            [str(word) for word in words], env=self.environment, capture_output=True, text=True, timeout=60
        )
        return result.stdout + result.stderr

    def show(self, job: str) -> dict[str, str]:
        """What `scontrol show job` says: JobState, Restarts, ExitCode, Reason, …"""
        words = self.command("scontrol", "show", "job", "--oneliner", job).splitlines()[0].split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def state(self, job: str) -> str:
        return self.show(job).get("JobState", "UNKNOWN")

    def wait(self, job: str, *states: str, seconds: float = 180) -> str:
        """Return when the job is in one of `states` (default: has ended, whatever way), with that state."""
        wanted = states or ENDED
        end = time.monotonic() + seconds
        while (state := self.state(job)) not in wanted:
            assert time.monotonic() < end, (
                f"job {job} is {state}, not {'/'.join(wanted)}, after {seconds} s: {self.show(job)}"
            )
            assert states == () or state not in ENDED, f"job {job} ended as {state}: {self.show(job)}"
            time.sleep(0.1)
        return state

    def wait_for_trap(self, job: str, caught: signal.Signals) -> None:
        """Return when the job runs and its script catches this signal: before, it would die of it."""
        self.wait(job, "RUNNING")
        mark = f"SLURM_JOB_ID={self.show(job)['JobId']}".encode()
        processes = Path("/proc")
        self._until(
            lambda: any(_catches(entry, mark, caught) for entry in processes.glob("[0-9]*")), f"a trap of {job}"
        )

    def _configure(self) -> None:
        control, *ports = free_ports(1 + len(self.nodes))
        host = socket.gethostname().partition(".")[0]
        nodes = "\n".join(
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={CPUS[node]} RealMemory=8000"
            for node, port in zip(self.nodes, ports, strict=True)
        )
        lines = CONF.format(
            host=host,
            user=getpass.getuser(),
            control_port=control,
            folder=self.folder,
            tracking=self.tracking,
            task="none",
            nodes=nodes,
        ).splitlines()
        # A partition of nodes that are not there would be refused.
        kept = [line for line in lines if not line.startswith("PartitionName") or self._has_nodes(line)]
        (self.folder / "slurm.conf").write_text("\n".join(kept) + "\n")
        if self.tracking == "cgroup":
            (self.folder / "cgroup.conf").write_text(CGROUP_CONF)

    def _has_nodes(self, partition: str) -> bool:
        found = re.search(r"Nodes=(\S+)", partition)
        assert found is not None
        return set(found[1].split(",")) <= set(self.nodes)

    def _run(self, program: str, *options: str) -> None:
        path = shutil.which(program, path=f"{os.environ['PATH']}:/usr/local/sbin:/usr/sbin:/sbin")
        assert path is not None, f"{program} is not installed; run tests/install_packages.sh {' '.join(PROGRAMS)}"
        log = (self.folder / f"{program}.out").open("ab")
        with log:
            self._daemons.append(
                subprocess.Popen(
                    [path, *options], env=self.environment, stdout=log, stderr=log, preexec_fn=_end_with_parent
                )
            )

    def _until(self, is_up: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + 60
        while not is_up():
            dead = [str(daemon.args) for daemon in self._daemons if daemon.poll() is not None]
            if dead or time.monotonic() > end:
                logs = [
                    line for path in sorted(self.folder.glob("*.out")) for line in path.read_text().splitlines()[-5:]
                ]
                raise RuntimeError(f"{what} did not come up in {self.folder}; ended: {dead}; last words: {logs}")
            time.sleep(0.05)

    def _started_here(self) -> list[int]:
        """Processes that run under this SLURM: jobs and the stepds that watch them, but not its daemons."""
        daemons = {daemon.pid for daemon in self._daemons} | {os.getpid()}
        mark = f"SLURM_CONF={self.folder / 'slurm.conf'}".encode()
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                if not daemons & {int(entry.name), parent} and mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
            except OSError:
                continue
        return found


def _catches(process: Path, mark: bytes, caught: signal.Signals) -> bool:
    """Whether a process of /proc that has `mark` in its environment has a handler for this signal."""
    try:
        if mark not in (process / "environ").read_bytes().split(b"\0"):
            return False
        status = (process / "status").read_text()
    except OSError:
        return False
    found = re.search(r"^SigCgt:\s*(\w+)", status, re.MULTILINE)
    return found is not None and bool(int(found[1], 16) >> (caught - 1) & 1)


def _end_with_parent() -> None:
    """In the child: SIGTERM when the process that started it ends, however it ends."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


if __name__ == "__main__":
    slurm = Slurm(Path(sys.argv[1]).resolve()).start()
    print(f"export SLURM_CONF={slurm.folder / 'slurm.conf'}", flush=True)
    try:
        signal.pause()
    except KeyboardInterrupt:
        slurm.stop()
