"""A run that was stopped and resumed ends as one that was not: every weight, every row."""

from typing import Any

import pytest
import torch

from difflogic_tonic.errors import StorageFull
from difflogic_tonic.runs.metrics import EVENT_FILE
from difflogic_tonic.runs.signals import StopRequest
from difflogic_tonic.runs.tags import points_of
from difflogic_tonic.train.fit import fit
from difflogic_tonic.train.saving import Saver
from difflogic_tonic.train.state import TrainingState

TIMINGS = ("time", "seconds", "train_samples_per_second", "test_samples_per_second", "peak_memory_bytes")


def assert_equal(left: Any, right: Any) -> None:
    """Equal to the last bit, tensors included."""
    if isinstance(left, torch.Tensor):
        assert torch.equal(left, right)
    elif isinstance(left, dict):
        assert left.keys() == right.keys()
        for key in left:
            assert_equal(left[key], right[key])
    elif isinstance(left, list | tuple):
        assert len(left) == len(right)
        for one, other in zip(left, right, strict=True):
            assert_equal(one, other)
    else:
        assert left == right


def without_timings(value: dict[str, Any]) -> dict[str, Any]:
    return {key: item for key, item in value.items() if key not in TIMINGS and not key.endswith("seconds")}


def comparable(state: TrainingState) -> dict[str, Any]:
    snapshot = state.snapshot()
    snapshot["progress"] = without_timings(snapshot["progress"])
    snapshot["optimizer"] = snapshot["optimizer"]["state"]  # the rate is set anew at every step
    return snapshot


@pytest.mark.parametrize("model_type", ["DiffLogic", "CNN", "MLP", "SNN"])
def test_resumed_equals_uninterrupted_wherever_it_stops(model_type: str, workshop: Any, another_workshop: Any) -> None:
    config = workshop.config(model_type, epochs=2)
    whole = workshop.train(config)
    assert whole.finished
    # Looks come after every batch: within training, at its end, within each evaluation, at the end of the epoch.
    # All of them for one model, every few for the slower ones.
    for stop_after in range(1, whole.looks + 1, 1 if model_type == "MLP" else 4):
        another = type(workshop)(another_workshop.root / str(stop_after))
        stopped = another.train(config, stop_after)
        assert not stopped.finished
        torch.manual_seed(999)  # what a new process would start with
        resumed = another.train(config, resume=True)
        assert resumed.finished
        assert_equal(comparable(resumed.state), comparable(whole.state))
        assert [without_timings(row) for row in resumed.rows] == [without_timings(row) for row in whole.rows]


def test_a_run_stopped_at_every_single_look_equals_an_uninterrupted_one(workshop: Any, another_workshop: Any) -> None:
    config = workshop.config("MLP", accumulate=2, optimizer="sgd", gradient_clip=0.5, label_smoothing=0.1, epochs=2)
    whole = workshop.train(config)
    looks = 1
    outcome = another_workshop.train(config, 1)
    while not outcome.finished:
        outcome = another_workshop.train(config, 1, resume=True)
        looks += 1
    assert looks > whole.looks / 2
    assert_equal(comparable(outcome.state), comparable(whole.state))
    assert [without_timings(row) for row in outcome.rows] == [without_timings(row) for row in whole.rows]


def test_the_last_epoch_s_rows_are_not_doubled_in_tensorboard(workshop: Any) -> None:
    config = workshop.config("MLP", epochs=2)
    workshop.train(config, 8)
    resumed = workshop.train(config, resume=True)
    path = workshop.storage.project.run_dir("job") / "tensorboard" / EVENT_FILE
    assert sorted(scalars(path)) == sorted(
        (row["step"], tag, pytest.approx(value)) for row in resumed.rows for tag, value in expected_scalars(row).items()
    )


def expected_scalars(row: dict[str, Any]) -> dict[str, float]:
    return {tag: value for tag, value in points_of(row) if isinstance(value, int | float)}


def scalars(path: Any) -> list[tuple[int, str, float]]:
    """What a plain reader of the event file sees."""
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    found = []
    for event in LegacyEventFileLoader(str(path)).Load():
        found += [(event.step, value.tag, value.simple_value) for value in event.summary.value]
    return found


def test_more_epochs_continue_a_finished_run(workshop: Any, another_workshop: Any) -> None:
    whole = workshop.train(workshop.config("MLP", epochs=3, schedule="none"))
    assert another_workshop.train(another_workshop.config("MLP", epochs=2, schedule="none")).finished
    longer = another_workshop.train(another_workshop.config("MLP", epochs=3, schedule="none"), resume=True)
    assert longer.state.progress.epoch == 3
    assert_equal(longer.state.model.state_dict(), whole.state.model.state_dict())


def test_a_finished_run_resumed_unchanged_does_nothing(workshop: Any) -> None:
    config = workshop.config("MLP")
    before = workshop.train(config)
    after = workshop.train(config, resume=True)
    assert after.looks == 0
    assert after.rows == before.rows
    assert_equal(after.state.model.state_dict(), before.state.model.state_dict())


def test_another_learning_rate_takes_effect_after_a_resume(workshop: Any) -> None:
    workshop.train(workshop.config("MLP", schedule="none", learning_rate=0.02), 3)
    resumed = workshop.train(
        workshop.config("MLP", schedule="none", learning_rate=0.005, weight_decay=0.1), resume=True
    )
    rates = [row["learning_rate"] for row in resumed.rows if row["kind"] == "step"]
    assert rates == [0.02] * 3 + [0.005] * (len(rates) - 3)
    assert {group["weight_decay"] for group in resumed.state.optimizer.param_groups} == {0.1}


def test_checkpoints_on_a_timer_do_not_change_the_result(workshop: Any, another_workshop: Any) -> None:
    config = workshop.config("CNN")
    timed = workshop.train(config, interval=0.0)
    plain = another_workshop.train(config)
    assert_equal(comparable(timed.state), comparable(plain.state))


def test_the_mean_loss_between_two_rows_survives_a_stop(
    workshop: Any, another_workshop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("difflogic_tonic.train.fit.STEP_ROWS", 2)  # of six steps an epoch: a row every three
    config = workshop.config("MLP", epochs=2)
    whole = workshop.train(config)
    assert [row["step"] for row in whole.rows if row["kind"] == "step"] == [3, 6, 9, 12]
    for stop_after in (1, 2, 4, whole.looks // 2 + 1):
        another = type(workshop)(another_workshop.root / str(stop_after))
        another.train(config, stop_after)
        resumed = another.train(config, resume=True)
        assert [without_timings(row) for row in resumed.rows] == [without_timings(row) for row in whole.rows]


@pytest.mark.parametrize("failing", range(14))
def test_a_row_that_finds_no_room_is_written_after_the_resume(
    failing: int, workshop: Any, another_workshop: Any
) -> None:
    """Two epochs of six steps: rows 6 and 13 are those of the epochs, row 5 that of an epoch's last step."""
    config = workshop.config("MLP", epochs=2)
    whole = workshop.train(config)
    assert [row["kind"] for row in whole.rows] == (["step"] * 6 + ["epoch"]) * 2
    with another_workshop.opened(config) as (state, plan, metrics, writer):
        saver = Saver(state, metrics, writer, StopRequest(), 1e9)
        append = metrics.append

        def append_until_full(row: dict[str, Any]) -> None:
            if metrics.n_rows == failing:
                raise StorageFull("no space left")
            append(row)

        metrics.append = append_until_full
        with pytest.raises(StorageFull):
            fit(state, plan, metrics, saver)
        saver.save_and_wait()
    resumed = another_workshop.train(config, resume=True)
    assert_equal(comparable(resumed.state), comparable(whole.state))
    assert [without_timings(row) for row in resumed.rows] == [without_timings(row) for row in whole.rows]


def test_the_loss_is_what_auto_is_and_must_stay(workshop: Any) -> None:
    from difflogic_tonic.errors import ResumeMismatch
    from difflogic_tonic.runs.checkpoint import FORMAT
    from difflogic_tonic.train.resume import check_config

    plain, written = (workshop.config("SNN", loss=loss).to_dict() for loss in ("auto", "cross_entropy"))
    older = plain | {"train": {key: value for key, value in plain["train"].items() if key != "loss"}}
    for before in (plain, written, older):
        check_config({"format": FORMAT, "config": before}, plain)
    with pytest.raises(ResumeMismatch, match=r"train\.loss was cross_entropy in the checkpoint and is tet now"):
        check_config({"format": FORMAT, "config": plain}, workshop.config("SNN", loss="tet").to_dict())


def test_a_snapshot_over_an_earlier_one_is_the_same_and_takes_its_memory(workshop: Any) -> None:
    state = workshop.train(workshop.config("MLP")).state
    first = state.snapshot()
    places = {id(tensor) for tensor in first["model"].values()}
    with torch.no_grad():
        for parameter in state.model.parameters():
            parameter += 1
    fresh, again = state.snapshot(), state.snapshot(first)
    assert {id(tensor) for tensor in again["model"].values()} == places
    assert_equal(again, fresh)
    best = state.progress.best
    assert best is not None
    assert all(id(tensor) not in places for tensor in best.model.values())
