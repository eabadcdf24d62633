"""`report.sh run` on run folders made by hand: what can be drawn is drawn, and the rest has a reason."""

import json
import shutil
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from difflogic_tonic.config import StoragePaths
from difflogic_tonic.errors import RunError, StorageError
from difflogic_tonic.report.pictures import draw_run
from difflogic_tonic.runs.folder import RunFolder
from difflogic_tonic.runs.metrics import EVENT_FILE
from difflogic_tonic.runs.predictions import Answers, Predictions

MakeRun = Callable[..., RunFolder]

GATES = ("FALSE", "AND", "OR", "TRUE")
CONFIG = "base: {seed: 1}\ndata: {name: NMNIST}\nmodel: {model_type: %s}\ntrain: {epochs: 2}\n"


@pytest.fixture
def draw(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[[str], tuple[set[str], str]]:
    """Draw a job: the names of its pictures, and what was printed."""

    def draw(job: str) -> tuple[set[str], str]:
        output = tmp_path / "pictures"
        assert draw_run(Namespace(run=job, output=output), StoragePaths(tmp_path, tmp_path)) == 0
        for path in output.glob("*.png"):
            with Image.open(path) as image:
                assert np.ptp(np.asarray(image.convert("L"))) > 0, f"{path.name} is empty"
        return {path.name for path in output.glob("*.png")}, capsys.readouterr().out

    return draw


def add_answers(files: RunFolder) -> None:
    scores = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])
    answers = Answers.of(np.arange(3), np.array([0, 1, 1]), scores)
    Predictions("test", ("cat", "dog"), {"recordings": answers}).save(files.predictions)


def add_to_epochs(files: RunFolder, **metrics: object) -> None:
    rows = [json.loads(line) for line in files.metrics.read_text().splitlines()]
    changed = [row | metrics if row["kind"] == "epoch" else row for row in rows]
    files.metrics.write_text("".join(json.dumps(row) + "\n" for row in changed))


def test_a_run_with_answers_has_curves_and_what_follows_from_them(make_run: MakeRun, draw: Callable) -> None:
    files = make_run("job", config=CONFIG % "CNN")
    add_answers(files)
    names, said = draw("job")
    assert names == {"curves.png", "confusion.png", "class_accuracy.png", "calibration.png"}
    assert "not drawn: mistakes as frames" in said
    assert "prepared data" in said


def test_a_logic_network_shows_its_gates_and_the_gap(make_run: MakeRun, draw: Callable) -> None:
    layer = {"gates": 10, "unused": 2, "histogram": dict(zip(GATES, (1, 2, 3, 4), strict=True))}
    files = make_run("job", {"model_type": "DiffLogic", "logic": {"layers": [layer, layer]}}, CONFIG % "DiffLogic")
    histogram = {f"logic_histogram_{name}": 5 for name in GATES}
    accuracies = {"test_recording_accuracy": 0.9, "test_recording_accuracy_hard": 0.8, "test_gap_recording": 0.1}
    add_to_epochs(files, logic_gates=20, logic_unused=4, **histogram, **accuracies)
    names, said = draw("job")
    assert names == {"curves.png", "gap.png", "gates.png", "gates_over_time.png"}
    assert "not drawn: wiring: no model" in said


def test_a_spiking_network_that_counted_shows_rates_and_membranes(make_run: MakeRun, draw: Callable) -> None:
    files = make_run("job", {"model_type": "SNN"}, CONFIG % "SNN")
    bins = {"layer": [0] * 19 + [3, 5] + [0] * 19}
    add_to_epochs(files, test_spikes_global_rate=0.1, test_spikes_rate_layer=0.35, test_spikes_histogram=bins)
    names, _ = draw("job")
    assert names == {"curves.png", "spike_rates.png", "potentials.png"}


def test_one_that_did_not_count_is_told_how_to(make_run: MakeRun, draw: Callable) -> None:
    make_run("job", {"model_type": "SNN"}, CONFIG % "SNN")
    assert "train with train.measure_spikes=1" in draw("job")[1]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda files: files.summary.unlink(), "summary.json: missing"),
        (lambda files: files.summary.write_text('{"job'), "summary.json: damaged"),
        (lambda files: files.summary.write_text("[]"), "summary.json: damaged"),
        (lambda files: files.config.unlink(), "config.yaml: missing"),
        (lambda files: files.config.write_text("a: [1"), "config.yaml"),
        (lambda files: files.metrics.write_bytes(files.metrics.read_bytes()[:-9]), "metrics.jsonl: ends inside row 4"),
        (lambda files: files.metrics.write_text('{"kind": \n'), "metrics.jsonl: row 1 is damaged"),
        (lambda files: files.metrics.unlink(), "metrics.jsonl: missing"),
        (lambda files: files.predictions.write_bytes(b"PK\x03\x04 half"), "predictions.npz: damaged"),
        (lambda files: files.command.write_bytes(b"\xff"), "command.txt: damaged"),
        (
            lambda files: (files.tensorboard / EVENT_FILE).write_bytes(
                (files.tensorboard / EVENT_FILE).read_bytes()[:-3]
            ),
            "ends inside a record",
        ),
    ],
)
def test_damage_is_listed_and_the_rest_drawn(
    make_run: MakeRun, draw: Callable, damage: Callable, reason: str, tmp_path: Path
) -> None:
    files = make_run("job", {"model_type": "CNN"}, CONFIG % "CNN")
    damage(files)
    names, said = draw("job")
    assert reason in said
    assert names == (set() if "row 1" in reason or reason == "metrics.jsonl: missing" else {"curves.png"})
    assert reason in (tmp_path / "pictures" / "index.html").read_text()


def test_rows_without_what_rows_have_are_drawn_as_far_as_they_go(make_run: MakeRun, draw: Callable) -> None:
    files = make_run("job", {"logic": 3, "netlist": None}, CONFIG % "DiffLogic")
    add_to_epochs(files, test_loss="much", logic_gates=None, test_spikes_histogram=[])
    names, said = draw("job")
    assert names == set()
    assert "gate histograms" in said


def test_a_folder_from_elsewhere_does_not_show_the_network_of_the_job_of_that_name_here(
    make_run: MakeRun, draw: Callable, tmp_path: Path
) -> None:
    files = make_run("job", config=CONFIG % "SNN")
    copy = shutil.copytree(files.path, tmp_path / "backup" / "job")
    for folder in (copy, copy.parent / "other"):
        shutil.copytree(files.path, folder, dirs_exist_ok=True)
        names, said = draw(str(folder))
        assert names == {"curves.png"}
        assert f"{folder} is not the run {folder.name} of {tmp_path}" in said


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "runs" / "job").mkdir(parents=True)
    with pytest.raises(RunError, match="no readable run folder"):
        draw_run(Namespace(run="job", output=None), StoragePaths(tmp_path, tmp_path))


@pytest.mark.parametrize("output", ["/proc/pictures", "a_file"])
def test_an_output_that_can_be_no_folder_is_one_line(make_run: MakeRun, tmp_path: Path, output: str) -> None:
    make_run("job")
    (tmp_path / "a_file").write_text("")
    with pytest.raises(StorageError, match=f"{output.split('/')[-1]}"):
        draw_run(Namespace(run="job", output=tmp_path / output), StoragePaths(tmp_path, tmp_path))


def test_the_page_lists_pictures_commands_and_results(make_run: MakeRun, draw: Callable, tmp_path: Path) -> None:
    results = {"test_loss": 0.123456789, "tag": "<b>", "test_recording_accuracy": 0.875}
    files = make_run("job", results, CONFIG % "CNN")
    files.command.write_text("2026 host: main.py c.yaml job --override 'a<b'\n")
    draw("job")
    page = (tmp_path / "pictures" / "index.html").read_text()
    assert '<img src="curves.png"' in page
    assert "main.py c.yaml job --override &#x27;a&lt;b&#x27;" in page
    assert "0.123457" in page
    assert "<p>finished; test recordings right: 87.50 %</p>" in page
    assert "<b>" not in page


def test_the_page_of_a_run_without_its_end_says_so_at_its_top(
    make_run: MakeRun, draw: Callable, tmp_path: Path
) -> None:
    files = make_run("job", config=CONFIG % "CNN")
    files.summary.unlink()
    stopped = {"state": "stopped", "epoch": 1, "epochs": 2, "step": 7, "reason": "SIGTERM"}
    files.status.write_text(json.dumps(stopped))
    draw("job")
    page = (tmp_path / "pictures" / "index.html").read_text()
    assert page.index("<p>stopped; 1 of 2 epochs, step 7: SIGTERM</p>") < page.index("curves.png")
