"""The loop: which model is the best, when it stops, when it saves, what it writes."""

import logging
from typing import Any

import pytest
import torch

from difflogic_tonic.config.training import Train
from difflogic_tonic.data import expand
from difflogic_tonic.nets.logic import hard_mode
from difflogic_tonic.runs.signals import StopRequest
from difflogic_tonic.train import fit as fit_module
from difflogic_tonic.train.fit import finish_epoch, is_finished
from difflogic_tonic.train.losses import Loss
from difflogic_tonic.train.saving import Saver
from difflogic_tonic.train.state import Progress, Sums
from difflogic_tonic.train.tally import Tally


def epochs(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row["kind"] == "epoch"]


def test_the_best_epoch_is_chosen_on_validation(workshop: Any) -> None:
    with workshop.opened(workshop.config("MLP")) as (state, plan, metrics, _):
        for accuracy in (0.5, 0.75, 0.75, 0.25):
            state.progress.epoch_sums = Sums(1.0, 1, 2)
            state.progress.results = {
                "val_loss": 1.0,
                "val_recording_accuracy": accuracy,
                "test_loss": 1.0,
                "test_recording_accuracy": 1 - accuracy,  # must not matter
            }
            with torch.no_grad():
                next(state.model.parameters()).fill_(accuracy)
            finish_epoch(state, plan, metrics)
        best = state.progress.best
        assert (best.epoch, best.metrics["test_recording_accuracy"]) == (2, 0.25)
        assert all((value == 0.75).all() for name, value in best.model.items() if name == next(iter(best.model)))
        assert state.progress.epochs_without_better == 2


def test_without_validation_the_best_is_the_last(workshop: Any) -> None:
    outcome = workshop.train(workshop.config("MLP", epochs=3), splits=("test",))
    assert outcome.state.progress.best.epoch == 3
    assert [row["best_epoch"] for row in epochs(outcome.rows)] == [1, 2, 3]


def test_test_data_never_choose_the_model(workshop: Any, another_workshop: Any) -> None:
    with_test = workshop.train(workshop.config("MLP", epochs=3))
    without = another_workshop.train(another_workshop.config("MLP", epochs=3), splits=("val",))
    assert with_test.state.progress.best.epoch == without.state.progress.best.epoch


@pytest.mark.parametrize(
    ("epoch", "without_better", "patience", "finished"),
    [
        (0, 0, None, False),
        (5, 0, None, True),
        (6, 0, None, True),
        (3, 2, 2, True),
        (3, 1, 2, False),
        (3, 9, None, False),
    ],
)
def test_a_run_is_finished_by_its_epochs_or_its_patience(
    epoch: int, without_better: int, patience: int | None, finished: bool
) -> None:
    progress = Progress(epoch=epoch, epochs_without_better=without_better)
    assert is_finished(progress, Train(epochs=5, early_stopping=patience)) == finished


def test_loss_falls_and_rows_hold_what_is_promised(workshop: Any) -> None:
    outcome = workshop.train(workshop.config("DiffLogic", epochs=4))
    rows = epochs(outcome.rows)
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]
    assert {"train_loss", "test_loss", "test_frame_accuracy", "best_epoch", "train_samples_per_second"} <= rows[
        0
    ].keys()
    assert {"test_samples_per_second", "test_frame_accuracy_hard", "test_gap_frame", "logic_unused"} <= rows[0].keys()
    steps = [row for row in outcome.rows if row["kind"] == "step"]
    assert [row["step"] for row in steps] == list(range(1, len(steps) + 1))


def test_train_accuracy_counts_every_sample_once(workshop: Any) -> None:
    outcome = workshop.train(workshop.config("MLP", epochs=1, accumulate=4))
    (row,) = epochs(outcome.rows)
    assert row["step"] == 2  # 40 frames in 6 batches, four and two of them a step
    assert row["train_frame_accuracy"] * 40 == pytest.approx(round(row["train_frame_accuracy"] * 40))


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class CountingWriter:
    """Stands for the writing thread; says how often it got a snapshot."""

    def __init__(self) -> None:
        self.snapshots, self.busy = 0, False

    def check(self) -> None: ...

    def put(self, position: Any, snapshot: Any, first: Any) -> None:
        self.snapshots += 1


def test_checkpoints_are_taken_when_the_interval_is_over_and_the_writer_is_free(workshop: Any) -> None:
    clock, writer = Clock(), CountingWriter()
    with workshop.opened(workshop.config("MLP")) as (state, _, metrics, _):
        saver = Saver(state, metrics, writer, StopRequest(), 60.0, clock)  # type: ignore[arg-type]
        for now, busy, taken in ((59, False, 0), (60, False, 1), (119, False, 1), (121, True, 1), (122, False, 2)):
            clock.now, writer.busy = now, busy
            assert not saver.between_steps()
            assert writer.snapshots == taken, now


@pytest.mark.parametrize(("seconds", "taken"), [(59.0, 0), (61.0, 1)])
def test_an_epoch_that_outlives_the_interval_ends_with_a_checkpoint(seconds: float, taken: int, workshop: Any) -> None:
    writer = CountingWriter()
    with workshop.opened(workshop.config("MLP")) as (state, _, metrics, _):
        Saver(state, metrics, writer, StopRequest(), 60.0).after_epoch(seconds)  # type: ignore[arg-type]
    assert writer.snapshots == taken


def test_a_stop_is_seen_before_a_checkpoint_is_due(workshop: Any) -> None:
    writer, stop = CountingWriter(), StopRequest()
    stop.request("SIGTERM")
    with workshop.opened(workshop.config("MLP")) as (state, _, metrics, _):
        assert Saver(state, metrics, writer, stop, 0.0).between_steps()  # type: ignore[arg-type]
    assert writer.snapshots == 0


def test_a_hard_evaluation_is_that_of_the_discretised_network(workshop: Any) -> None:
    config = workshop.config("DiffLogic")
    state = workshop.state(config)
    batches = workshop.plan(config, state).evaluated["test"]
    measured = {}
    for hard in (False, True):
        tally = Tally.empty(8, 3)
        counted = fit_module.evaluate(state.model, batches, tally, hard, torch.device("cpu"), Loss())
        assert len(list(counted)) == len(batches)
        measured[hard] = tally.loss_sum
    expected = 0.0
    with torch.no_grad(), hard_mode(state.model.eval()):
        for batch in batches.iterate(0):
            logits = state.model(expand(batch), batch.lengths).double()
            expected += float(torch.nn.functional.cross_entropy(logits, batch.labels, reduction="sum"))
    assert measured[True] == expected != measured[False]


def test_an_evaluation_loss_that_is_not_finite_is_an_error(workshop: Any) -> None:
    from difflogic_tonic.errors import TrainingDiverged

    with workshop.opened(workshop.config("MLP")) as (state, plan, metrics, writer):
        with torch.no_grad():
            next(state.model.parameters()).fill_(float("nan"))
        saver = Saver(state, metrics, writer, StopRequest(), 1e9)
        with pytest.raises(TrainingDiverged, match="the val loss is nan"):
            fit_module.evaluate_epoch(state, plan, saver)


def test_one_line_per_epoch(workshop: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "difflogic_tonic.train"):
        workshop.train(workshop.config("DiffLogic", epochs=3))
    lines = [record.message for record in caplog.records if record.message.startswith("epoch")]
    assert len(lines) == 3
    for part in (
        "epoch 2/3",
        "train loss",
        "test loss",
        "frames",
        "recordings",
        "hard",
        "best: epoch",
        "samples/s",
        "ends",
    ):
        assert part in lines[1]
    assert ["ends" in line for line in lines] == [False, True, False]  # a short first epoch is mostly compiling


def test_the_end_of_an_epoch_is_a_later_position_than_its_last_evaluation(workshop: Any) -> None:
    with workshop.opened(workshop.config("MLP")) as (state, plan, metrics, writer):
        saver = Saver(state, metrics, writer, StopRequest(), 1e9)
        assert fit_module.train_epoch(state, plan, metrics, saver)
        assert fit_module.evaluate_epoch(state, plan, saver)
        evaluated = state.progress.position
        finish_epoch(state, plan, metrics)
        assert state.progress.position > evaluated
        finished = state.progress.position
        assert fit_module.train_epoch(state, plan, metrics, saver)
        assert state.progress.position > finished
