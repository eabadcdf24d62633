"""Parts of the job scripts that can be looked at without SLURM."""

import subprocess
from pathlib import Path


def test_prepared_files_are_counted_behind_a_link_and_while_others_rename_theirs(
    repository: Path, tmp_path: Path
) -> None:
    (tmp_path / "disk" / "NMNIST").mkdir(parents=True)
    (tmp_path / "disk" / "NMNIST" / "shard").touch()
    (tmp_path / "data").symlink_to("disk")
    # As `find` ends when a folder goes away under it.
    script = """
        set -euo pipefail
        . "$1"
        find() { command find "$@"; return 1; }
        position=files-$(count_files)
        echo "$position"
    """
    done = subprocess.run(
        ["bash", "-c", script, "bash", repository / "helper_scripts" / "slurm" / "batch.sh"],
        env={"PATH": "/usr/bin:/bin", "REPOSITORY": str(tmp_path), "PROJECT_STORAGE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "files-1\n"), done.stderr


def test_help_of_the_chain_is_no_failure(repository: Path) -> None:
    script = repository / "helper_scripts" / "slurm" / "prepare_and_train.sh"
    done = subprocess.run([script, "--help"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "PREPARE_CONFIG CONFIG JOB_ID" in done.stdout
    assert subprocess.run([script, "one"], capture_output=True).returncode == 2


def test_a_chain_that_cannot_be_submitted_is_one_line(repository: Path, tmp_path: Path) -> None:
    script = repository / "helper_scripts" / "slurm" / "prepare_and_train.sh"
    for name in ("bash", "dirname", "sed"):  # and no sbatch
        (tmp_path / name).symlink_to(f"/usr/bin/{name}")
    environment = {"PATH": str(tmp_path), "PROJECT_VARIABLES": "/dev/null"}

    def submitted(**more: str) -> tuple[int, str]:
        done = subprocess.run(
            [script, "p.yaml", "c.yaml", "job"], env=environment | more, capture_output=True, text=True
        )
        return done.returncode, done.stderr

    assert submitted() == (
        2,
        "error: there is no sbatch here; run ./prepare_data.sh p.yaml, then ./train.sh c.yaml job\n",
    )
    for tasks in ("x", "0", "-1"):
        assert submitted(PREPARE_TASKS=tasks) == (2, f"error: PREPARE_TASKS={tasks}: expected a number from 1\n")


def test_an_old_report_that_cannot_be_taken_away_is_not_read(repository: Path, tmp_path: Path) -> None:
    # What cannot be removed, also by root: a folder stands for a file in a place that has become read-only.
    (tmp_path / "slurm" / "7.report").mkdir(parents=True)
    (tmp_path / "scontrol").write_text("#!/bin/sh\n")
    (tmp_path / "scontrol").chmod(0o755)
    script = 'set -euo pipefail; . "$1"; begin_batch; echo "$JOB_REPORT"; printenv JOB_REPORT'
    done = subprocess.run(
        ["bash", "-c", script, "bash", repository / "helper_scripts" / "slurm" / "batch.sh"],
        env={
            "PATH": f"{tmp_path}:/usr/bin:/bin",
            "PROJECT_STORAGE_DIR": str(tmp_path),
            "SLURM_JOB_ID": "7",
            "SLURM_TASK_PID": "1",
            "SLURM_JOB_END_TIME": "0",
            "TMPDIR": "/elsewhere",
        },
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "/elsewhere/7.report\n" * 2), done.stderr
