"""`report.sh run`: every picture that a run folder has enough for, and a line for each that it has not.

Curves, answers and gates come from the run folder alone. What only the network can show (spikes, membranes, wires) asks
its saved model and the prepared data; frames of mistakes ask the prepared data.
"""

from argparse import Namespace
from typing import TYPE_CHECKING, Any

from difflogic_tonic.config import StoragePaths
from difflogic_tonic.errors import RunError, UserError
from difflogic_tonic.report import curves, gates
from difflogic_tonic.report.answers import save_calibration, save_class_accuracy, save_confusion, worst_mistakes
from difflogic_tonic.report.columns import accuracy_of
from difflogic_tonic.report.finding import find_run, runs_root
from difflogic_tonic.report.gallery import Gallery
from difflogic_tonic.report.reading import RecordedRun, read_run
from difflogic_tonic.runs.log import errors_only

if TYPE_CHECKING:
    from difflogic_tonic.runs.predictions import Answers, Predictions

HEAD = ("recordings_hard", "recordings")
"""Answers that are drawn: of a logic network those of the circuit that it becomes."""


def draw_run(arguments: Namespace, places: StoragePaths) -> int:
    """Draw a run into a folder and print what was made and what was not. Raises `RunError` for an unreadable one."""
    run = read_run(find_run(arguments.run, places).path)
    if run.state == "unreadable":
        reasons = "; ".join(map(str, run.problems))
        raise RunError(f"{run.files.path} is no readable run folder: {reasons}; ./report.sh aggregate lists all runs")
    gallery = Gallery(arguments.output or run.files.path / "pictures")
    for problem in run.problems:
        gallery.lacks(f"part of {run.job_id}", str(problem))
    _draw_curves(run, gallery)
    _draw_answers(run, gallery, places)
    if _is_logic(run):
        _draw_gates(run, gallery)
    elif run.value("model.model_type") == "SNN":
        _draw_spike_rates(run, gallery)
    draw_inside(run, gallery, places)
    page = gallery.save_page(_title(run), state_of(run), run.commands, facts_of(run))
    for path, caption in gallery.made:
        print(f"{path}: {caption}")
    for line in gallery.missing:
        print(f"not drawn: {line}")
    print(f"all of them: {page}")
    return 0


def state_of(run: RecordedRun) -> str:
    """What stands at the top of the page: whether the run came to its end, and its accuracy."""
    accuracy = accuracy_of(run.summary)
    right = f"test recordings right: {100 * accuracy:.2f} %" if isinstance(accuracy, float) else ""
    return "; ".join(filter(None, (run.state, run.reason, right)))


def facts_of(run: RecordedRun) -> list[tuple[str, str]]:
    """The numbers of the summary that are no lists of numbers."""
    facts = []
    for name, value in run.summary.items():
        if isinstance(value, float):
            facts.append((name, f"{value:.6g}"))
        elif isinstance(value, int | str):
            facts.append((name, str(value)))
    return facts


def _title(run: RecordedRun) -> str:
    model, dataset = run.value("model.model_type"), run.value("data.name")
    return f"{run.job_id}: {model} on {dataset}" if model and dataset else run.job_id


def _is_logic(run: RecordedRun) -> bool:
    return run.value("model.model_type") == "DiffLogic"


def _draw_curves(run: RecordedRun, gallery: Gallery) -> None:
    epochs, title = run.epoch_rows, _title(run)
    if not curves.panels_of(epochs, run.step_rows):
        gallery.lacks("curves", f"{run.files.metrics.name} has no epoch with numbers to draw")
        return
    gallery.add(
        "curves.png",
        "Loss, accuracy, learning rate and speed.",
        lambda path: curves.save_curves(path, title, epochs, run.step_rows),
    )
    if _is_logic(run) and curves.gap_curves(epochs):
        gallery.add(
            "gap.png",
            "Accuracy of the network in training (soft) and of the circuit that it becomes (hard), and their gap.",
            lambda path: curves.save_gap(path, title, epochs),
        )


def _draw_answers(run: RecordedRun, gallery: Gallery, places: StoragePaths) -> None:
    title = _title(run)
    try:
        predictions = run.predictions()
    except RunError as error:
        gallery.lacks("confusion matrix, accuracy of each class, calibration and mistakes", str(error))
        return
    kind = next((kind for kind in HEAD if kind in predictions.kinds), None)
    if kind is None:
        gallery.lacks("confusion matrix and calibration", f"{run.files.predictions.name} has no answers on recordings")
        return
    answers, classes = predictions.kinds[kind], predictions.classes
    what = f"{predictions.split} recordings" + (", hard" if kind.endswith("hard") else "")
    matrix = answers.confusion()
    head = f"{title}\n{what}"
    gallery.add(
        "confusion.png",
        f"Which classes are taken for which ({what}); numbers are counts.",
        lambda path: save_confusion(path, head, matrix, classes),
    )
    gallery.add(
        "class_accuracy.png",
        f"The right part of each class ({what}), worst first.",
        lambda path: save_class_accuracy(path, head, matrix, classes),
    )
    gallery.add(
        "calibration.png",
        "Whether answers that are given with a confidence of 80 % are right 80 times in 100, and the expected "
        "calibration error.",
        lambda path: save_calibration(path, head, answers.scores, answers.labels, predictions.split + " recordings"),
    )
    _draw_mistakes(run, gallery, places, predictions, answers)


def _draw_mistakes(
    run: RecordedRun, gallery: Gallery, places: StoragePaths, predictions: "Predictions", answers: "Answers"
) -> None:
    from difflogic_tonic.report.mistakes import MOST, Mistake, save_mistakes
    from difflogic_tonic.report.prepared import open_prepared
    from difflogic_tonic.sync.sampling import read_sample

    worst = worst_mistakes(answers.scores, answers.labels, MOST)
    if not len(worst):
        gallery.lacks("mistakes", f"every {predictions.split} recording is right")
        return
    try:
        cache = open_prepared(run, places)
        reader = cache.split(predictions.split)
        mistakes = [
            Mistake(
                read_sample(cache.manifest, reader, predictions.split, int(answers.rows[place])),
                predictions.classes[int(answers.predicted[place])],
                float(answers.scores[place].max()),
            )
            for place in worst
        ]
    except UserError as error:
        gallery.lacks("mistakes as frames", str(error))
        return
    wrong = int((answers.predicted != answers.labels).sum())
    title = (
        f"{_title(run)}\nthe surest of {wrong:,} mistakes among {len(answers.labels):,} {predictions.split} recordings"
    )
    gallery.add(
        "mistakes.png",
        "The mistakes that the network was surest of, as the frames that it saw.",
        lambda path: save_mistakes(path, title, mistakes, cache.manifest),
    )


def _draw_gates(run: RecordedRun, gallery: Gallery) -> None:
    title = _title(run)
    if layers := gates.layers_of(run.summary):
        gallery.add(
            "gates.png",
            "Which gates each layer has become, in per cent of its neurons.",
            lambda path: gates.save_gate_histograms(path, title, layers),
        )
    else:
        gallery.lacks("gate histograms", "summary.json has no gates of layers")
    if gates.counted_rows(run.epoch_rows):
        gallery.add(
            "gates_over_time.png",
            "Gates, and neurons that reach no output, after each epoch.",
            lambda path: gates.save_gates_over_time(path, title, run.epoch_rows),
        )


def _draw_spike_rates(run: RecordedRun, gallery: Gallery) -> None:
    epochs, title = run.epoch_rows, _title(run)
    measured = [split for split in curves.SPLITS if curves.spike_rate_curves(epochs, split)]
    if not measured:
        gallery.lacks("spike rates and membranes over time", "this run counted none; train with train.measure_spikes=1")
        return
    gallery.add(
        "spike_rates.png",
        "Spikes per neuron and step of every layer and of all neurons, after each epoch.",
        lambda path: curves.save_spike_rates(path, title, epochs),
    )
    from difflogic_tonic.nets.spiking.spikes import HISTOGRAM
    from difflogic_tonic.report.spikes import save_potentials

    split = measured[-1]
    if any(isinstance(row.get(f"{split}_spikes_histogram"), dict) for row in epochs):
        gallery.add(
            "potentials.png",
            f"The membranes of each layer before the reset ({split}); the dashed line is the threshold; the outermost "
            "steps hold what lies beyond.",
            lambda path: save_potentials(path, f"{title}\nmembranes, {split}", epochs, split, HISTOGRAM),
        )


def check_in_storage(run: RecordedRun, places: StoragePaths) -> None:
    """Raise `RunError` for a run folder from elsewhere: a model of that job id here may be another run's."""
    here = runs_root(places) / run.job_id
    if not (here.exists() and here.samefile(run.files.path)):
        raise RunError(
            f"{run.files.path} is not the run {run.job_id} of {places.project}, whose models are asked; set "
            "PROJECT_STORAGE_DIR to the storage that holds both the run and its model"
        )


def draw_inside(run: RecordedRun, gallery: Gallery, places: StoragePaths) -> None:
    """What needs the network, of those that have something to show."""
    if run.value("model.model_type") not in ("SNN", "DiffLogic"):
        return
    from difflogic_tonic.report.inside import draw_spiking, draw_wiring
    from difflogic_tonic.train.inputs import choose_device
    from difflogic_tonic.train.opened import open_run

    draw: Any = draw_wiring if _is_logic(run) else draw_spiking
    what = "wiring" if _is_logic(run) else "raster, membranes, class scores and spikes of the encoder"
    try:
        check_in_storage(run, places)
        with errors_only():
            opened = open_run(run.job_id, "best", choose_device("cpu"), places)
            draw(opened, gallery, _title(run))
    except UserError as error:
        gallery.lacks(what, str(error))
