"""Preparing, killed at random moments and run again: the same bytes as a run that was left alone."""

import contextlib
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import prepare_data
import pytest

from difflogic_tonic.config import SensorSize
from difflogic_tonic.errors import INTERRUPTED, STOPPED, run_command
from difflogic_tonic.events import FrameRecipe, encode_atis, frame_recording, make_events

RECORDINGS = 600
KEYS = "data.allow_subset=true data.shard_recordings=20 data.workers=2"

Caches = dict[str, dict[str, bytes]]

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings of about 4,000 events as N-MNIST lays them out."""
    import h5py  # noqa: F401 — loaded here, with the kernels below, so that no child spends its time on them

    frame_recording(encode_atis(make_events([1], [1], [1], [1])), FrameRecipe(SensorSize(34, 34, 2), 5), "warm up")
    folder = tmp_path_factory.mktemp("raw")
    write_recordings(folder, range(RECORDINGS))
    return folder


def write_recordings(folder: Path, numbers: range) -> None:
    for number in numbers:
        rng = np.random.default_rng(number)
        n = int(rng.integers(3000, 5000))
        x, y, p = rng.integers(0, 34, n), rng.integers(0, 34, n), rng.integers(0, 2, n)
        path = folder / ("Test" if number % 6 == 0 else "Train") / str(number % 5) / f"{number:05d}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_atis(make_events(x, y, np.sort(rng.integers(0, 300_000, n)), p)))


def prepare_in_child(raw: Path, places: Path, *overrides: str) -> BaseProcess:
    """`prepare_data.py` in a fork of this process, so that random moments are moments of work and not of imports."""

    def run() -> None:
        os.environ |= {"SCRATCH_STORAGE_DIR": str(places / "scratch"), "PROJECT_STORAGE_DIR": str(places / "project")}
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            argv = ["configs/prepare_nmnist.yaml", "--quiet", "--override", KEYS, f"data.data_root={raw}", *overrides]
            os._exit(run_command(prepare_data.main, argv))

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    return process


def finish(process: BaseProcess) -> None:
    process.join(120)
    assert process.exitcode == 0


def variants(places: Path) -> Caches:
    """Path below a place → name → bytes, of everything under data/ but the locks; equal dicts are equal caches."""
    return {
        f"{place}/{folder.name}": {entry.name: entry.read_bytes() for entry in sorted(folder.iterdir())}
        for place in ("scratch", "project")
        for folder in sorted((places / place / "data" / "NMNIST").glob("[!.]*"))
    }


@pytest.fixture(scope="module")
def undisturbed(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Caches:
    """The caches of a run that was left alone."""
    places = tmp_path_factory.mktemp("undisturbed")
    finish(prepare_in_child(raw, places))
    found = variants(places)
    assert len(found) == 2
    assert len(next(iter(found.values()))) > 20
    return found


@pytest.mark.parametrize("runs", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_and_run_again_it_ends_with_the_same_bytes(
    runs: int, raw: Path, undisturbed: Caches, tmp_path: Path
) -> None:
    shards = 2 * (len(next(iter(undisturbed.values()))) - 1)  # in both places
    moments = random.Random(runs)
    kills = unfinished = 0
    for run in range(runs):
        places = tmp_path / str(run)
        for _ in range(moments.randint(1, 3)):
            process = prepare_in_child(raw, places)
            written = moments.randint(0, shards)
            wait_until(lambda: n_shards(places) >= written, process)  # noqa: B023
            time.sleep(moments.uniform(0, 0.03))
            if process.is_alive():
                process.kill()
                process.join()
                kills += 1
                unfinished += variants(places) != undisturbed
        finish(prepare_in_child(raw, places))
        assert variants(places) == undisturbed, f"run {run}"
        shutil.rmtree(places)
    print(f"{runs} runs, {kills} kills, {unfinished} of them in the middle of the work")
    assert unfinished >= runs // 2


def test_what_was_finished_before_the_kill_is_not_built_again(raw: Path, undisturbed: Caches, tmp_path: Path) -> None:
    process = prepare_in_child(raw, tmp_path)
    wait_until(lambda: n_shards(tmp_path, ".partial") >= 4, process)
    process.kill()
    process.join()
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.rglob("*.partial/*.h5")}
    finish(prepare_in_child(raw, tmp_path))
    assert variants(tmp_path) == undisturbed
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "scratch").rglob("*.h5")}
    assert before.items() <= after.items()


def n_shards(places: Path, folder: str = "") -> int:
    """Shards in folders whose names end so. `os.walk` does not mind folders that are renamed meanwhile."""
    return sum(name.endswith(".h5") for at, _, names in os.walk(places) for name in names if at.endswith(folder))


def wait_until(reached: Callable[[], bool], process: BaseProcess) -> None:
    while not reached() and process.is_alive():
        time.sleep(0.002)


@pytest.mark.parametrize("at_once", [2, 4])
def test_several_at_once_end_in_one_variant(at_once: int, raw: Path, undisturbed: Caches, tmp_path: Path) -> None:
    for process in [prepare_in_child(raw, tmp_path) for _ in range(at_once)]:
        finish(process)
    assert variants(tmp_path) == undisturbed


def test_one_that_is_killed_lets_the_waiting_one_go_on(raw: Path, undisturbed: Caches, tmp_path: Path) -> None:
    first = prepare_in_child(raw, tmp_path)
    wait_until(lambda: n_shards(tmp_path, ".partial") > 0, first)
    second = prepare_in_child(raw, tmp_path)
    time.sleep(0.1)
    first.kill()
    first.join()
    finish(second)
    assert variants(tmp_path) == undisturbed


@pytest.mark.parametrize(("number", "code"), [("SIGTERM", STOPPED), ("SIGUSR1", STOPPED), ("SIGINT", INTERRUPTED)])
def test_a_stop_signal_ends_it_with_its_code_and_leaves_no_leftover(
    number: str, code: int, raw: Path, undisturbed: Caches, tmp_path: Path
) -> None:
    process = prepare_in_child(raw, tmp_path)
    wait_until(lambda: n_shards(tmp_path, ".partial") > 0, process)
    assert process.pid is not None
    os.kill(process.pid, getattr(signal, number))
    process.join(60)
    assert process.exitcode == code
    assert not list(tmp_path.rglob("*.tmp-*"))
    finish(prepare_in_child(raw, tmp_path))
    assert variants(tmp_path) == undisturbed


def test_the_order_in_which_files_were_made_changes_no_byte(undisturbed: Caches, tmp_path: Path) -> None:
    write_recordings(tmp_path / "raw", range(RECORDINGS - 1, -1, -1))
    finish(prepare_in_child(tmp_path / "raw", tmp_path))
    assert variants(tmp_path) == undisturbed


@pytest.mark.parametrize("kind", ["zip", "gztar"])
def test_a_folder_and_its_archive_are_one_variant(kind: str, raw: Path, undisturbed: Caches, tmp_path: Path) -> None:
    archive = shutil.make_archive(str(tmp_path / "recordings"), kind, raw)
    finish(prepare_in_child(Path(archive), tmp_path))
    assert variants(tmp_path) == undisturbed


@pytest.fixture
def command(raw: Path, tmp_path: Path, repository: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`prepare_data.py` as a user runs it."""
    environment = os.environ | {
        "SCRATCH_STORAGE_DIR": str(tmp_path / "scratch"),
        "PROJECT_STORAGE_DIR": str(tmp_path / "project"),
    }

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        whole = [sys.executable, str(repository / "prepare_data.py"), "configs/prepare_nmnist.yaml", *arguments]
        whole += ["--override", KEYS, f"data.data_root={raw}"]
        return subprocess.run(whole, env=environment, cwd=repository, capture_output=True, text=True)

    return run


def test_the_second_time_it_finds_what_is_there_and_touches_nothing(
    command: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    first = command()
    assert first.returncode == 0, first.stderr
    assert "next: ./train.sh" in first.stdout

    def variant_files() -> dict[Path, tuple[int, int]]:
        found = (path for place in ("scratch", "project") for path in (tmp_path / place / "data").rglob("*"))
        return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in found if path.is_file()}

    before = variant_files()
    assert len(before) >= 4  # a manifest and a shard in each place
    started = time.monotonic()
    second = command()
    print(f"second preparation: {time.monotonic() - started:.2f} s")  # on an idle machine 0.5
    assert "already prepared" in second.stdout
    assert variant_files() == before


def test_nothing_heavy_is_imported_when_there_is_nothing_to_do(
    command: Callable[..., subprocess.CompletedProcess[str]], raw: Path, tmp_path: Path, repository: Path
) -> None:
    assert command("--quiet").returncode == 0
    code = (
        "import sys, prepare_data\n"
        f"prepare_data.main(['configs/prepare_nmnist.yaml', '--override', {KEYS!r}, 'data.data_root={raw}'])\n"
        "sys.exit(' '.join({'torch', 'numba', 'h5py', 'tonic'} & set(sys.modules)))"
    )
    environment = os.environ | {
        "SCRATCH_STORAGE_DIR": str(tmp_path / "scratch"),
        "PROJECT_STORAGE_DIR": str(tmp_path / "project"),
    }
    done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=repository, capture_output=True, text=True)
    assert "already prepared" in done.stdout
    assert done.stderr.strip() == ""


def test_verify_reads_everything_and_names_the_damage(
    command: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = command("--quiet", "--verify")
    assert done.returncode == 0, done.stderr
    assert f"2 copies and {RECORDINGS} recordings" in done.stdout
    shard = next((tmp_path / "project").rglob("val-00000.h5"))
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    done = command("--quiet", "--verify")
    assert done.returncode == 4
    assert str(shard) in done.stderr
    assert len(done.stderr.splitlines()) == 1
