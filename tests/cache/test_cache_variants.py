"""How training finds its variant, and the damage that is noticed on the way."""

import logging
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from damage import flip, payload_byte
from difflogic_tonic.cache import (
    Prepared,
    Variant,
    find_variant,
    load_manifest,
    parameters_hash,
    parameters_of,
    prepare_source,
    verify,
)
from difflogic_tonic.errors import CacheCorrupt, CacheMissing, StorageFull
from difflogic_tonic.storage import Storage

Make = Callable[..., Any]


def find(storage: Storage, hash_: str | None = None, prefix: str | None = None) -> Variant:
    return find_variant(
        storage, "NMNIST", parameters_hash=hash_, prefix=prefix, prepare_command="./prepare_data.sh configs/x.yaml"
    )


def test_scratch_is_read_if_it_has_the_variant(prepared: Prepared, storage: Storage) -> None:
    shutil.rmtree(prepared.paths[1])
    assert find(storage) == Variant(prepared.paths[0], "scratch", prepared.fingerprint)


def test_it_is_found_by_its_parameters_without_the_recordings(
    prepared: Prepared, source: Any, storage: Storage, make_config: Make
) -> None:
    other = prepare_source(make_config(overlap=0), storage, source)
    for each, config in ((prepared, make_config()), (other, make_config(overlap=0))):
        assert find(storage, parameters_hash(parameters_of(config))).fingerprint == each.fingerprint
        assert find(storage, prefix=each.fingerprint[:10]).fingerprint == each.fingerprint


def test_several_that_fit_are_listed(prepared: Prepared, source: Any, storage: Storage, make_config: Make) -> None:
    other = prepare_source(make_config(overlap=0), storage, source)
    with pytest.raises(CacheMissing, match=r"data\.variant=PREFIX") as caught:
        find(storage)
    for each in (prepared, other):
        assert each.fingerprint[:12] in str(caught.value)
    assert "a test subset" in str(caught.value)


def test_none_names_both_places_and_the_command(storage: Storage) -> None:
    with pytest.raises(CacheMissing) as caught:
        find(storage)
    for part in (*(str(place.data_dir("NMNIST")) for place in storage.places), "./prepare_data.sh configs/x.yaml"):
        assert part in str(caught.value)


def test_others_are_offered_when_none_fits(prepared: Prepared, storage: Storage) -> None:
    for kind in ({"prefix": "0000"}, {"hash_": "0" * 64}):
        with pytest.raises(CacheMissing, match=prepared.fingerprint[:12]):
            find(storage, **kind)


def test_an_empty_scratch_is_filled_from_project(
    prepared: Prepared, storage: Storage, contents: Make, caplog: pytest.LogCaptureFixture
) -> None:
    wanted = contents(prepared.path)
    shutil.rmtree(storage.scratch.root)
    with caplog.at_level(logging.INFO):
        assert find(storage) == Variant(prepared.path, "scratch", prepared.fingerprint)
    assert contents(prepared.path) == wanted
    assert str(prepared.paths[1]) in caplog.text


def test_ten_at_once_copy_once(prepared: Prepared, storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(storage.scratch.root)
    copied: list[Path] = []
    original = shutil.copyfile
    monkeypatch.setattr(shutil, "copyfile", lambda a, b: (copied.append(Path(a)), original(a, b))[1])
    found: list[Variant] = []
    threads = [threading.Thread(target=lambda: found.append(find(storage))) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {variant.path for variant in found} == {prepared.path}
    assert len(found) == 10
    assert len(copied) == len(load_manifest(prepared.path).shards)
    assert verify(prepared.path) == []


def test_a_scratch_that_cannot_take_it_is_passed_by_with_a_warning(
    prepared: Prepared, storage: Storage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.rmtree(storage.scratch.root)

    def full(*arguments: object, **options: object) -> None:
        raise StorageFull("no space left in scratch")

    monkeypatch.setattr("difflogic_tonic.cache.publish.check_space", full)
    assert find(storage) == Variant(prepared.paths[1], "project", prepared.fingerprint)
    assert "no space left in scratch" in caplog.text


@pytest.mark.parametrize("damage", ["truncated", "missing", "no manifest", "half a manifest"])
def test_a_scratch_copy_that_lost_something_is_staged_again(
    damage: str, prepared: Prepared, storage: Storage, contents: Make
) -> None:
    wanted = contents(prepared.path)
    shard, manifest = prepared.path / "test-00000.h5", prepared.path / "manifest.json"
    if damage == "truncated":
        shard.write_bytes(shard.read_bytes()[:-1])
    elif damage == "missing":
        shard.unlink()
    elif damage == "no manifest":
        manifest.unlink()
    else:
        manifest.write_text(manifest.read_text()[:100])
    assert find(storage).place_name == "scratch"
    assert contents(prepared.path) == wanted


def test_a_flipped_bit_in_project_is_found_when_staging(prepared: Prepared, storage: Storage) -> None:
    damaged = prepared.paths[1] / "train-00000.h5"
    flip(damaged, payload_byte(prepared.paths[1]))
    shutil.rmtree(storage.scratch.root)
    with pytest.raises(CacheCorrupt, match=r"reset_cache=true") as caught:
        find(storage)
    assert str(damaged) in str(caught.value)
    assert not prepared.path.exists()
    assert not [entry for entry in prepared.path.parent.iterdir() if "tmp" in entry.name]


def test_a_flipped_bit_in_scratch_is_replaced_from_project(
    prepared: Prepared, storage: Storage, contents: Make, caplog: pytest.LogCaptureFixture
) -> None:
    wanted = contents(prepared.path)
    flip(prepared.path / "train-00000.h5", payload_byte(prepared.path))
    assert find(storage) == Variant(prepared.path, "scratch", prepared.fingerprint)
    assert contents(prepared.path) == wanted
    assert f"{prepared.path / 'train-00000.h5'} is damaged" in caplog.text


@pytest.mark.parametrize("copies", ["scratch alone", "both", "project, read in place"])
def test_a_flipped_bit_without_a_good_copy_stops_training(
    copies: str, prepared: Prepared, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch, project = prepared.paths
    at = payload_byte(scratch)
    for path in {"scratch alone": [scratch], "both": [scratch, project]}.get(copies, [project]):
        flip(path / "train-00000.h5", at)
    if copies == "scratch alone":
        shutil.rmtree(project)
    if copies == "project, read in place":
        shutil.rmtree(scratch)

        def full(*arguments: object, **options: object) -> None:
            raise StorageFull("no space left in scratch")

        monkeypatch.setattr("difflogic_tonic.cache.publish.check_space", full)
    damaged = (scratch if copies == "scratch alone" else project) / "train-00000.h5"
    with pytest.raises(CacheCorrupt, match=r"\./prepare_data\.sh .*reset_cache=true") as caught:
        find(storage)
    assert str(damaged) in str(caught.value)


def test_a_damaged_scratch_without_room_for_another_copy_is_passed_by(
    prepared: Prepared, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    flip(prepared.path / "train-00000.h5", payload_byte(prepared.path))

    def full(*arguments: object, **options: object) -> None:
        raise StorageFull("no space left in scratch")

    monkeypatch.setattr("difflogic_tonic.cache.publish.check_space", full)
    assert find(storage) == Variant(prepared.paths[1], "project", prepared.fingerprint)


def test_a_copy_that_lost_something_is_reported_once(
    prepared: Prepared, storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    lost, short = (path / "test-00000.h5" for path in prepared.paths)
    lost.unlink()
    size = short.stat().st_size
    short.write_bytes(short.read_bytes()[:-1])
    for _ in range(2):
        with pytest.raises(CacheMissing):
            find(storage)
    assert [record.getMessage() for record in caplog.records] == [
        f"{lost} is missing; this copy is not used",
        f"{short} has {size - 1:,} bytes, expected {size:,}; this copy is not used",
    ]


UNREADABLE = """
import logging, pathlib, sys
from difflogic_tonic.cache import find_variant
from difflogic_tonic.config import StoragePaths
from difflogic_tonic.errors import StorageError
from difflogic_tonic.storage import open_storage

logging.basicConfig(format="%(message)s", stream=sys.stdout)
storage = open_storage(StoragePaths(*map(pathlib.Path, sys.argv[1:3])))
closed = [pathlib.Path(path) for path in sys.argv[3:]]
for path in closed:
    path.chmod(0)
try:
    print("found", find_variant(storage, "NMNIST", parameters_hash=None, prefix=None, prepare_command="").place_name)
except StorageError as error:
    print("StorageError", error)
finally:
    for path in closed:
        path.chmod(0o700)
"""


@pytest.mark.parametrize("closed", [".", "{}", "{}/manifest.json", "{}/test-00000.h5"])
@pytest.mark.parametrize("both", [False, True])
def test_what_may_not_be_read_is_passed_by_with_a_warning_or_is_one_line(
    closed: str, both: bool, prepared: Prepared, storage: Storage, importing_environment: dict[str, str]
) -> None:
    places = storage.places if both else storage.places[:1]
    paths = [place.data_dir("NMNIST") / closed.format(prepared.fingerprint) for place in places]
    # permissions do not bind root as long as it has its capabilities
    unprivileged = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"] if os.geteuid() == 0 else []
    if unprivileged and not shutil.which("setpriv"):
        pytest.skip("permissions do not bind root")
    roots = [storage.scratch.root, storage.project.root]
    command = [*unprivileged, sys.executable, "-c", UNREADABLE, *map(str, [*roots, *paths])]
    done = subprocess.run(command, env=importing_environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *warnings, result = done.stdout.splitlines()
    assert warnings[0].startswith(str(paths[0]))
    assert "may not be accessed by this user" in warnings[0]
    assert result.startswith("StorageError" if both else "found"), done.stdout


def test_a_killed_staging_leaves_nothing_that_is_taken_for_a_variant(
    prepared: Prepared, storage: Storage, contents: Make, importing_environment: dict[str, str]
) -> None:
    wanted = contents(prepared.path)
    shutil.rmtree(storage.scratch.root)
    code = (
        "import os, shutil, sys, pathlib\n"
        "from difflogic_tonic.cache.publish import copy_variant\n"
        "original = shutil.copyfile\n"
        "def once(a, b):\n"
        "    if pathlib.Path(a).name.startswith('val'): os.kill(os.getpid(), 9)\n"
        "    return original(a, b)\n"
        "shutil.copyfile = once\n"
        "copy_variant(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(prepared.paths[1]), str(prepared.path)], env=importing_environment
    )
    assert done.returncode == -9
    assert not prepared.path.exists()
    assert any("tmp" in entry.name for entry in prepared.path.parent.iterdir())
    assert find(storage).path == prepared.path
    assert contents(prepared.path) == wanted
    assert not [entry for entry in prepared.path.parent.iterdir() if "tmp" in entry.name]
