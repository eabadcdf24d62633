"""What `verify` and the readers find in a damaged variant, and what they leave alone."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from damage import flip, payload_byte
from difflogic_tonic.cache import CacheReader, Prepared, check_prepared, load_manifest, prepare_source, verify
from difflogic_tonic.errors import CacheCorrupt
from difflogic_tonic.storage import Storage, dead_leftovers

Make = Callable[..., Any]


@pytest.mark.parametrize("defects", [1, 3])
def test_checking_names_each_defect_once_and_the_command_that_mends_it(
    defects: int,
    prepared: Prepared,
    source: Any,
    storage: Storage,
    make_config: Make,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("difflogic_tonic.cache.sources.open_source", lambda *arguments, **options: source)
    config = make_config()
    assert check_prepared(prepared, config, storage).startswith("verified")
    damaged = [prepared.paths[1] / f"train-{number:05d}.h5" for number in range(defects)]
    for path in damaged:
        flip(path)
    caplog.clear()
    with pytest.raises(CacheCorrupt) as caught:
        check_prepared(prepared, config, storage)
    message = str(caught.value)
    assert message.startswith(str(damaged[0]))
    assert ("(and 2 more defects)" in message) == (defects == 3)
    command = "./prepare_data.sh configs/prepare_nmnist.yaml --override data.reset_cache=true"
    assert message.endswith(
        f"; rebuild it with {command} and the overrides it was made with, or remove {prepared.paths[1]}"
    )
    assert message.count("reset_cache") == 1
    assert [record.getMessage().split()[0] for record in caplog.records] == [str(path) for path in damaged[1:]]


@pytest.mark.parametrize(
    ("old", "new"),
    [('"events_per_frame": 10', '"events_per_frame": 11'), ("00003.bin", "00083.bin"), ('"storage"', '\n"storage"')],
)
def test_a_changed_manifest_does_not_have_its_checksum(prepared: Prepared, old: str, new: str) -> None:
    path = prepared.path / "manifest.json"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(CacheCorrupt, match=r"manifest\.json is damaged .*checksum"):
        load_manifest(prepared.path)


def test_a_manifest_of_an_earlier_version_says_that_it_is_one(prepared: Prepared) -> None:
    path = prepared.path / "manifest.json"
    path.write_text(path.read_text().rpartition(',\n"sha256"')[0] + "\n}\n")
    with pytest.raises(CacheCorrupt, match=r"it has no checksum, as of an earlier version\); rebuild it with"):
        load_manifest(prepared.path)


def every_file(folder: Path) -> Iterator[Path]:
    yield from (entry for entry in sorted(folder.iterdir()) if entry.suffix == ".h5")


def test_verify_finds_any_flipped_bit(prepared: Prepared) -> None:
    for path in every_file(prepared.path):
        size = path.stat().st_size
        for at in (
            0,
            700,
            size // 2,
            payload_byte(prepared.path) if "train-00000" in path.name else size - 9,
            size - 1,
        ):
            flip(path, at)
            problems = verify(prepared.path)
            assert len(problems) == 1, (path, at)
            assert str(path) in problems[0]
            flip(path, at)
    assert verify(prepared.path) == []


def test_verify_names_missing_truncated_and_foreign_files(prepared: Prepared) -> None:
    (prepared.path / "foreign").write_text("")
    (prepared.path / "val-00000.h5").unlink()
    shard = prepared.path / "test-00000.h5"
    shard.write_bytes(shard.read_bytes()[:-5])
    problems = "\n".join(verify(prepared.path))
    for part in (
        "foreign does not belong",
        "val-00000.h5 is damaged: it is missing",
        "test-00000.h5 is damaged: it has",
    ):
        assert part in problems


def test_verify_notices_recordings_that_changed(prepared: Prepared, source: Any, make_source: Make) -> None:
    assert verify(prepared.path, source) == []
    first, second, *_ = sorted(source.files)
    source.files[first] = bytes(reversed(source.files[first]))
    del source.files[second]
    source.files["Test/9/99999.bin"] = b"12345"
    problems = "\n".join(verify(prepared.path, source))
    for part in (f"source {first} changed", f"source {second} cannot be read", "Test/9/99999.bin was not there"):
        assert part in problems


def test_a_folder_without_our_manifest_is_never_deleted(
    source: Any, storage: Storage, make_config: Make, prepared: Prepared
) -> None:
    for path in prepared.paths:
        shutil.rmtree(path)
        path.mkdir()
        (path / "thesis.txt").write_text("mine")
    again = prepare_source(make_config(reset_cache=True), storage, source)
    assert verify(again.path) == []
    for path in prepared.paths:
        kept = [entry for entry in path.parent.iterdir() if ".damaged-" in entry.name]
        assert [(entry / "thesis.txt").read_text() for entry in kept] == ["mine"]
        assert dead_leftovers(path.parent, own=True) == []  # which the next run removes


def test_a_truncated_shard_is_found_when_training_opens_it(prepared: Prepared) -> None:
    shard = prepared.path / "train-00001.h5"
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(CacheCorrupt, match=r"train-00001\.h5"):
        CacheReader(prepared.path).split("train")
