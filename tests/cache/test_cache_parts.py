"""Parts of a preparation side by side, some of which die."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from difflogic_tonic.cache import build, preparation, prepare_source, verify
from difflogic_tonic.errors import StorageError
from difflogic_tonic.storage import Storage

Make = Callable[..., Any]
REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the shards that were read back."""
    names: list[str] = []
    check = build._check_shard

    def note(path: Path, *rest: Any) -> Any:
        names.append(path.name)
        return check(path, *rest)

    monkeypatch.setattr(build, "_check_shard", note)
    return names


def partial_folder(storage: Storage) -> Path:
    (folder,) = storage.project.data_dir("NMNIST").glob("*.partial")
    return folder


def test_a_part_opens_no_shard_of_another(source: Any, storage: Storage, make_config: Make, opened: list[str]) -> None:
    prepare_source(make_config(), storage, source, shard=(2, 3))
    others = set(opened)
    opened.clear()
    prepare_source(make_config(), storage, source, shard=(1, 3))
    assert len(others) > 1
    assert opened
    assert not others & set(opened)


def test_the_last_part_opens_every_shard(source: Any, storage: Storage, make_config: Make, opened: list[str]) -> None:
    for number in (1, 2, 3):
        opened.clear()
        prepared = prepare_source(make_config(), storage, source, shard=(number, 3))
    assert {shard.name for shard in prepared.manifest.shards} == set(opened)


def test_a_part_that_starts_shows_in_the_time_of_the_folder(source: Any, storage: Storage, make_config: Make) -> None:
    for _ in range(2):  # the second finds its shards and writes nothing
        prepare_source(make_config(), storage, source, shard=(1, 2))
        partial = partial_folder(storage)
        assert partial.stat().st_mtime > 1000
        os.utime(partial, (1000, 1000))


def test_what_a_part_left_that_died_on_another_host_is_not_published(
    source: Any, storage: Storage, make_config: Make
) -> None:
    prepare_source(make_config(), storage, source, shard=(1, 2))
    (partial_folder(storage) / "train-00001.h5.tmp-node7.4026531836-123-0").write_bytes(b"half a shard")
    prepared = prepare_source(make_config(), storage, source, shard=(2, 2))
    assert [verify(path) for path in prepared.paths] == [[], []]


def test_the_last_part_builds_again_what_is_damaged(
    source: Any, storage: Storage, make_config: Make, contents: Make
) -> None:
    whole = prepare_source(make_config(), storage, source)
    wanted = contents(whole.path)
    for path in whole.paths:
        shutil.rmtree(path)
    prepare_source(make_config(), storage, source, shard=(1, 2))
    shard = partial_folder(storage) / "train-00000.h5"
    shard.write_bytes(shard.read_bytes()[:-1])
    prepared = prepare_source(make_config(), storage, source, shard=(2, 2))
    assert [contents(path) for path in prepared.paths] == [wanted, wanted]


@pytest.mark.parametrize("reset", [False, True])
def test_of_two_parts_that_find_everything_built_one_publishes_and_the_other_reads_nothing(
    source: Any, storage: Storage, make_config: Make, monkeypatch: pytest.MonkeyPatch, reset: bool
) -> None:
    config = make_config(reset_cache=reset)
    if reset:
        prepare_source(make_config(), storage, source)
    build_part = preparation._build_part

    def overtaken(*arguments: Any) -> bool:
        complete = build_part(*arguments)
        if complete:
            monkeypatch.setattr(preparation, "_build_part", build_part)
            prepare_source(config, storage, source, shard=(2, 2))  # publishes first
            source.read_paths.clear()
        return complete

    monkeypatch.setattr(preparation, "_build_part", overtaken)
    prepare_source(config, storage, source, shard=(1, 2))
    prepared = prepare_source(config, storage, source, shard=(2, 2))
    assert prepared.manifest
    assert source.read_paths == []
    assert verify(prepared.path) == []


def test_a_part_that_fails_leaves_what_it_finished(source: Any, storage: Storage, make_config: Make) -> None:
    reads = len(source.recordings)
    read = source.read

    def fail_late(recording: Any) -> bytes:
        if len(source.read_paths) > build.SAMPLED_RECORDINGS + 4:
            raise StorageError("a disk that fails now and then")
        return read(recording)

    source.read = fail_late
    with pytest.raises(StorageError):
        prepare_source(make_config(workers=1), storage, source, shard=(1, 1))
    assert [entry.name for entry in partial_folder(storage).iterdir()] == ["train-00000.h5"]
    source.read = read
    source.read_paths.clear()
    assert prepare_source(make_config(workers=1), storage, source, shard=(1, 1)).manifest
    framed = source.read_paths[build.SAMPLED_RECORDINGS : build.SAMPLED_RECORDINGS + reads - 4]
    assert len(set(framed)) == reads - 4


@pytest.mark.integration
def test_parts_that_are_killed_and_run_again_end_with_the_bytes_of_a_whole_run() -> None:
    command = [sys.executable, REPOSITORY / "benchmarks" / "scale_parts.py", "--parts", "20", "--recordings", "40"]
    done = subprocess.run([*command, "--kill", "0.4"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "killed" in done.stdout
