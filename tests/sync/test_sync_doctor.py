"""The doctor in front of healthy and broken places and tools; what is broken here is really broken."""

import json
import os
import queue
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from difflogic_tonic.sync import doctor
from difflogic_tonic.sync.doctor_machine import (
    check_compiler,
    check_container,
    check_environment,
    check_gpu,
    check_slurm,
    locked_versions,
)
from difflogic_tonic.sync.doctor_storage import check_place, check_places
from difflogic_tonic.sync.finding import Finding
from mounts import Mount, mount, run_mount  # noqa: F401


def statuses(findings: list[Finding]) -> list[str]:
    return [finding.status for finding in findings]


def only(findings: list[Finding], status: str) -> Finding:
    (found,) = (finding for finding in findings if finding.status == status)
    return found


def test_a_healthy_place_has_everything_looked_at_and_nothing_left_in_it(tmp_path: Path) -> None:
    findings = check_place("scratch", tmp_path)
    said = " ".join(finding.text for finding in findings)
    assert "failure" not in statuses(findings)
    for part in ("can be written", "free: ", "a second, flushed", "file locks work", "clock agrees"):
        assert part in said
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_is_not_there_yet(tmp_path: Path) -> None:
    (finding,) = check_place("project", tmp_path / "o'clock" / "my storage")
    assert finding.status == "warning"
    assert list(tmp_path.iterdir()) == []
    subprocess.run(finding.fix, shell=True, check=True)
    assert (tmp_path / "o'clock" / "my storage").is_dir()


@pytest.mark.parametrize("below", ["", "of/mine"])
def test_a_link_to_what_is_not_mounted_cannot_be_made(tmp_path: Path, below: str) -> None:
    link = tmp_path / "storage"
    link.symlink_to(tmp_path / "disk" / "mine")
    (finding,) = check_place("scratch", link / below)
    assert (finding.status, finding.text) == (
        "failure",
        f"{link} is a link to {tmp_path}/disk/mine, which is not there",
    )
    assert finding.fix.startswith("mount it, or set SCRATCH_STORAGE_DIR")


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "storage").touch()
    for place in (tmp_path / "storage", tmp_path / "storage" / "below"):
        (finding,) = check_place("project", place)
        assert (finding.status, finding.text) == ("failure", f"{tmp_path / 'storage'} is no folder")


def test_a_place_that_cannot_even_be_looked_at_is_a_row_beside_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = tmp_path / ("a" * 300)  # no file system has such a name: stat fails, as it does on a dead mount
    variables = {"SCRATCH_STORAGE_DIR": str(gone), "PROJECT_STORAGE_DIR": "~nosuchuser/storage", "PATH": ""}
    assert doctor.run(variables, tmp_path) == 1
    said = capsys.readouterr().out
    assert "FAIL  scratch storage  [Errno 36] File name too long" in said
    assert "FAIL  storage          PROJECT_STORAGE_DIR=~nosuchuser/storage is not absolute" in said
    assert "Python" in said


@pytest.mark.integration
def test_a_read_only_place(mount: Mount) -> None:  # noqa: F811
    root = mount("read-only", "size=1m,ro")
    finding = only(check_place("project", root), "failure")
    assert finding.text == f"{root} cannot be written: Read-only file system"
    assert finding.fix.startswith("mount it writable, or set PROJECT_STORAGE_DIR")


@pytest.mark.integration
@pytest.mark.parametrize("n_bytes", [4096, 0])
def test_a_place_that_is_full_by_bytes_or_files(n_bytes: int, mount: Mount) -> None:  # noqa: F811
    root = mount("full", "size=1m,nr_inodes=300")
    for number in range(300):
        try:
            (root / f"{number}").write_bytes(bytes(n_bytes))
        except OSError:
            break
    findings = check_place("scratch", root)
    finding = only(findings, "failure")
    assert finding.text.endswith("cannot be written: No space left on device")
    assert finding.fix.startswith("make room there")
    assert "free: " in only(findings, "warning").text


def test_places_that_are_one_two_unset_or_relative(tmp_path: Path) -> None:
    two = {"SCRATCH_STORAGE_DIR": "/a", "PROJECT_STORAGE_DIR": "/b"}
    assert statuses(check_places(two, Path("/a"), Path("/b"))) == ["ok"]
    assert "one folder" in check_places(two, Path("/a"), Path("/a"))[0].text
    assert "SCRATCH_STORAGE_DIR and PROJECT_STORAGE_DIR not set" in check_places({}, tmp_path, tmp_path)[0].text
    relative = check_places(two | {"PROJECT_STORAGE_DIR": "b"}, Path("/a"), Path("b"))
    assert statuses(relative) == ["failure"]


@pytest.mark.parametrize("unset", [(), ("SCRATCH",), ("PROJECT",), ("SCRATCH", "PROJECT")])
def test_the_doctor_looks_where_a_run_would(unset: tuple[str, ...], tmp_path: Path) -> None:
    from difflogic_tonic.config import environment_storage, repository_root

    variables = {f"{name}_STORAGE_DIR": f"/{name}" for name in ("SCRATCH", "PROJECT") if name not in unset}
    wanted = environment_storage(variables)
    assert doctor.places(variables, repository_root()) == (wanted.scratch, wanted.project)


def test_an_image_that_is_not_there_and_one_that_nothing_can_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = tmp_path / "image.sif"
    assert "cannot be read" in only(check_container({"SINGULARITY_CONTAINER": str(image)}), "failure").text
    image.touch()
    monkeypatch.setenv("PATH", str(tmp_path))
    finding = only(check_container({"SINGULARITY_CONTAINER": str(image)}), "failure")
    assert finding.text == "neither apptainer nor singularity is installed"


def test_an_image_whose_python_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = tmp_path / "image.sif"
    image.touch()
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    for answer in ("", "echo hello", "echo '[1]'"):
        stand_in(tmp_path, "apptainer", answer)
        assert "does not answer" in only(check_container({"SINGULARITY_CONTAINER": str(image)}), "failure").text


def test_packages_that_differ_from_the_lock_files_are_named(tmp_path: Path, repository: Path) -> None:
    (tmp_path / "requirements").symlink_to(repository / "requirements")
    assert check_environment(tmp_path, {})[0].status == "note"
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    packages = locked_versions(repository, "config", "base", "torch-cpu")
    assert {"torch", "numpy", "pydantic"} <= packages.keys()

    def installed(**changed: str) -> list[Finding]:
        answer = json.dumps({"python": "3.11.1", "packages": packages | changed})
        python.write_text(f"#!/bin/sh\necho '{answer}'\n")
        python.chmod(0o755)
        return check_environment(tmp_path, {})

    assert statuses(installed(torch=f"{packages['torch']}+cpu")) == ["ok"]
    finding = only(installed(numpy="1.0.0"), "warning")
    assert f"numpy 1.0.0 instead of {packages['numpy']}" in finding.text
    python.write_text("#!/bin/sh\necho broken link >&2; exit 1\n")
    assert only(check_environment(tmp_path, {}), "failure").text == ".venv is broken: broken link"


def stand_in(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_gpus_are_listed_and_a_torch_without_cuda_beside_one_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path, "nvidia-smi", "echo 'NVIDIA A100, 40960 MiB, 570.1'")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert statuses(check_gpu(tmp_path, {})) == ["ok"]
    version = tmp_path / ".venv" / "lib" / "python3.11" / "site-packages" / "torch" / "version.py"
    version.parent.mkdir(parents=True)
    version.write_text("cuda: Optional[str] = None\n")
    assert "without CUDA" in only(check_gpu(tmp_path, {}), "failure").text
    version.write_text("cuda: Optional[str] = '12.8'\n")
    assert statuses(check_gpu(tmp_path, {})) == ["ok"]


def test_a_partition_that_slurm_does_not_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, "sbatch", "")
    stand_in(tmp_path, "sinfo", "printf 'gpu\\ncpu\\n'")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert check_slurm({"SLURM_JOB_ID": "7"})[0].text == "partitions cpu, gpu; this is job 7"
    assert "no partition big" in only(check_slurm({"SBATCH_PARTITION": "gpu,big"}), "failure").text
    stand_in(tmp_path, "sinfo", "echo 'Unable to contact slurm controller' >&2; exit 1")
    assert "Unable to contact" in only(check_slurm({}), "failure").text


def test_a_compiler_that_builds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert check_compiler()[0].text.startswith("no gcc: ")
    stand_in(tmp_path, "gcc", "echo 'pthread.h: no such file' >&2; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    assert "builds nothing (pthread.h: no such file)" in check_compiler()[0].text


def test_a_check_that_hangs_is_said_and_the_others_go_on() -> None:
    never = threading.Event()

    def hang() -> list[Finding]:
        never.wait(60)
        return []

    found = list(doctor.examine({"slow": hang, "quick": lambda: [Finding("quick", "ok", "fine")]}, seconds=0.05))
    never.set()
    assert [(finding.name, finding.status) for finding in found] == [("slow", "failure"), ("quick", "ok")]


def test_several_checks_that_hang_share_one_time_and_keep_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    class Answers(queue.SimpleQueue):  # one that never comes, and how long it was waited for
        def get(self, block: bool = True, timeout: float | None = None) -> object:
            waits.append(timeout or 0.0)
            clock[0] += timeout or 0.0
            raise queue.Empty

    clock = [1000.0]
    monkeypatch.setattr(doctor.queue, "SimpleQueue", Answers)
    monkeypatch.setattr(doctor.time, "monotonic", lambda: clock[0])
    found = list(doctor.examine(dict.fromkeys(("first", "second", "third"), list), seconds=30.0))
    assert [finding.name for finding in found] == ["first", "second", "third"]
    assert waits == [30.0, 0.0, 0.0]


def test_the_table_has_the_fix_under_what_is_not_well() -> None:
    lines = doctor.table([Finding("storage", "ok", "good"), Finding("GPU", "failure", "bad", "mend it")])
    assert lines == ["ok    storage  good", "FAIL  GPU      bad", "               → mend it"]


def call(repository: Path, variables: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    """With -S: as a Python that has no packages at all."""
    command = [sys.executable, "-S", str(repository / "check_and_sync_data.py"), "doctor", *words]
    return subprocess.run(command, env={"PATH": os.environ["PATH"]} | variables, capture_output=True, text=True)


@pytest.mark.integration
def test_the_command_needs_no_packages_and_its_exit_code_tells(repository: Path, tmp_path: Path) -> None:
    variables = {"PATH": "/usr/bin:/bin", "SCRATCH_STORAGE_DIR": str(tmp_path), "PROJECT_STORAGE_DIR": str(tmp_path)}
    (tmp_path / "bin").mkdir()
    fine = call(repository, variables | {"PATH": str(tmp_path / "bin")}, "--json")
    answer: dict[str, Any] = json.loads(fine.stdout)
    assert fine.returncode == answer["exit_code"] == 0, answer
    assert {"storage", "scratch storage", "Python", "environment", "container", "GPU", "SLURM", "compiler"} == {
        finding["name"] for finding in answer["findings"]
    }
    broken = call(repository, variables | {"PROJECT_STORAGE_DIR": "/dev/null", "PATH": str(tmp_path / "bin")})
    assert broken.returncode == 1, broken.stderr
    assert "FAIL  project storage  /dev/null is no folder" in broken.stdout
    assert broken.stderr == ""
