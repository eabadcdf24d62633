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
    make_run("b", {"test_loss": 0.25}).metrics.write_text('{"test_lo')
    output = tmp_path / "c.csv"
    places = StoragePaths(tmp_path, tmp_path)
    assert compare(Namespace(runs=["a", "b"], csv=output), places) == 0
    said = capsys.readouterr()
    assert "note: b: metrics.jsonl: ends inside row 1" in said.err
    assert "RESULT" in said.out
    assert output.read_text().splitlines() == ["part,key,a,b", "result,test_loss,0.5,0.25"]


def test_an_unfinished_run_is_one_line_and_is_compared_in_what_it_has(
    make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    many = {f"metric_{number}": number for number in range(100)}
    make_run("a", many | {"test_loss": 0.5}, "base: {seed: 1}\n")
    make_run("b", many | {"test_loss": 0.25}, "base: {seed: 1}\n")
    going = make_run("c", config="base: {seed: 2}\n")
    going.summary.unlink()
    going.status.write_text(json.dumps({"state": "running", "epoch": 1, "epochs": 9, "step": 20}))
    places = StoragePaths(tmp_path, tmp_path)
    note = "note: c: running, 1 of 9 epochs, step 20; has no result yet: compared in config and environment\n"

    assert compare(Namespace(runs=["a", "c"], csv=None), places) == 0
    said = capsys.readouterr()
    assert said.err == note
    assert [line.split() for line in said.out.splitlines()] == [
        ["a", "c", "change"],
        ["CONFIG"],
        ["base.seed", "1", "2", "+1"],
    ]
    assert compare(Namespace(runs=["a", "b", "c"], csv=None), places) == 0
    said = capsys.readouterr()
    assert said.err == note
    assert ["test_loss", "0.5", "0.25", "–"] in [line.split() for line in said.out.splitlines()]


def test_one_run_alone_is_refused(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("a")
    with pytest.raises(ConfigError, match="at least two"):
        compare(Namespace(runs=["a"], csv=None), StoragePaths(tmp_path, tmp_path))


def test_a_long_value_is_cut_in_the_terminal(make_run: MakeRun) -> None:
    first, second = make_run("a"), make_run("b")
    second.environment.write_text(json.dumps({"python": "x" * 99}))
    runs = [read_run(first.path), read_run(second.path)]
    assert max(map(len, as_text(runs, differences_of(runs)).splitlines())) < 99
