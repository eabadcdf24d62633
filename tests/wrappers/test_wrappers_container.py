"""helper_scripts/container.sh with a recording stand-in for the runtime: what it is asked to run is the subject here.

tests/cluster/test_cluster_container.py does the same with the real Apptainer and a real image.
"""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

RUNTIME = r"""#!/bin/sh
if [ "$1" = inspect ]; then
    echo "difflogic-tonic.locks: $LOCKS_OF_IMAGE"
    exit
fi
printf '%s\n' "$PYTHONNOUSERSITE|$PYTHONPATH|$LD_PRELOAD|$WANDB_MODE|$CUDA_VISIBLE_DEVICES|$DIFFLOGIC_IMAGE" "$@"
[ -z "$HOLD" ] || exec sleep "$HOLD"
exit 75
"""


class Node:
    """A machine with a runtime, an image in project storage and an empty scratch, all with spaces in their names."""

    def __init__(self, folder: Path, repository: Path) -> None:
        self.repository = repository
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.project, self.scratch = folder / "project space", folder / "fast scratch"
        self.image = self.project / "singularity" / "difflogic.sif"
        self.image.parent.mkdir(parents=True)
        self.image.write_bytes(b"an image\n" * 1000)
        self.program("apptainer", RUNTIME)

    def program(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def environment(self, **variables: str) -> dict[str, str]:
        return {
            "PATH": f"{self.bin}:/usr/bin:/bin",
            "HOME": os.environ["HOME"],
            "SINGULARITY_CONTAINER": str(self.image),
            "PROJECT_STORAGE_DIR": str(self.project),
            "SCRATCH_STORAGE_DIR": str(self.scratch),
        } | variables

    def start(self, *words: object, **variables: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [str(word) for word in (self.repository / "train.sh", *words)],
            env=self.environment(**variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: object, **variables: str) -> tuple[list[str], str]:
        """Words that the runtime got, after the line of variables, and what was said on stderr."""
        process = self.start(*words, **variables)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 75, err  # the runtime's exit code is the wrapper's
        return out.splitlines(), err

    def copies(self) -> list[Path]:
        return sorted(path for path in (self.scratch / "singularity").iterdir() if not path.name.startswith("."))


@pytest.fixture
def node(tmp_path: Path, repository: Path) -> Node:
    return Node(tmp_path, repository)


def binds(words: list[str]) -> list[str]:
    return [words[place + 1] for place, word in enumerate(words) if word == "--bind"]


def test_the_runtime_gets_the_storage_places_the_command_and_the_variables(node: Node, repository: Path) -> None:
    words, said = node.run("c.yaml", "job 1", WANDB_MODE="offline", CUDA_VISIBLE_DEVICES="3", LD_PRELOAD="")
    assert words[:3] == [f"1|||offline|3|{node.image}", "--quiet", "exec"]
    assert words[-5:] == [str(node.copies()[0]), "python3", str(repository / "main.py"), "c.yaml", "job 1"]
    assert binds(words) == [str(repository), str(node.project), str(node.scratch)]
    assert "--nv" not in words
    assert "warning" not in said


def test_singularity_does_where_there_is_no_apptainer(node: Node) -> None:
    (node.bin / "apptainer").rename(node.bin / "singularity")
    for path in Path("/usr/bin").iterdir():  # all programs of this machine but a runtime that it may have
        if path.name not in ("apptainer", "singularity"):
            (node.bin / path.name).symlink_to(path)
    words, _ = node.run("c.yaml", "job", PATH=str(node.bin))
    assert words[2] == "exec"


@pytest.mark.parametrize(("answer", "wanted"), [("exit 0", True), ("exit 9", False)])
def test_gpu_libraries_only_where_the_driver_answers(node: Node, answer: str, wanted: bool) -> None:
    node.program("nvidia-smi", f"#!/bin/sh\n{answer}\n")
    words, _ = node.run("c.yaml", "job")
    assert ("--nv" in words) == wanted


def test_help_comes_from_the_container_where_the_python_of_the_host_is_old(node: Node) -> None:
    node.program("python3", "#!/bin/sh\nexit 1\n")
    words, _ = node.run("--help")
    assert words[-1] == "--help"


def test_python_paths_of_the_host_stay_outside_but_folders_of_ones_own_code_are_bound(
    node: Node, tmp_path: Path
) -> None:
    own = tmp_path / "my code"
    packages = tmp_path / "lib" / "site-packages"
    own.mkdir()
    packages.mkdir(parents=True)
    words, _ = node.run("c.yaml", "job", PYTHONPATH=f"{packages}:{own}:")
    assert words[0] == f"1|{own}||||{node.image}"
    assert str(own) in binds(words)
    assert str(packages) not in binds(words)


def test_what_the_arguments_and_the_config_name_is_bound(node: Node, tmp_path: Path) -> None:
    """Raw folders, archives and weights outside the checkout. What does not exist is left to the script's message."""
    names = ("raw data", "archive.tar", "weights.pt", "other", "own.yaml", "prepare.yaml")
    raw, archive, weights, other, config, prepare = (tmp_path / "outside" / name for name in names)
    raw.mkdir(parents=True)
    for path in (archive, weights, other):
        path.touch()
    prepare.write_text(f"data:\n  data_root: '{archive}'   # an archive\n")
    config.write_text(f'data:\n  prepare: "{prepare}"\nmodel:\n  weights: {weights}  # of last week\n# no: {other}\n')
    overrides = f"data.data_root={raw} data.allow_subset=true train.loss=/nowhere/at/all"
    words, _ = node.run(config, "job", "--override", overrides, "train.x=/usr/bin")
    assert binds(words)[3:] == [str(path) for path in (config, prepare, weights, archive, raw)]


def test_the_folder_of_an_output_is_bound_and_nothing_of_the_image(node: Node, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    outputs = (tmp_path / "outside" / "new.csv", tmp_path / "none" / "new.csv", "/new.csv", "/usr/new.csv")
    words, _ = node.run("c.yaml", "job", "--override", *(f"a.b={path}" for path in outputs))
    assert binds(words)[3:] == [str(tmp_path / "outside")]


def test_a_path_that_no_runtime_can_bind_is_named(node: Node, tmp_path: Path) -> None:
    (tmp_path / "a:b").mkdir()
    process = node.start("c.yaml", "job", SCRATCH_STORAGE_DIR=str(tmp_path / "a:b"))
    _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert f"error: {tmp_path}/a:b: the container runtime cannot bind a path with a comma or a colon" in said


@pytest.mark.parametrize("locks", ["0123456789abcdef", ""])
def test_an_image_of_other_lock_files_is_warned_of_where_it_says_which_it_has(node: Node, locks: str) -> None:
    _, said = node.run("c.yaml", "job", LOCKS_OF_IMAGE=locks)
    assert ("warning: " in said) == bool(locks)
    assert ("build it again: singularity/build.sh" in said) == bool(locks)


# --- staging --------------------------------------------------------------------------------------------------------


def test_ten_jobs_at_once_stage_the_image_once(node: Node) -> None:
    processes = [node.start("c.yaml", "job") for _ in range(10)]
    texts = [process.communicate(timeout=60) for process in processes]
    assert "".join(err for _, err in texts).count("staged ") == 1
    (copy,) = node.copies()
    assert copy.read_bytes() == node.image.read_bytes()
    assert all(str(copy) in out.splitlines() for out, _ in texts)


def test_a_changed_image_replaces_its_copy_but_not_under_a_job_that_runs_from_it(node: Node) -> None:
    running = node.start("c.yaml", "job", HOLD="60")
    assert running.stdout is not None
    running.stdout.readline()  # the runtime is there, so the copy is held
    (first,) = node.copies()
    node.image.write_bytes(b"another image\n" * 1000)
    words, _ = node.run("c.yaml", "job")
    second = next(copy for copy in node.copies() if copy != first)
    assert first.exists()
    assert str(second) in words
    assert second.read_bytes() == node.image.read_bytes()
    running.kill()
    running.communicate()
    node.image.write_bytes(b"a third\n" * 1000)
    node.run("c.yaml", "job")
    assert [copy.read_bytes()[:7] for copy in node.copies()] == [b"a third"]


def test_leftovers_of_a_killed_job_are_removed(node: Node) -> None:
    folder = node.scratch / "singularity"
    folder.mkdir(parents=True)
    (folder / "difflogic.9-9.sif.host.999999999.partial").touch()
    node.run("c.yaml", "job")
    assert len(node.copies()) == 1


def test_copies_of_an_image_whose_name_begins_alike_are_left_alone(node: Node) -> None:
    other = node.image.with_name("difflogic.v2.sif")
    other.write_bytes(b"another one\n")
    node.run("c.yaml", "job", SINGULARITY_CONTAINER=str(other))
    node.run("c.yaml", "job")
    assert {copy.read_bytes() for copy in node.copies()} == {other.read_bytes(), node.image.read_bytes()}


def test_without_room_or_right_on_scratch_the_image_is_used_from_where_it_is(node: Node) -> None:
    node.scratch.mkdir()
    (node.scratch / "singularity").touch()
    words, said = node.run("c.yaml", "job")
    assert str(node.image) in words
    assert f"note: the image is not on scratch; using it from {node.image}" in said
    (node.scratch / "singularity").unlink()
    node.program("df", "#!/bin/sh\nprintf 'Avail\\n5\\n'\n")
    words, said = node.run("c.yaml", "job")
    assert str(node.image) in words
    assert "note: no room for the image in" in said
    assert node.copies() == []


def test_a_copy_that_is_not_equal_is_not_used(node: Node) -> None:
    node.program("tee", '#!/bin/sh\n/usr/bin/tee "$@"\nprintf x >>"$1"\n')
    words, said = node.run("c.yaml", "job")
    assert str(node.image) in words
    assert "note: the copy of the image differs from" in said
    assert node.copies() == []


def test_an_image_on_scratch_or_without_scratch_is_not_copied(node: Node) -> None:
    words, _ = node.run("c.yaml", "job", SCRATCH_STORAGE_DIR="")
    assert str(node.image) in words
    words, _ = node.run("c.yaml", "job", DIFFLOGIC_STAGE_IMAGE="no")
    assert str(node.image) in words
    own = node.scratch / "difflogic.sif"
    own.parent.mkdir(exist_ok=True)
    own.touch()
    words, _ = node.run("c.yaml", "job", SINGULARITY_CONTAINER=str(own))
    assert str(own) in words
    assert not (node.scratch / "singularity").exists()


@pytest.mark.parametrize("name", ["SIGUSR1", "SIGTERM"])
def test_a_signal_while_the_image_is_copied_asks_for_another_turn(node: Node, name: str, tmp_path: Path) -> None:
    started = tmp_path / "started"
    node.program("tee", f'#!/bin/sh\n: >"$1"\n: >"{started}"\nexec sleep 60\n')
    process = node.start("c.yaml", "job")
    while not started.exists():
        time.sleep(0.01)
    process.send_signal(getattr(signal, name))
    _, said = process.communicate(timeout=30)
    assert process.returncode == 75
    assert "stopped while the image was copied to scratch; nothing was begun" in said
    assert node.copies() == []
