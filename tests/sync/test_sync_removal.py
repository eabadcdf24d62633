"""`--remove` and `gc`: what goes, and what never does."""

import hashlib
import json
import os
import shutil
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import pytest

from difflogic_tonic.cache.publish import lock_path
from difflogic_tonic.errors import CacheAmbiguous, CacheError, CacheMissing, StorageError
from difflogic_tonic.runs.lease import lease
from difflogic_tonic.storage import Storage, file_lock
from difflogic_tonic.sync.command import run
from difflogic_tonic.sync.garbage import find_garbage, remove_garbage

Command = Callable[..., Namespace]
Make = Callable[..., None]
Lines = pytest.CaptureFixture[str]


def checkpoint(step: int, content: bytes) -> str:
    """The name of a good checkpoint file."""
    return f"step-{step:09d}-000000.{hashlib.sha256(content).hexdigest()}.pt"


def files_of(storage: Storage) -> list[str]:
    """What lies in checkpoints, models and runs of both places, without lock files."""
    roots = [storage.scratch.root, storage.project.root]
    found = [path for root in roots for part in ("checkpoints", "models", "runs") for path in (root / part).rglob("*")]
    parents = [root.parent for root in roots]
    return sorted(str(path.relative_to(parents[0])) for path in found if path.is_file() and path.suffix != ".lock")


def make_old(folder: Path, days: float) -> None:
    past = time.time() - days * 86400
    for path in (*folder.rglob("*"), folder):
        os.utime(path, (past, past))


def test_the_only_complete_copy_is_refused_and_stays(storage: Storage, one_variant: Path, command: Command) -> None:
    with pytest.raises(CacheError, match=r"the only complete copy of FOLDER .* add --yes"):
        run(command("--remove", one_variant.name[:3]), storage)
    assert (one_variant / "manifest.json").exists()


def test_yes_removes_the_only_copy(storage: Storage, one_variant: Path, command: Command) -> None:
    assert run(command("--remove", one_variant.name, "--yes"), storage) == 0
    assert [path.name for path in one_variant.parent.iterdir()] == [f".{one_variant.name}.lock"]


def test_one_of_two_copies_goes_without_a_question(storage: Storage, one_variant: Path, command: Command) -> None:
    run(command(), storage)
    assert run(command("--remove", f"FOLDER/{one_variant.name[:5]}", "--place", "scratch"), storage) == 0
    assert not one_variant.exists()
    assert (storage.project.data_dir("FOLDER") / one_variant.name / "manifest.json").exists()


def test_both_copies_at_once_are_refused(storage: Storage, one_variant: Path, command: Command) -> None:
    run(command(), storage)
    with pytest.raises(CacheError, match="both copies"):
        run(command("--remove", one_variant.name), storage)


def test_a_copy_stays_if_the_other_one_turns_out_to_be_damaged(
    storage: Storage, one_variant: Path, command: Command
) -> None:
    run(command(), storage)
    shard = storage.project.data_dir("FOLDER") / one_variant.name / "test-00000.h5"
    shard.write_bytes(bytes(shard.stat().st_size))
    with pytest.raises(CacheError, match="is the only good copy"):
        run(command("--remove", one_variant.name, "--place", "scratch"), storage)
    assert one_variant.exists()


def test_a_dry_run_removes_nothing(storage: Storage, one_variant: Path, command: Command, capsys: Lines) -> None:
    assert run(command("--remove", one_variant.name, "--yes", "--dry-run"), storage) == 0
    assert f"would remove {one_variant}" in capsys.readouterr().out
    assert one_variant.exists()


def test_what_fits_no_variant_or_several_is_an_error_that_lists_them(storage: Storage, command: Command) -> None:
    names = [path.name for path in storage.scratch.data_dir("FOLDER").iterdir() if path.is_dir()]
    with pytest.raises(CacheMissing, match=f"there are: .*FOLDER/{names[0][:12]}"):
        run(command("--remove", "zz"), storage)
    twin = storage.scratch.data_dir("OTHER") / names[0]
    shutil.copytree(storage.scratch.data_dir("FOLDER") / names[0], twin)
    with pytest.raises(CacheAmbiguous, match="2 variants"):
        run(command("--remove", names[0]), storage)
    with pytest.raises(CacheMissing):
        run(command("--remove", "FOLDER/"), storage)


def test_a_variant_that_another_process_makes_is_not_removed(
    storage: Storage, one_variant: Path, command: Command
) -> None:
    partial = one_variant.with_name(f"{one_variant.name}.partial")
    one_variant.rename(partial)
    make_old(partial, 0.1)
    with file_lock(lock_path(one_variant)), pytest.raises(StorageError, match="is being made by another process"):
        run(command("--remove", one_variant.name), storage)
    assert run(command("--remove", one_variant.name), storage) == 0
    assert not partial.exists()


def test_what_parts_may_be_building_anew_is_not_removed_for_an_hour(
    storage: Storage, one_variant: Path, command: Command, capsys: Lines
) -> None:
    run(command(), storage)  # so that a good copy stays
    partial = one_variant.with_name(f"{one_variant.name}.partial")
    partial.mkdir()
    (partial / "train-00000.h5").write_bytes(b"of a part, which holds no lock")
    run(command("gc", "--yes"), storage)
    assert "was written to in the last hour, perhaps by a part, and is kept" in capsys.readouterr().out
    with pytest.raises(StorageError, match=r"perhaps by a part; wait, or add --yes"):
        run(command("--remove", one_variant.name, "--place", "scratch"), storage)
    assert (partial.exists(), one_variant.exists()) == (True, True)
    make_old(partial, 0.1)
    assert run(command("--remove", one_variant.name, "--place", "scratch"), storage) == 0
    assert (partial.exists(), one_variant.exists()) == (False, False)


def test_what_a_part_wrote_to_after_it_was_listed_is_kept(storage: Storage, one_variant: Path) -> None:
    partial = one_variant.with_name(f"{one_variant.name}.partial")
    partial.mkdir()
    make_old(partial, 0.1)
    (garbage,) = find_garbage(storage, days=7)
    (partial / "train-00000.h5").write_bytes(b"shard")
    assert not remove_garbage(storage, garbage)
    assert partial.exists()


def test_of_a_finished_run_the_newest_good_checkpoint_stays(storage: Storage, command: Command, make_job: Make) -> None:
    """The newest file of all, step 9, is damaged; step 7 lies in both places, and stays in project storage."""
    damaged = checkpoint(9, b"what was written")
    make_job(
        "done",
        "finished",
        {
            f"scratch/checkpoints/{damaged}": b"something else",
            f"scratch/checkpoints/{checkpoint(7, b'seven')}": b"seven",
            f"project/checkpoints/{checkpoint(7, b'seven')}": b"seven",
            f"project/checkpoints/{checkpoint(5, b'five')}": b"five",
            "project/models/best.pt": b"model",
        },
        summary=True,
    )
    assert run(command("gc", "--yes"), storage) == 0
    assert files_of(storage) == [
        f"project/checkpoints/done/{checkpoint(7, b'seven')}",
        "project/models/done/best.pt",
        "project/runs/done/status.json",
        "project/runs/done/summary.json",
    ]
    assert find_garbage(storage, days=7) == []


def test_of_a_finished_run_whose_checkpoints_are_all_damaged_none_goes(storage: Storage, make_job: Make) -> None:
    names = [f"scratch/checkpoints/{checkpoint(step, b'one thing')}" for step in (1, 2)]
    make_job("done", "finished", dict.fromkeys(names, b"another") | {"project/models/best.pt": b"model"})
    assert find_garbage(storage, days=0) == []


@pytest.mark.parametrize("state", ["running", "stopped", "anything"])
def test_a_run_that_neither_finished_nor_failed_keeps_everything(storage: Storage, make_job: Make, state: str) -> None:
    make_job("job", state, {f"scratch/checkpoints/{checkpoint(step, b'x')}": b"x" for step in (1, 2)})
    make_old(storage.project.root, 100)
    make_old(storage.scratch.root, 100)
    assert find_garbage(storage, days=0) == []


def test_a_failed_run_goes_at_once_only_if_nothing_can_be_gone_on_from(
    storage: Storage, command: Command, make_job: Make
) -> None:
    make_job("early", "failed", {})
    make_job("late", "failed", {f"scratch/checkpoints/{checkpoint(1, b'x')}": b"x"})
    make_job("again", "failed", {}, summary=True)
    run(command("gc", "--yes"), storage)
    assert files_of(storage) == [
        "project/runs/again/status.json",
        "project/runs/again/summary.json",
        "project/runs/late/status.json",
        f"scratch/checkpoints/late/{checkpoint(1, b'x')}",
    ]
    for place in storage.places:
        make_old(place.root, 3)
    assert find_garbage(storage, days=4) == []
    run(command("gc", "--yes", "--days", "2"), storage)
    assert files_of(storage) == ["project/runs/again/status.json", "project/runs/again/summary.json"]


def test_a_job_that_is_running_again_is_kept(storage: Storage, command: Command, make_job: Make, capsys: Lines) -> None:
    make_job("job", "failed", {})
    with lease(storage, "job"):
        assert run(command("gc", "--yes"), storage) == 0
    assert "kept: job job is running in another process" in capsys.readouterr().out
    assert files_of(storage) == ["project/runs/job/status.json"]


def test_leftovers_of_dead_writers_go_and_those_of_the_living_stay(
    storage: Storage, one_variant: Path, command: Command
) -> None:
    from difflogic_tonic.storage import partial_path

    mine = partial_path(one_variant)
    dead = one_variant.with_name(mine.name.replace(f"-{os.getpid()}-", f"-{2**22 + 1}-"))
    for folder in (mine, dead):
        folder.mkdir()
        (folder / "train-00000.h5").write_bytes(b"half")
    assert run(command("gc", "--yes"), storage) == 0
    assert mine.exists()
    assert not dead.exists()
    assert one_variant.exists()


def test_half_a_preparation_goes_when_it_is_old_or_the_variant_is_there(
    storage: Storage, one_variant: Path, command: Command
) -> None:
    beside = one_variant.with_name(f"{one_variant.name}.partial")
    other = one_variant.with_name(f"{'0' * 64}.partial")
    for folder in (beside, other):
        folder.mkdir()
        (folder / "train-00000.h5").write_bytes(b"half")
    make_old(beside, 0.1)
    with file_lock(lock_path(one_variant)):
        run(command("gc", "--yes"), storage)
    assert beside.exists()
    run(command("gc", "--yes"), storage)
    assert (beside.exists(), other.exists()) == (False, True)
    make_old(other, 8)
    run(command("gc", "--yes"), storage)
    assert not other.exists()
    assert one_variant.exists()


def test_gc_asks_and_without_anybody_to_ask_removes_nothing(
    storage: Storage, command: Command, make_job: Make, capsys: Lines
) -> None:
    make_job("job", "failed", {})
    assert run(command("gc"), storage) == 0
    shown = capsys.readouterr().out
    assert "run job failed and left nothing to go on from" in shown
    assert "nobody to ask here; add --yes" in shown
    assert files_of(storage) == ["project/runs/job/status.json"]


def test_gc_as_json_lists_sizes_and_removes_only_with_yes(
    storage: Storage, command: Command, make_job: Make, capsys: Lines
) -> None:
    make_job("job", "failed", {})
    run(command("gc", "--json"), storage)
    (item,) = json.loads(capsys.readouterr().out)["garbage"]
    folder = storage.project.run_dir("job")
    size = (folder / "status.json").stat().st_size
    assert item == {
        "kind": "failed run",
        "paths": [str(folder)],
        "why": "run job failed and left nothing to go on from",
        "n_bytes": size,
        "n_files": 1,
        "job_id": "job",
        "removed": False,
    }
    run(command("gc", "--json", "--yes"), storage)
    assert json.loads(capsys.readouterr().out)["garbage"][0]["removed"] is True
    assert not folder.exists()


def test_options_before_and_after_gc_mean_the_same(command: Command) -> None:
    assert command("--yes", "gc").yes
    assert command("gc", "--yes").yes
    assert not command("gc").yes
