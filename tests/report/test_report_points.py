"""The table read again, and runs as points: their means, their spread, and which of them no other beats."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from difflogic_tonic.errors import RunError
from difflogic_tonic.report.columns import recipe_of
from difflogic_tonic.report.reading import read_run
from difflogic_tonic.report.table import SAME, number_in, pareto_front, points_of, read_table
from difflogic_tonic.runs.folder import RunFolder

CSV = """# 3 runs: 2 finished, 1 failed
# energy is an estimate
job_id,state,reason,dataset,subset,model_type,recipe,seed,accuracy,parameters
a_1,finished,,NMNIST,,MLP,aa,1,0.90,100
a_2,finished,,NMNIST,,MLP,aa,2,0.94,100
b,failed,"out of memory, #3",NMNIST,,CNN,bb,1,,
"""


@pytest.fixture
def table_file(tmp_path: Path) -> Path:
    path = tmp_path / "runs.csv"
    path.write_text(CSV)
    return path


def test_a_table_has_its_rows_its_comments_and_text_with_commas_and_hashes(table_file: Path) -> None:
    table = read_table(table_file)
    assert table.comments == ["3 runs: 2 finished, 1 failed", "energy is an estimate"]
    assert [row["job_id"] for row in table.rows] == ["a_1", "a_2", "b"]
    assert table.rows[2]["reason"] == "out of memory, #3"


def test_runs_that_differ_in_their_seed_only_are_one_point_with_mean_and_sample_deviation(table_file: Path) -> None:
    mlp, cnn = points_of(read_table(table_file).rows, SAME, ["accuracy", "parameters"])
    assert mlp.jobs == ("a_1", "a_2")
    assert mlp.means == {"accuracy": pytest.approx(0.92), "parameters": 100}
    assert mlp.spreads["accuracy"] == pytest.approx(math.sqrt((0.02**2 + 0.02**2) / 1))
    assert (cnn.jobs, cnn.means, cnn.spreads) == (("b",), {}, {})


@pytest.mark.parametrize("column", ["dataset", "subset", "model_type", "recipe"])
def test_runs_that_differ_in_anything_else_are_points_of_their_own(table_file: Path, column: str) -> None:
    rows = read_table(table_file).rows[:2]
    rows[1][column] = "other"
    assert len(points_of(rows, SAME, ["accuracy"])) == 2


def test_a_part_of_a_dataset_is_a_dataset_of_its_own(table_file: Path) -> None:
    rows = read_table(table_file).rows[:1]
    rows[0]["subset"] = "8,000 of 60,000"
    assert points_of(rows, SAME, [])[0].dataset == "NMNIST (8,000 of 60,000)"


@pytest.mark.parametrize("cell", ["", "nan", "inf", "many"])
def test_a_cell_without_a_finite_number_has_none(cell: str) -> None:
    assert number_in({"x": cell}, "x") is None
    assert number_in({}, "x") is None


def test_a_table_that_a_spreadsheet_program_has_saved_is_the_same(table_file: Path) -> None:
    before = read_table(table_file)
    table_file.write_text(CSV, encoding="utf-8-sig")
    assert read_table(table_file) == before
    plain = "".join(line for line in CSV.splitlines(keepends=True) if not line.startswith("#"))
    table_file.write_text(plain, encoding="utf-8-sig")
    assert read_table(table_file).rows == before.rows


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file"),
        (b"\xff\xfe\x00", "not text"),
        (b"", "no column job_id"),
        (b"a,b\n1,2\n", "no column job_id"),
        (b"x" * 200_000, "is no CSV (field larger than"),
        (b"# only\njob_id,model_type\n", "lists no runs"),
    ],
)
def test_a_file_that_is_no_table_is_named_with_the_command_that_makes_one(
    tmp_path: Path, content: bytes | None, reason: str
) -> None:
    path = tmp_path / "runs.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RunError, match=r"aggregate") as raised:
        read_table(path)
    assert reason in str(raised.value)


def test_the_front_is_what_no_other_beats() -> None:
    #        cheap and bad, dearer and better, beaten twice, as dear but worse, dearest and as good as the second
    points = [(1.0, 5.0), (2.0, 8.0), (3.0, 7.0), (2.0, 6.0), (4.0, 8.0)]
    assert pareto_front(points) == [(1.0, 5.0), (2.0, 8.0)]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1))
def test_every_point_is_on_the_front_or_beaten_by_one_that_is(points: list[tuple[int, int]]) -> None:
    front = pareto_front(points)
    for cost, quality in points:
        assert any(a <= cost and b >= quality for a, b in front)
    for one in front:
        assert not any(a <= one[0] and b >= one[1] and (a, b) != one for a, b in points)


def test_a_recipe_is_a_config_without_seed_and_name_whatever_defaults_it_spells_out(
    make_run: Callable[..., RunFolder],
) -> None:
    short = "base: {seed: 1, job_id: a}\ndata: {name: NMNIST}\nmodel: {model_type: MLP}\n"
    long = short.replace("seed: 1, job_id: a", "seed: 2, job_id: b") + "train: {weight_decay: 0.0, device: cpu}\n"
    other = short + "train: {epochs: 3}\n"
    unknown = short + "train: {of_another_version: 3}\n"
    recipes = [
        recipe_of(read_run(make_run(name, config=config).path))
        for name, config in (("a", short), ("b", long), ("c", other), ("d", unknown))
    ]
    assert recipes[0] == recipes[1]
    assert len({*recipes}) == 3
