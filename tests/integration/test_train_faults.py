"""Training while its disks are full, read-only, purged or gone: it goes on, says so once, and catches up."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from difflogic_tonic.errors import StorageError
from mounts import Mount, run_mount, unmount

pytestmark = pytest.mark.integration
Check = Callable[[], None]
EPOCHS = 6
OFTEN = 0.02 / 60
"""Minutes between checkpoints."""


@pytest.fixture(scope="module")
def undisturbed(make_laboratory: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A laboratory in which the run went through."""
    laboratory = make_laboratory(tmp_path_factory.mktemp("undisturbed"))
    laboratory.write_config("MLP", epochs=EPOCHS)
    child = laboratory.fork()
    assert child.wait() == 0, child.text
    return laboratory


@pytest.fixture
def lab(laboratory: Any, undisturbed: Any) -> Any:
    """A laboratory whose run takes checkpoints all the time. `undisturbed` is first, so that no mount is in its way."""
    laboratory.write_config("MLP", epochs=EPOCHS, checkpoint_interval_minutes=OFTEN)
    return laboratory


@pytest.fixture
def assert_same_outcome(lab: Any, undisturbed: Any) -> Callable[[], None]:
    """The run of `lab` has ended as the undisturbed one did: weights, best weights, rows of metrics."""

    def check() -> None:
        for which in ("last", "best"):
            wanted, found = (laboratory.weights(which) for laboratory in (undisturbed, lab))
            assert all(torch.equal(wanted[name], found[name]) for name in wanted), which
        rows = [[untimed(row) for row in laboratory.rows()] for laboratory in (undisturbed, lab)]
        assert rows[0] == rows[1]

    return check


def untimed(row: dict[str, Any]) -> dict[str, Any]:
    measured = ("time", "peak_memory_bytes")
    return {name: value for name, value in row.items() if name not in measured and "second" not in name}


def slowly(seconds: float) -> Any:
    """For `fork(first=…)`: every step takes so much longer, so that there is time to break something."""

    def slow_down() -> None:
        from difflogic_tonic.train import fit

        step = fit.train_step

        def slow_step(*arguments: Any, **options: Any) -> Any:
            time.sleep(seconds)
            return step(*arguments, **options)

        fit.train_step = slow_step

    return slow_down


@pytest.fixture
def project(lab: Any, tmp_path: Path) -> Iterator[Any]:
    """`away()` and `back()` take project storage from the laboratory and give it back, with all that is in it."""
    kept = tmp_path / "kept"
    lab.project.rename(kept)
    lab.project.mkdir()

    class Project:
        n_mounts = 0

        def back(self, source: Path = kept) -> None:
            run_mount("--bind", str(source), str(lab.project))
            self.n_mounts += 1

        def read_only(self) -> None:
            """Until `away`, which brings back what it lies over."""
            source = tmp_path / "read-only"
            source.mkdir()
            run_mount("--bind", str(kept), str(source))
            # Of this one, as it is refused while somebody writes there; a bind of it is read-only, too.
            subprocess.run(["mount", "-o", "remount,bind,ro", str(source)], check=True)
            self.back(source)
            unmount(source)

        def away(self) -> None:
            unmount(lab.project)
            self.n_mounts -= 1

    made = Project()
    made.back()
    yield made
    while made.n_mounts:
        made.away()


def test_project_storage_that_goes_away_and_comes_back(lab: Any, project: Any, assert_same_outcome: Check) -> None:
    child = lab.fork(first=slowly(0.02))
    child.until("epoch 1/6")
    project.away()
    child.until("epoch 4/6")
    assert list(lab.project.iterdir()) == []  # nothing was written where the place would hide it
    project.back()
    assert child.wait() == 0, child.text
    assert_same_outcome()
    assert child.text.count("rows of metrics wait") == 1
    assert child.text.count("rows of metrics can be written again after") == 1
    assert child.text.count("are in scratch only") == 1
    assert child.text.count("checkpoints in project storage can be written again after") == 1
    assert lab.checkpoints("project")[-1].name == lab.checkpoints()[-1].name
    log = (lab.project / "runs" / "job" / "log.txt").read_text()
    assert [n for n in range(1, EPOCHS + 1) if f"epoch {n}/{EPOCHS}" in log] == list(range(1, EPOCHS + 1))


def test_killed_while_project_storage_is_away_nothing_is_lost(
    lab: Any, project: Any, assert_same_outcome: Check
) -> None:
    child = lab.fork(first=slowly(0.02))
    child.until("epoch 1/6")
    project.away()
    child.until("epoch 3/6")
    child.send("SIGTERM")
    assert child.wait() == 75, child.text
    project.back()
    child = lab.fork("--resume")
    assert child.wait() == 0, child.text
    assert_same_outcome()


def test_project_storage_that_stays_away_is_an_error_at_the_end_and_a_resume_completes_it(
    lab: Any, project: Any, assert_same_outcome: Check
) -> None:
    child = lab.fork(first=slowly(0.01))
    child.until("epoch 1/6")
    project.away()
    assert child.wait() == StorageError.exit_code, child.text
    assert "start again with --resume" in child.text
    project.back()
    child = lab.fork("--resume")
    assert child.wait() == 0, child.text
    assert_same_outcome()


def test_project_storage_that_turns_read_only_meanwhile(lab: Any, project: Any, assert_same_outcome: Check) -> None:
    child = lab.fork(first=slowly(0.02))
    child.until("epoch 1/6")
    project.read_only()
    child.until("epoch 3/6")
    project.away()
    assert child.wait() == 0, child.text
    assert "is read-only" in child.text
    assert_same_outcome()


@pytest.mark.parametrize("n_bytes", [4096, 0])
def test_scratch_without_room_for_a_while(
    n_bytes: int,
    lab: Any,
    tmp_path: Path,
    mount: Mount,
    assert_same_outcome: Check,
) -> None:
    """Filled up, by bytes or by files, after the first epoch and emptied after the third."""
    lab.scratch.rename(tmp_path / "first scratch")
    scratch = mount("scratch", "size=4m,nr_inodes=2000")
    child = lab.fork(first=slowly(0.02))
    child.until("epoch 1/6")
    taken: list[Path] = []
    end = time.monotonic() + 60
    while "no space left" not in child.text:  # a checkpoint that goes away while it is filled leaves room for the next
        assert time.monotonic() < end, child.text
        fill(scratch, n_bytes, taken)
    child.until("epoch 3/6")
    for path in taken:
        path.unlink()
    assert child.wait() == 0, child.text
    assert child.text.count("checkpoints are written to project storage only") >= 1
    assert "checkpoints in scratch storage can be written again after" in child.text
    assert_same_outcome()
    assert lab.checkpoints()[-1].name == lab.checkpoints("project")[-1].name


def fill(folder: Path, n_bytes: int, taken: list[Path]) -> None:
    """Add files of `n_bytes` to those `taken` until no more can be made."""
    while True:
        path = folder / f"taken-{len(taken)}"
        try:
            with path.open("wb") as file:
                taken.append(path)
                file.write(bytes(n_bytes))
        except OSError:
            return


def own_scratch_data(laboratory: Any) -> Path:
    """Gives scratch a copy of its own of the prepared dataset; the folder of its variant."""
    data = laboratory.scratch / "data"
    source = data.resolve()
    data.unlink()
    shutil.copytree(source, data)
    return next(path for path in (data / "NMNIST").iterdir() if not path.name.startswith("."))


def test_scratch_that_is_purged_meanwhile_is_staged_again_and_training_goes_on(
    lab: Any, assert_same_outcome: Check
) -> None:
    variant = own_scratch_data(lab)
    shards = {path.name: path.read_bytes() for path in variant.iterdir()}
    child = lab.fork(first=slowly(0.01))
    child.until("epoch 2/6")
    for shard in variant.glob("*.h5"):
        os.truncate(shard, 0)  # unlike the removal of a file that is open, this is felt at once
    shutil.rmtree(lab.scratch / "checkpoints", ignore_errors=True)  # the run is writing there
    assert child.wait() == 0, child.text
    assert "looking for another copy" in child.text
    assert "staged" in child.text
    assert_same_outcome()
    assert {path.name: path.read_bytes() for path in variant.iterdir()} == shards


def test_a_stop_while_the_data_are_staged_again_saves(lab: Any, assert_same_outcome: Check) -> None:
    variant = own_scratch_data(lab)

    def slow_copy() -> None:
        from difflogic_tonic.cache import publish

        copy = publish.copy_files

        def copy_slowly(source: Path, target: Path, checksums: Any, progress: Any) -> None:
            print("copying")
            time.sleep(1)
            copy(source, target, checksums, progress)

        publish.copy_files = copy_slowly
        slowly(0.01)()

    child = lab.fork(first=slow_copy)
    child.until("epoch 2/6")
    for shard in variant.glob("*.h5"):
        os.truncate(shard, 0)
    child.until("copying")
    os.kill(child.pid, signal.SIGTERM)
    assert child.wait() == 75, child.text
    child = lab.fork("--resume")
    assert child.wait() == 0, child.text
    assert_same_outcome()
