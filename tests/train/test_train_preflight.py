"""Estimates before the first step, and the one line of an allocation that failed."""

from typing import Any

import pytest
import torch

from difflogic_tonic.config.training import Train
from difflogic_tonic.errors import StorageFull
from difflogic_tonic.runs.checkpoint import Position
from difflogic_tonic.train import preflight

CPU = torch.device("cpu")


def test_weights_and_moments_are_counted_exactly(workshop: Any) -> None:
    state = workshop.state(workshop.config("MLP"))
    config = workshop.config("MLP").train
    plan = workshop.plan(workshop.config("MLP"), state)
    found = preflight.estimate(state.model, next(plan.train.iterate(0)), config, CPU)
    weights = 4 * sum(parameter.numel() for parameter in state.model.parameters())
    assert (found.weights, found.optimizer) == (weights, 2 * weights)
    assert found.free > 0


@pytest.mark.parametrize("model_type", ["DiffLogic", "CNN", "MLP", "SNN"])
def test_activations_grow_with_the_batch_and_nothing_else_changes(model_type: str, workshop: Any) -> None:
    config = workshop.config(model_type)
    state = workshop.state(config)
    sample = next(workshop.plan(config, state).train.iterate(0))
    before = {name: value.clone() for name, value in state.model.state_dict().items()}
    random = torch.get_rng_state()
    one, eight = (
        preflight.estimate(state.model, sample, config.train.model_copy(update={"dataloader": size}), CPU)
        for size in (config.train.dataloader.model_copy(update={"batch_size": n}) for n in (10, 80))
    )
    assert one.activations > 0
    assert eight.activations == pytest.approx(8 * one.activations, rel=0.01)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(before[name], value) for name, value in state.model.state_dict().items())


def test_activations_are_what_backward_keeps_but_not_the_weights(workshop: Any) -> None:
    """Two samples: inputs 1,536 bytes, hidden 512 + 512, softmax and labels 40; inner weights would add 17,152."""

    class Dense(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = torch.nn.Sequential(torch.nn.Linear(192, 64), torch.nn.Linear(64, 64), torch.nn.Linear(64, 3))

        def forward(self, x: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
            return self.layers(x.flatten(1))

    config = workshop.config("MLP", batch_size=2)
    sample = next(workshop.plan(config, workshop.state(config)).train.iterate(0))
    found = preflight.estimate(Dense(), sample, config.train, CPU)
    assert 2600 <= found.activations < 2700


def test_what_is_computed_again_is_kept_once_a_layer(workshop: Any) -> None:
    """4C3-MP2-FC3 on 2 × 8 × 12, two steps: 768 numbers enter the convolution, 240 the dense layer, then a few."""
    from difflogic_tonic.nets.spiking.recompute import Recompute

    config = workshop.config("SNN", batch_size=2)
    state = workshop.state(config)
    sample = next(workshop.plan(config, state).train.iterate(0))
    kept = preflight.estimate(state.model, sample, config.train, CPU).activations
    state.model.recompute = Recompute()
    again = preflight.estimate(state.model, sample, config.train, CPU).activations
    assert 4 * (768 + 240) <= again < 4 * (768 + 240) + 600 < kept


def test_checkpoints_that_cannot_fit_are_refused(workshop: Any) -> None:
    found = preflight.Estimate(1, 1, 1, 10**12, checkpoint=10**15)
    with pytest.raises(StorageFull, match="checkpoints in scratch storage needs about"):
        preflight.report(found, workshop.storage, CPU, workshop.checkpoints())


def test_checkpoints_that_are_there_already_need_no_room_again(workshop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three of 1,000 bytes are needed, two are there, and 1,500 bytes are free."""
    monkeypatch.setattr("difflogic_tonic.storage.space.free_bytes", lambda path: 1500)
    checkpoints = workshop.checkpoints()
    found = preflight.Estimate(1, 1, 1, 10**12, checkpoint=1000)
    with pytest.raises(StorageFull):
        preflight.report(found, workshop.storage, CPU, checkpoints)
    for place in workshop.storage.places:
        for step in (1, 2):
            checkpoints.write(place, Position(step), bytes(1000))
    assert preflight.report(found, workshop.storage, CPU, checkpoints)


def test_memory_that_may_not_suffice_is_a_warning_with_a_way_out(workshop: Any) -> None:
    found = preflight.Estimate(10**9, 10**9, 10**9, free=10**9, checkpoint=1)
    assert any(
        "warning" in line and "batch_size" in line
        for line in preflight.report(found, workshop.storage, CPU, workshop.checkpoints())
    )


def cpu_refusal() -> RuntimeError:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**50)
    return caught.value


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"), MemoryError(), cpu_refusal()]
)
def test_a_failed_allocation_names_what_to_change(error: BaseException) -> None:
    found = preflight.out_of_memory(error, Train(accumulate=3, amp="bf16"))
    assert found is not None
    for part in ("batch_size 64", "accumulate 3", "amp bf16"):
        assert part in str(found)


def test_other_errors_are_not_taken_for_it() -> None:
    assert preflight.out_of_memory(RuntimeError("shapes do not match"), Train()) is None
