"""What the plain command sees and copies."""

import json
import os
import shutil
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import pytest

from difflogic_tonic.cache import load_manifest
from difflogic_tonic.storage import Storage
from difflogic_tonic.sync.command import run
from difflogic_tonic.sync.inventory import Copies, take_inventory
from difflogic_tonic.sync.sizes import Quota, parse_quota, quota_of, size_text
from difflogic_tonic.sync.table import age_text, aligned
from difflogic_tonic.sync.usage import count

Command = Callable[..., Namespace]
Lines = pytest.CaptureFixture[str]


def states(storage: Storage) -> dict[str, str]:
    """Place → state of the only variant."""
    (variant,) = take_inventory(storage).variants
    return {name: copy.state for name, copy in variant.at.items()}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def flip_last_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_every_variant_is_copied_to_the_place_that_lacks_it_byte_for_byte(storage: Storage, command: Command) -> None:
    assert run(command(), storage) == 0
    folders = [path for path in storage.scratch.data_dir("FOLDER").iterdir() if path.is_dir()]
    assert len(folders) == 4
    for folder in folders:
        assert contents(storage.project.data_dir("FOLDER") / folder.name) == contents(folder)


def test_what_only_project_storage_has_comes_to_scratch(storage: Storage, one_variant: Path, command: Command) -> None:
    home = storage.project.data_dir("FOLDER") / one_variant.name
    shutil.copytree(one_variant, home)
    shutil.rmtree(storage.scratch.root / "data")
    assert run(command(), storage) == 0
    assert contents(one_variant) == contents(home)


@pytest.mark.usefixtures("one_variant")
def test_a_dry_run_says_what_it_would_do_and_does_not(storage: Storage, command: Command, capsys: Lines) -> None:
    assert run(command("--dry-run"), storage) == 0
    assert "would copy FOLDER" in capsys.readouterr().out
    assert list(storage.project.root.iterdir()) == []


def test_a_complete_copy_is_never_written_to(storage: Storage, one_variant: Path, command: Command) -> None:
    run(command(), storage)
    copied = storage.project.data_dir("FOLDER") / one_variant.name
    before = {path: path.stat().st_mtime_ns for path in (*copied.iterdir(), *one_variant.iterdir())}
    assert run(command("--verify"), storage) == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before


def lose_a_shard(folder: Path) -> None:
    (folder / "train-00000.h5").unlink()


def cut_a_shard(folder: Path) -> None:
    os.truncate(folder / "train-00000.h5", 100)


def lose_the_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def garble_the_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text("{")


def change_the_manifest(folder: Path) -> None:
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"seed": 42', '"seed": 43'))


DAMAGES = {
    lose_a_shard: "train-00000.h5 is missing",
    cut_a_shard: "train-00000.h5 has 100 bytes, expected",
    lose_the_manifest: "manifest.json is missing",
    garble_the_manifest: "manifest.json is damaged",
    change_the_manifest: "does not have its checksum",
}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_the_only_copy_is_called_corrupt_and_left_alone(
    storage: Storage, one_variant: Path, command: Command, capsys: Lines, damage: Callable[[Path], None]
) -> None:
    damage(one_variant)
    before = contents(one_variant)
    assert run(command(), storage) == 4
    shown = capsys.readouterr()
    assert DAMAGES[damage] in shown.out
    assert "there is no other copy; rebuild it with ./prepare_data.sh" in shown.err
    assert contents(one_variant) == before


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_corrupt_copy_is_mended_from_the_good_one(
    storage: Storage, one_variant: Path, command: Command, damage: Callable[[Path], None]
) -> None:
    run(command(), storage)
    whole = contents(one_variant)
    damage(one_variant)
    assert states(storage)["scratch"] == "corrupt"
    assert run(command("--dry-run"), storage) == 4
    assert run(command(), storage) == 0
    assert contents(one_variant) == whole


def test_only_verify_finds_a_flipped_bit_and_then_mends_it(
    storage: Storage, one_variant: Path, command: Command
) -> None:
    run(command(), storage)
    whole = contents(one_variant)
    flip_last_byte(one_variant / "test-00000.h5")
    assert run(command(), storage) == 0
    assert contents(one_variant) != whole
    assert run(command("--verify", "--dry-run"), storage) == 4
    assert run(command("--verify"), storage) == 0
    assert contents(one_variant) == whole


def test_a_damaged_source_is_not_copied(storage: Storage, one_variant: Path, command: Command, capsys: Lines) -> None:
    flip_last_byte(one_variant / "test-00000.h5")
    assert run(command(), storage) == 4
    assert "test-00000.h5 is damaged: its checksum is wrong" in capsys.readouterr().err
    assert not [path for path in storage.project.data_dir("FOLDER").iterdir() if path.is_dir()]


def test_a_preparation_under_way_is_partial_and_no_error(
    storage: Storage, one_variant: Path, command: Command, capsys: Lines
) -> None:
    one_variant.rename(one_variant.with_name(f"{one_variant.name}.partial"))
    assert states(storage) == {"scratch": "partial"}
    assert run(command(), storage) == 0
    assert "partial" in capsys.readouterr().out
    assert not storage.project.data_dir("FOLDER").exists()


def test_one_folder_for_both_places_is_said_and_read_once(
    storage: Storage, one_variant: Path, command: Command, capsys: Lines
) -> None:
    shared = Storage(storage.scratch, storage.project.__class__("project", storage.scratch.root))
    assert run(command(), shared) == 0
    shown = capsys.readouterr().out
    assert "are the same folder, so there is nothing to copy" in shown
    assert shown.count(one_variant.name[:12]) == 1


def test_no_data_at_all_names_the_next_command(tmp_path: Path, command: Command, capsys: Lines) -> None:
    from difflogic_tonic.config import StoragePaths
    from difflogic_tonic.storage import open_storage

    assert run(command(), open_storage(StoragePaths(tmp_path, tmp_path))) == 0
    assert "make one: ./prepare_data.sh" in capsys.readouterr().out


def test_the_json_has_what_the_table_has_and_nothing_else_is_printed(
    storage: Storage, one_variant: Path, command: Command, capsys: Lines
) -> None:
    assert run(command("--json"), storage) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["exit_code"] == 0
    assert data["same_folder"] is False
    (variant,) = data["variants"]
    assert (variant["dataset"], variant["fingerprint"]) == ("FOLDER", one_variant.name)
    assert variant["samples"] == {"train": 4, "val": 0, "test": 2}
    assert [(copy["place"], copy["state"]) for copy in variant["copies"]] == [("scratch", "present")]
    assert variant["copies"][0]["bytes"] == sum(path.stat().st_size for path in one_variant.iterdir())
    assert [(copy["from"], copy["to"], copy["outcome"]) for copy in data["copies"]] == [
        ("scratch", "project", "copied")
    ]
    assert [place["place"] for place in data["places"]] == ["scratch", "project"]


def test_the_manifest_of_a_complete_copy_speaks_for_a_corrupt_one(storage: Storage, one_variant: Path) -> None:
    (variant,) = take_inventory(storage).variants
    lose_the_manifest(one_variant)
    (broken,) = take_inventory(storage).variants
    both = Copies("FOLDER", one_variant.name, {"scratch": broken.at["scratch"], "project": variant.at["scratch"]})
    assert broken.manifest is None
    assert both.manifest == variant.manifest


def test_sizes_and_ages_have_a_unit() -> None:
    assert [size_text(n) for n in (0, 999, 1000, 53_100_000, 999_999_999_999)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "53.1 MB",
        "1.0 TB",
    ]
    assert [age_text(0, now) for now in (59, 60, 3600 * 5, 86400 * 3 + 5)] == ["59 s", "1 min", "5 h", "3 d"]
    assert age_text(time.time() + 100) == "0 s"


def test_columns_line_up() -> None:
    assert aligned([("dataset", "size"), ("A", "1 B"), ("LONGER NAME", "10 B")]) == [
        "dataset      size",
        "A             1 B",
        "LONGER NAME  10 B",
    ]


def test_files_are_counted_up_to_a_limit(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"{number}").mkdir()
        (tmp_path / f"{number}" / "file").write_bytes(b"abc")
    assert vars(count(tmp_path)) == {"n_files": 5, "n_bytes": 15, "more": False}
    assert vars(count(tmp_path, limit=2)) == {"n_files": 2, "n_bytes": 6, "more": True}


QUOTA = """Disk quotas for user somebody (uid 1000):
     Filesystem  blocks   quota   limit   grace   files   quota   limit   grace
server:/home 1024* 1000 2000 0 12 0 500 0
"""


def test_the_quota_command_is_read() -> None:
    assert parse_quota(QUOTA) == Quota(used_kib=1024, limit_kib=1000, used_files=12, limit_files=500)
    assert parse_quota("Disk quotas for user somebody (uid 1000): none\n") is None


def test_without_a_quota_command_there_is_no_quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert quota_of(tmp_path) is None


def test_the_quota_of_the_file_system_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "quota"
    script.write_text(f"#!/bin/sh\n[ \"$1 $2 $3\" = '-w -p -f' ] && [ -d \"$4\" ] && echo '{QUOTA}'\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert quota_of(tmp_path) == Quota(1024, 1000, 12, 500)


def test_the_inventory_does_not_keep_the_rows_of_recordings(storage: Storage, one_variant: Path) -> None:
    (variant,) = take_inventory(storage).variants
    assert variant.manifest is not None
    assert len(load_manifest(one_variant).recordings) == 6
    assert len(variant.manifest.recordings) == 0
    assert variant.manifest.splits == load_manifest(one_variant).splits


def test_the_table_needs_neither_torch_nor_matplotlib(
    storage: Storage, one_variant: Path, importing_environment: dict[str, str]
) -> None:
    """Each would take longer to import than everything else takes."""
    code = (
        "import runpy, sys; sys.argv = ['check_and_sync_data.py']\n"
        "try: runpy.run_path('check_and_sync_data.py', run_name='__main__')\n"
        "except SystemExit as end: print(end.code, sorted({'torch', 'matplotlib', 'numba'} & sys.modules.keys()))"
    )
    places = {"SCRATCH_STORAGE_DIR": str(storage.scratch.root), "PROJECT_STORAGE_DIR": str(storage.project.root)}
    root = Path(__file__).resolve().parents[2]
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=root, env=importing_environment | places, capture_output=True, text=True
    )
    assert result.stdout.splitlines()[-1] == "0 []", result
    assert one_variant.name[:12] in result.stdout
