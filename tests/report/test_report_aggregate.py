"""The table over runs: every run is a row, whatever has become of its folder."""

import csv
import io
import json
import os
import socket
import subprocess
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import pytest

from difflogic_tonic.config import StoragePaths
from difflogic_tonic.errors import ConfigError
from difflogic_tonic.report.aggregate import aggregate, table_of
from difflogic_tonic.report.columns import COLUMNS
from difflogic_tonic.report.reading import read_run
from difflogic_tonic.runs.folder import RunFolder
from difflogic_tonic.runs.metrics import EVENT_FILE

MakeRun = Callable[..., RunFolder]

LOGIC = {
    "model_type": "DiffLogic",
    "test_loss": 0.5,
    "test_recording_accuracy": 0.75,
    "test_recording_accuracy_hard": 0.625,
    "test_recordings": 8,
    "test_frames": 16,
    "netlist": {"after": {"gates": 70, "inverters": 10, "outputs": 4, "depth": 3}},
    "peak_memory_bytes": 250_000_000,
}


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(line for line in io.StringIO(text) if not line.startswith("#")))


def rows(*folders: Path) -> list[dict[str, str]]:
    return table(table_of([read_run(folder) for folder in folders]))


def test_a_row_has_what_the_run_has_and_nothing_else(make_run: MakeRun) -> None:
    (row,) = rows(make_run("logic", LOGIC).path)
    assert list(row) == list(COLUMNS)
    assert (row["state"], row["reason"], row["seed"], row["epochs_wanted"]) == ("finished", "", "3", "2")
    assert (row["accuracy"], row["test_recording_accuracy"], row["gates"], row["depth"]) == ("0.625", "0.75", "70", "3")
    # two frames a recording; 70 gates, 10 inverters and a full adder for each of 4 outputs
    assert (float(row["gates_per_recording"]), row["peak_memory_mb"]) == (2 * (70 + 10 + 20), "250.0")
    assert float(row["energy_nj_per_recording"]) == pytest.approx(200 * 0.75e-6)
    assert (row["torch"], row["python"], row["device"]) == ("2.13.0", "3.11.7", "cpu")
    for absent in ("macs", "synops_per_sample", "spike_rate", "macs_per_recording", "test_frame_accuracy", "gpu"):
        assert row[absent] == "", absent


def test_a_cnn_has_no_gates_and_its_soft_accuracy(make_run: MakeRun) -> None:
    (row,) = rows(make_run("cnn", {"test_recording_accuracy": 0.5, "test_loss": 1.0, "macs": 10}).path)
    assert (row["accuracy"], row["macs_per_recording"], row["gates"], row["gates_per_recording"]) == (
        "0.5",
        "10.0",
        "",
        "",
    )


@pytest.mark.parametrize(
    ("config", "network"),
    [
        (
            "model: {model_type: DiffLogic, difflogic: {num_layers: 4, num_neurons: 4000, architecture: dense}}",
            "4x4000",
        ),
        ("model: {model_type: DiffLogic, difflogic: {num_layers: 2, num_neurons: 9, architecture: conv}}", "conv 2x9"),
        ("model: {model_type: SNN, snn: {architecture: csnn, channels: 32}}", "csnn c32"),
        ("model: {model_type: MLP, mlp: {hidden: [512, 64]}}", "512-64"),
        ("model: {model_type: CNN, cnn: {hidden: 128}}", "hidden 128"),
        ("model: {model_type: 'mine:net'}", "mine:net"),
        ("base: {seed: 1}", ""),
    ],
)
def test_the_network_is_told_in_a_few_words(make_run: MakeRun, config: str, network: str) -> None:
    (row,) = rows(make_run(config=config).path)
    assert row["network"] == network


def test_text_that_looks_like_a_comment_or_a_column_survives(make_run: MakeRun) -> None:
    (row,) = rows(make_run(config='base: {tag: "a, #1 \\"x\\"\\n b"}\nmodel: {model_type: CNN}').path)
    assert row["tag"] == 'a, #1 "x" b'


def test_pandas_reads_it_with_its_comments(make_run: MakeRun) -> None:
    pandas = pytest.importorskip("pandas")
    folders = [make_run("a", LOGIC).path, make_run("b", config="base: {tag: 'x # y'}\nmodel: {model_type: CNN}").path]
    frame = pandas.read_csv(io.StringIO(table_of([read_run(folder) for folder in folders])), comment="#")
    assert frame.shape == (2, len(COLUMNS))
    assert frame["tag"][1] == "x # y"
    assert frame["gates"].tolist()[0] == 70


def test_the_head_tells_what_the_energy_assumes(make_run: MakeRun) -> None:
    text = table_of([read_run(make_run().path)])
    heads = [line for line in text.splitlines() if line.startswith("#")]
    assert heads[0] == "# 1 runs: 1 finished"
    assert any("4.6 pJ per MAC, 0.9 pJ per SynOp (AC), 0.75 fJ per logic gate" in head for head in heads)
    assert any("memory traffic" in head and "left out" in head for head in heads)


def _without_summary(files: RunFolder) -> str:
    files.summary.unlink()
    return "summary.json: missing"


def _cut_metrics(files: RunFolder) -> str:
    os.truncate(files.metrics, files.metrics.stat().st_size - 3)
    return "metrics.jsonl: ends inside row 4"


def _half_an_event(files: RunFolder) -> str:
    path = files.tensorboard / EVENT_FILE
    os.truncate(path, path.stat().st_size - 3)
    return f"{EVENT_FILE}: damaged (ends inside a record"


def _cut_summary(files: RunFolder) -> str:
    os.truncate(files.summary, 9)
    return "summary.json: damaged ("


def _no_config(files: RunFolder) -> str:
    files.config.write_text("base: [")
    return "config.yaml"


def _killed(files: RunFolder) -> str:
    with subprocess.Popen(["true"]) as process:
        pid = process.pid
    files.summary.unlink()
    status = {"state": "running", "epoch": 1, "epochs": 2, "step": 7, "host": socket.gethostname(), "pid": pid}
    files.status.write_text(json.dumps(status))
    return f"1 of 2 epochs, step 7: its process {pid} is gone, killed or lost with its node"


def _nothing(files: RunFolder) -> str:
    for path in files.path.iterdir():
        if path.is_file():
            path.unlink()
    return "not a run folder"


@pytest.mark.parametrize(
    "damage",
    [_without_summary, _cut_metrics, _half_an_event, _cut_summary, _no_config, _killed, _nothing],
    ids=lambda f: f.__name__,
)
def test_a_damaged_run_is_a_row_with_its_reason(
    make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[RunFolder], str]
) -> None:
    make_run("whole", LOGIC)
    expected = damage(make_run("broken", LOGIC))
    assert aggregate(Namespace(runs=[], output=None), StoragePaths(tmp_path, tmp_path)) == 0
    captured = capsys.readouterr()
    broken, whole = table(captured.out)
    assert (broken["job_id"], whole["job_id"], whole["reason"]) == ("broken", "whole", "")
    assert expected in broken["reason"]
    assert captured.err.startswith("note: broken: ")
    assert expected in captured.err
    assert broken["state"] in ("finished", "unfinished", "unreadable")


def test_values_of_unexpected_kinds_are_no_traceback(make_run: MakeRun) -> None:
    files = make_run("odd")
    files.summary.write_text(json.dumps({"model_type": "DiffLogic", "netlist": [1], "logic": 3, "subset": {"a": [1]}}))
    files.environment.write_text(json.dumps({"packages": "none"}))
    (row,) = rows(files.path)
    odd = {name: [] for name in ("macs", "peak_memory_bytes", "test_spikes_rate_1", "test_frames", "test_loss")}
    files.summary.write_text(json.dumps({"model_type": "CNN", "test_recordings": "8"} | odd))
    assert rows(files.path)[0]["macs_per_recording"] == ""
    assert (row["state"], row["gates"], row["torch"], row["subset"]) == ("finished", "", "", "{'a': [1]}")


def test_a_file_can_be_named_instead_of_the_terminal(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("one")
    make_run("two")
    aggregate(Namespace(runs=["two", "one"], output=tmp_path / "t.csv"), StoragePaths(tmp_path, tmp_path))
    assert [row["job_id"] for row in table((tmp_path / "t.csv").read_text())] == ["two", "one"]


def test_no_runs_at_all_say_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"no runs in .*runs; train one first: \./train\.sh configs/quickstart\.yaml demo"
    ):
        aggregate(Namespace(runs=[], output=None), StoragePaths(tmp_path, tmp_path))
