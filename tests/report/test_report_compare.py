"""What differs between runs, as a table."""

import json
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import pytest

from difflogic_tonic.config import StoragePaths
from difflogic_tonic.errors import ConfigError
from difflogic_tonic.report.compare import as_text, compare, differences_of
from difflogic_tonic.report.reading import read_run
from difflogic_tonic.runs.folder import RunFolder

MakeRun = Callable[..., RunFolder]


def names(found: list) -> list[str]:
    return [f"{one.part} {one.key}" for one in found]


def test_only_what_differs_is_listed_by_its_dotted_key(make_run: MakeRun) -> None:
    first = make_run("a", {"test_loss": 0.5, "macs": 7}, "base: {seed: 1, job_id: a}\ntrain: {epochs: 2}\n")
    second = make_run("b", {"test_loss": 0.25, "gates": 9}, "base: {seed: 2, job_id: b}\ntrain: {epochs: 2}\n")
    found = differences_of([read_run(first.path), read_run(second.path)])
    assert names(found) == ["config base.seed", "result test_loss", "result macs", "result gates"]
    assert [one.values for one in found] == [(1, 2), (0.5, 0.25), (7, "–"), ("–", 9)]
    assert [one.change() for one in found] == ["+1", "-0.25", "", ""]


def test_two_runs_alike_differ_in_nothing(make_run: MakeRun) -> None:
    runs = [read_run(make_run(name).path) for name in ("a", "b")]
    assert differences_of(runs) == []
    assert as_text(runs, []) == "a, b differ in nothing that is recorded"


def test_the_command_prints_the_table_writes_the_csv_and_notes_what_is_broken(
    make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run("a", {"test_loss": 0.5})
    make_run("b", {"test_loss": 0.25}).summary.write_text('{"test_lo')
    output = tmp_path / "c.csv"
    places = StoragePaths(tmp_path, tmp_path)
    assert compare(Namespace(runs=["a", "b"], csv=output), places) == 0
    said = capsys.readouterr()
    assert "note: b: summary.json: damaged" in said.err
    assert "RESULT" in said.out
    assert output.read_text().splitlines()[0] == "part,key,a,b"
    assert "result,test_loss,0.5," in output.read_text()


def test_one_run_alone_is_refused(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("a")
    with pytest.raises(ConfigError, match="at least two"):
        compare(Namespace(runs=["a"], csv=None), StoragePaths(tmp_path, tmp_path))


def test_a_long_value_is_cut_in_the_terminal(make_run: MakeRun) -> None:
    first, second = make_run("a"), make_run("b")
    second.environment.write_text(json.dumps({"python": "x" * 99}))
    runs = [read_run(first.path), read_run(second.path)]
    assert max(map(len, as_text(runs, differences_of(runs)).splitlines())) < 99
