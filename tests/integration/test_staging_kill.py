"""Staging from project storage, killed at random times and in random file operations: all of it or nothing."""

import contextlib
import multiprocessing
import os
import random
import shutil
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from difflogic_tonic import cache
from difflogic_tonic.config import StoragePaths
from difflogic_tonic.storage import open_storage
from killing import Watched

pytestmark = pytest.mark.integration


def in_child(work: Callable[[], object]) -> BaseProcess:
    def run() -> None:
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            work()

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    return process


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("kills", [6, pytest.param(50, marks=pytest.mark.slow)])
def test_killed_staging_leaves_all_of_a_variant_or_nothing(kills: int, small_storage: Path, tmp_path: Path) -> None:
    shutil.copytree(small_storage / "data", tmp_path / "project" / "data")
    source = next(path for path in (tmp_path / "project" / "data" / "NMNIST").iterdir() if path.name[0] != ".")
    final = tmp_path / "scratch" / "data" / "NMNIST" / source.name
    wanted = files(source)
    storage = open_storage(StoragePaths(tmp_path / "scratch", tmp_path / "project"))

    def stage(watched: Watched, at: int = 0, how: str = "before") -> BaseProcess:
        def work() -> None:
            watched.count(at, how)
            cache.find_variant(storage, "NMNIST", parameters_hash=None, prefix=None, prepare_command="make it")

        return in_child(work)

    watched, started = Watched(), time.monotonic()
    stage(watched).join(60)
    duration, operations = time.monotonic() - started, watched.operations
    assert operations > 5
    rng = random.Random(kills)
    done = unfinished = 0
    while done < kills:
        shutil.rmtree(final, ignore_errors=True)
        for _ in range(rng.randint(1, 3)):
            if at := rng.choice([0, rng.randint(1, operations)]):
                process = stage(Watched(), at, rng.choice(["before", "after", "half"]))
            else:
                process = stage(Watched())
                time.sleep(rng.uniform(0, duration))
                process.kill()
            process.join(60)
            if process.exitcode == -9:
                done += 1
                unfinished += not final.exists()
                assert not final.exists() or files(final) == wanted
        process = stage(Watched())
        process.join(60)
        assert process.exitcode == 0
        assert files(final) == wanted
        assert [path.name for path in final.parent.iterdir() if not path.name.endswith(".lock")] == [final.name]
    print(f"{done} kills of staging, {unfinished} before it was done; {operations} file operations, {duration:.2f} s")
    assert unfinished >= kills // 3
