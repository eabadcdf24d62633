"""The container, really built and run: `singularity/difflogic.def` on a local base, by Apptainer, as an ordinary user.

The base is Debian from this machine (tests/support/base_image.py), in place of the registry's; GPUs are not looked at.
All folders that Apptainer mounts by itself but the home are left out, so what is seen inside is what the wrappers bind.
"""

import hashlib
import importlib
import json
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from base_image import make_base_image
from slurm_cluster import PROGRAMS, Slurm

pytestmark = pytest.mark.cluster

TESTER = "difflogic-tester"
LOCKS = ("config.lock", "base.lock", "torch-cpu.lock", "torch-cuda.lock")
POISON = "raise SystemExit('a package of the host was imported')\n"
MANY = 10_000  # epochs: more than a test waits for


class Cluster:
    """A checkout and two storage places of an ordinary user, all with spaces in their names."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.checkout = root / "check out"
        self.project, self.scratch = root / "project space", root / "fast scratch"
        self.home, self.temporary = root / "home", root / "temporary"
        self.image = self.project / "singularity" / "difflogic.sif"
        self._user: list[str] = []
        self.as_user: list[str] = []
        """Options of sbatch for the user that commands run as."""
        if os.geteuid() == 0:
            self.as_user = [f"--uid={TESTER}", f"--gid={TESTER}"]
            self._user = ["setpriv", "--reuid", TESTER, "--regid", TESTER, "--init-groups"]

    def own(self) -> None:
        """Give everything to the user that commands run as."""
        if self._user:
            user = pwd.getpwnam(TESTER)
            for path in (self.root, *self.root.rglob("*")):
                os.chown(path, user.pw_uid, user.pw_gid, follow_symlinks=False)

    def environment(self) -> dict[str, str]:
        kept = ("PIP_", "SSL_", "REQUESTS_", "CURL_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
        return {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.home),
            "TMPDIR": str(self.temporary),
            **{name: value for name, value in os.environ.items() if name.upper().startswith(kept)},
        }

    def inside(self, **variables: str) -> dict[str, str]:
        """Variables of a job on a cluster, where a Python of the host has been loaded as a module."""
        return self.environment() | {
            "PROJECT_STORAGE_DIR": str(self.project),
            "SCRATCH_STORAGE_DIR": str(self.scratch),
            "SINGULARITY_CONTAINER": str(self.image),
            "APPTAINER_HOME": str(self.home),
            "APPTAINER_NO_MOUNT": "tmp,cwd",
            "PROJECT_VARIABLES": "/dev/null",
            "PYTHONPATH": str(self.home / "site-packages"),
            **variables,
        }

    def start(self, *words: object, environment: dict[str, str] | None = None) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [*self._user, *map(str, words)],
            cwd=self.checkout,
            env=environment or self.inside(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *words: object, code: int = 0, environment: dict[str, str] | None = None) -> str:
        """What a command that must end with `code` said."""
        process = self.start(*words, environment=environment)
        text, _ = process.communicate(timeout=1200)
        assert process.returncode == code, text
        return text

    def train(self, job: str, epochs: int, *words: object) -> "subprocess.Popen[str]":
        return self.start(*self.train_command(job, epochs), *words)

    def train_command(self, job: str, epochs: int) -> tuple[object, ...]:
        overrides = f"train.epochs={epochs} train.schedule=none model.difflogic.num_neurons=1600"
        return (self.checkout / "train.sh", "configs/quickstart.yaml", job, "--override", overrides)

    def finish(self, job: str, epochs: int, *words: object) -> str:
        """What a run that ends by itself printed."""
        process = self.train(job, epochs, *words)
        text, _ = process.communicate(timeout=600)
        assert process.returncode == 0, text
        return text

    def weights(self, job: str) -> dict[str, Any]:
        load_model = importlib.import_module("difflogic_tonic.runs.model_file").load_model
        weights: dict[str, Any] = load_model(self.project / "models" / job / "last.pt").model
        return weights


@pytest.fixture(scope="module")
def cluster(repository: Path, program: Callable[[str], str]) -> Iterator[Cluster]:
    """With Apptainer installed. Not below pytest's temporary folder, which no other user may enter."""
    subprocess.run([repository / "tests" / "install_packages.sh", "apptainer"], check=True)
    program("apptainer")
    with tempfile.TemporaryDirectory(prefix="difflogic-container-", ignore_cleanup_errors=True) as folder:
        cluster = Cluster(Path(folder))
        cluster.root.chmod(0o755)
        skipped = shutil.ignore_patterns(".venv*", ".git", "__pycache__", "*.egg-info", ".*_cache", "*.sif", "*.so")
        cluster.checkout.mkdir()
        for path in repository.iterdir():
            if path.is_dir() and path.name not in ("storage", "build", "dist", ".git", ".venv"):
                shutil.copytree(path, cluster.checkout / path.name, ignore=skipped)
            elif path.is_file():
                shutil.copy2(path, cluster.checkout)
        for path in (cluster.image.parent, cluster.scratch, cluster.temporary):
            path.mkdir(parents=True)
        _fill_home(cluster.home)
        base = cluster.root / "base"
        base.mkdir()
        make_base_image(base)
        cluster.own()
        yield cluster


def _fill_home(home: Path) -> None:
    """pip's settings of whoever runs the tests, and packages that must not be found."""
    for name in (".config/pip/pip.conf", ".pip/pip.conf"):
        if (Path.home() / name).is_file():
            (home / name).parent.mkdir(parents=True)
            shutil.copyfile(Path.home() / name, home / name)
    for name in (".local/lib/python3.11/site-packages", "site-packages"):
        (home / name).mkdir(parents=True)
        for package in ("numpy", "torch", "yaml"):
            (home / name / f"{package}.py").write_text(POISON)


@pytest.fixture(scope="module")
def build(cluster: Cluster) -> str:
    """What building the image said. It takes the build of torch that the tests themselves run with."""
    import torch

    which = "cuda" if torch.version.cuda else "cpu"
    options = ("--base", cluster.root / "base", "--torch", which, "--compress", "lz4", cluster.image)
    script = cluster.checkout / "singularity" / "build.sh"
    return cluster.run(script, *options, environment=cluster.environment())


@pytest.fixture(scope="module")
def prepared(cluster: Cluster, build: str) -> str:
    """What preparing the embedded digits in the container said."""
    return cluster.run(cluster.checkout / "prepare_data.sh", "configs/prepare_digits.yaml")


def test_the_definition_builds_and_its_test_imports_everything_and_trains(cluster: Cluster, build: str) -> None:
    assert "packages have their locked versions" in build
    assert "modules imported; torch 2.13.0" in build
    assert "16 optimizer steps trained" in build
    assert f"next: export SINGULARITY_CONTAINER={str(cluster.image).replace(' ', chr(92) + ' ')}" in build
    assert os.listdir(cluster.image.parent) == ["difflogic.sif"]
    labels = json.loads(cluster.run("apptainer", "inspect", "--json", "--labels", cluster.image))
    content = b"".join((cluster.checkout / "requirements" / name).read_bytes() for name in LOCKS)
    found = labels["data"]["attributes"]["labels"]["difflogic-tonic.locks"]
    assert found == hashlib.sha256(content).hexdigest()[:16]


def test_the_image_alone_runs_the_commands_of_the_pipeline(cluster: Cluster, build: str) -> None:
    run = ("apptainer", "--quiet", "run", cluster.image)
    assert "usage: train.sh" in cluster.run(*run, "train", "--help")
    assert "usage: apptainer run IMAGE {train|prepare|" in cluster.run(*run, "tarin", code=2)
    environment = cluster.environment()
    assert "set PROJECT_STORAGE_DIR to a folder" in cluster.run(
        *run, "train", "configs/quickstart.yaml", "a", code=2, environment=environment
    )
    assert "From a checkout" in cluster.run("apptainer", "run-help", cluster.image)


def test_both_places_are_written_from_inside(cluster: Cluster, prepared: str) -> None:
    assert "DIGITS_DVS: prepared" in prepared
    assert "warning" not in prepared
    for place in (cluster.project, cluster.scratch):
        assert list(place.glob("data/DIGITS_DVS/*/manifest.json")), prepared


def test_packages_of_the_host_do_not_leak_in(cluster: Cluster, prepared: str) -> None:
    """`prepared` imported numpy. That the host's would have been found without the settings is seen here."""
    assert "staged" in prepared
    naked = ("apptainer", "--quiet", "exec", cluster.image, "env", "-u", "PYTHONNOUSERSITE")
    environment = cluster.inside()
    text = cluster.run(*naked, "/usr/bin/python3", "-c", "import numpy", code=1, environment=environment)
    assert "a package of the host was imported" in text
    del environment["PYTHONPATH"]
    text = cluster.run(*naked, "/usr/bin/python3", "-c", "import numpy", code=1, environment=environment)
    assert "a package of the host was imported" in text


def test_a_raw_folder_outside_is_visible_inside(cluster: Cluster, prepared: str) -> None:
    raw = cluster.root / "raw data"
    for name in ("cup", "pen"):
        (raw / name).mkdir(parents=True)
        for number in range(10):
            rows = [f"{100 * time} {(time + number) % 8} {time % 8} {time % 2}\n" for time in range(400)]
            (raw / name / f"{number}.txt").write_text("t x y p\n" + "".join(rows))
    cluster.own()
    overrides = f"data.data_root={raw} data.sensor=[8,8] data.time_bins=2 data.workers=1"
    command = (cluster.checkout / "prepare_data.sh", "configs/prepare_folder.yaml", "--override", overrides)
    assert "FOLDER: prepared" in cluster.run(*command)


def test_signals_and_exit_code_75_pass_through_and_the_run_goes_on_bit_by_bit(cluster: Cluster, prepared: str) -> None:
    job = "stopped"
    for name, epoch, words in (("SIGUSR1", 2, ()), ("SIGTERM", 3, ("--resume",))):
        process = cluster.train(job, MANY, *words)
        read_until(process, f"epoch {epoch}/")
        process.send_signal(getattr(signal, name))
        text, _ = process.communicate(timeout=120)
        assert process.returncode == 75, text
        assert f"stopped by {name} and saved" in text
    status = json.loads((cluster.project / "runs" / job / "status.json").read_text())
    assert (status["state"], status["requeue"]) == ("stopped", True)
    resumed = cluster.finish(job, status["epoch"] + 1, "--resume")
    assert f"resumed from {cluster.scratch}" in resumed
    cluster.finish("whole", status["epoch"] + 1)
    expected, found = cluster.weights("whole"), cluster.weights(job)
    assert all(bool((expected[key] == found[key]).all()) for key in expected)
    assert list(cluster.home.glob(".cache/difflogic-tonic/logic-*.so")), "the image has no C compiler"
    nested_evaluation_gives_the_same_numbers(cluster, job, resumed)


def nested_evaluation_gives_the_same_numbers(cluster: Cluster, job: str, trained: str) -> None:
    """A wrapper that is called inside the container does not start another one."""
    binds = [word for place in (cluster.checkout, cluster.project, cluster.scratch) for word in ("--bind", place)]
    nested = ("apptainer", "--quiet", "exec", *binds, cluster.image, cluster.checkout / "evaluate.sh", job)
    text = cluster.run(*nested, environment=cluster.inside(PYTHONPATH=""))
    line = next(line for line in trained.splitlines() if "recording accuracy" in line)
    assert line.split()[-1] in text


def test_a_batch_job_in_the_container_saves_on_a_signal_and_is_queued_again(
    cluster: Cluster, prepared: str, program: Callable[[str], str]
) -> None:
    """A SLURM of its own, whose settings the user may read, and whose node has not staged the image yet."""
    for name in PROGRAMS:
        program(name)
    slurm = Slurm(cluster.root / "slurm", nodes=("n1",)).start()
    try:
        output = cluster.temporary / "batch.out"
        environment = cluster.inside(SCRATCH_STORAGE_DIR=str(cluster.root / "scratch of the node"))
        options = ("--job-name=batch", "--cpus-per-task=1", "--time=10", f"--output={output}", *cluster.as_user)
        command = cluster.train_command("batch", 12)
        job = slurm.submit(*options, *command, cwd=cluster.checkout, **environment)
        wait_for(output, "epoch 2/")
        slurm.command("scancel", "--batch", "--signal=USR1", job)
        wait_for(output, "stopped by USR1 and saved")
        assert slurm.wait(job, seconds=400) == "COMPLETED", output.read_text()
        assert slurm.show(job)["Restarts"] == "1"
    finally:
        slurm.stop()
    text = output.read_text()
    assert text.count(f"staged {cluster.image} to ") == 1
    assert "resumed from" in text
    assert "epoch 12/12" in text


def wait_for(path: Path, text: str) -> None:
    end = time.monotonic() + 400
    while not path.exists() or text not in path.read_text():
        assert time.monotonic() < end, f"no {text!r} in {path.read_text() if path.exists() else path}"
        time.sleep(0.1)


def test_other_exit_codes_pass_through(cluster: Cluster, prepared: str) -> None:
    text = cluster.run(cluster.checkout / "train.sh", "configs/none.yaml", "job", code=2)
    assert "configs/none.yaml: no such config file" in text


def test_ten_jobs_at_once_stage_the_image_once(cluster: Cluster, build: str) -> None:
    scratch = cluster.root / "another scratch"
    environment = cluster.inside(SCRATCH_STORAGE_DIR=str(scratch))
    command = (cluster.checkout / "train.sh", "configs/none.yaml", "job")
    processes = [cluster.start(*command, environment=environment) for _ in range(10)]
    texts = [process.communicate(timeout=600)[0] for process in processes]
    assert [process.returncode for process in processes] == [2] * 10, texts
    assert sum(text.count("staged ") for text in texts) == 1
    copies = [path for path in (scratch / "singularity").iterdir() if not path.name.startswith(".")]
    assert [path.stat().st_size for path in copies] == [cluster.image.stat().st_size]


def test_an_image_is_not_replaced_by_one_whose_test_fails(cluster: Cluster, build: str) -> None:
    before = cluster.image.stat().st_mtime_ns
    definition = cluster.checkout / "singularity" / "difflogic.def"
    whole = definition.read_text()
    broken = "%labels\n    torch {{ TORCH }}\n%test\n    echo broken on purpose\n    exit 3\n"
    definition.write_text(whole[: whole.index("%files")] + broken)
    script = cluster.checkout / "singularity" / "build.sh"
    options = ("--base", cluster.root / "base", "--compress", "lz4", cluster.image)
    said = cluster.run(script, *options, code=1, environment=cluster.environment())
    definition.write_text(whole)
    assert "broken on purpose" in said
    assert "nothing was changed" in said
    assert cluster.image.stat().st_mtime_ns == before
    assert os.listdir(cluster.image.parent) == ["difflogic.sif"]


def read_until(process: "subprocess.Popen[str]", text: str) -> None:
    assert process.stdout is not None
    seen: list[str] = []
    for line in process.stdout:
        seen.append(line)
        if text in line:
            return
    pytest.fail(f"ended without saying {text!r}: {''.join(seen)}")


BUILD_ERRORS: Sequence[tuple[list[str], str]] = [
    (["--torch", "rocm"], "error: --torch rocm: expected cuda or cpu"),
    (["--base", "/nowhere"], "error: --base /nowhere: no such file or folder; expected one, or a URI"),
    (["image.img"], "error: image.img: the image is a file whose name ends in .sif"),
    (["--fast"], "error: unknown option --fast; see singularity/build.sh --help"),
    (["--remote", "a.sif"], "which has no remote builder; build on another machine"),
]


@pytest.mark.parametrize(("words", "message"), BUILD_ERRORS)
def test_wrong_arguments_of_the_build_are_answered_in_one_line(
    cluster: Cluster, words: list[str], message: str
) -> None:
    said = cluster.run(cluster.checkout / "singularity" / "build.sh", *words, code=2, environment=cluster.environment())
    assert message in said
    assert said.count("\n") == 1
