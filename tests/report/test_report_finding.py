"""Runs are named by job id, folder or pattern."""

from pathlib import Path

import pytest

from difflogic_tonic.config import StoragePaths
from difflogic_tonic.errors import ConfigError
from difflogic_tonic.report.finding import find_run, find_runs


@pytest.fixture
def places(tmp_path: Path) -> StoragePaths:
    for name in ("cnn_1", "cnn_2", "cnn_2.old-20260101-000000", "mlp", ".mlp.lock"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    (tmp_path / "runs" / "notes.txt").touch()
    return StoragePaths(tmp_path, tmp_path)


def names(words: list[str], places: StoragePaths) -> list[str]:
    return [path.name for path in find_runs(words, places)]


def test_without_words_all_but_those_set_aside(places: StoragePaths) -> None:
    assert names([], places) == ["cnn_1", "cnn_2", "mlp"]


def test_words_keep_their_order_and_name_a_run_once(places: StoragePaths) -> None:
    assert names(["mlp", "cnn_*", str(places.project / "runs" / "mlp")], places) == [
        "mlp",
        "cnn_1",
        "cnn_2",
        "cnn_2.old-20260101-000000",
    ]


def test_a_job_id_and_the_paths_of_its_folder_are_one_run(
    places: StoragePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(places.project)
    assert names(["mlp", "runs/mlp", "runs/m*", "runs/../runs/mlp/"], places) == ["mlp"]


def test_a_word_that_begins_with_a_dot_and_a_slash_is_a_path(
    places: StoragePaths, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(places.project / "runs" / "cnn_1")
    assert names([".", "../mlp"], places) == ["cnn_1", "mlp"]
    with pytest.raises(ConfigError, match=r"no run \./mlp: .*/cnn_1/mlp is no folder; there are"):
        find_runs(["./mlp"], places)
    with pytest.raises(ConfigError, match="the name of a run is empty; there are cnn_1"):
        find_runs([""], places)


def test_a_pattern_with_a_folder_is_a_path(places: StoragePaths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(places.project)
    assert names(["runs/c*_1", f"{places.project}/runs/m*"], places) == ["cnn_1", "mlp"]


def test_what_names_nothing_is_answered_with_what_there_is(places: StoragePaths) -> None:
    with pytest.raises(ConfigError, match=r"no run cnn_9: neither .* is a folder; there are cnn_1, cnn_2, .*, mlp"):
        find_runs(["cnn_9"], places)
    with pytest.raises(ConfigError, match=r"no run fits 'x\*'"):
        find_runs(["x*"], places)
    with pytest.raises(ConfigError, match="holds no runs, train one"):
        find_runs(["a"], StoragePaths(places.project / "none", places.project / "none"))


def test_one_run_is_asked_for(places: StoragePaths) -> None:
    assert find_run("mlp", places).job_id == "mlp"
    with pytest.raises(ConfigError, match="names 3 runs; expected one"):
        find_run("cnn*", places)
