"""Two and three processes that share every batch compute what one does."""

import dataclasses
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from difflogic_tonic.data import Batch
from difflogic_tonic.data.batch import Part
from difflogic_tonic.nets.dropout import Dropout
from difflogic_tonic.nets.shared_norm import SharedBatchNorm, share_batch_norm
from difflogic_tonic.nets.spiking.model import SpikingModel
from difflogic_tonic.nets.spiking.recompute import Recompute
from difflogic_tonic.runs.metrics import NoRows
from difflogic_tonic.train.fit import Plan, evaluate, fit
from difflogic_tonic.train.optimizer import build_optimizer
from difflogic_tonic.train.ranks import Ranks
from difflogic_tonic.train.saving import OnlyStops
from difflogic_tonic.train.state import TrainingState, seed_everything
from difflogic_tonic.train.step import train_step
from difflogic_tonic.train.tally import Tally
from rank_processes import in_ranks

pytestmark = pytest.mark.integration

STEPS = 20


class PartsOf:
    """The parts that one of several processes has of the batches of another source."""

    def __init__(self, batches: Any, rank: int, world: int) -> None:
        self._batches, self._rank, self._world = batches, rank, world
        self.batch_size, self.n_samples, self.n_recordings = (
            batches.batch_size,
            batches.n_samples,
            batches.n_recordings,
        )

    def __len__(self) -> int:
        return len(self._batches)

    def iterate(self, epoch: int, start: int = 0) -> Generator[Batch, None, None]:
        for batch in self._batches.iterate(epoch, start):
            yield part_of(batch, self._rank, self._world)


def part_of(batch: Batch, rank: int, world: int) -> Batch:
    n = len(batch)
    first, end = rank * n // world, (rank + 1) * n // world
    rows = slice(first, end) if first < end else slice(0, 1)
    tensors = {name: getattr(batch, name)[rows] for name in ("inputs", "labels", "lengths", "rows")}
    return dataclasses.replace(batch, **tensors, part=Part(first, end - first, n))


class Normalised(nn.Module):
    """A convolution, batch normalisations of images and of rows, dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), Dropout(0.3), nn.Linear(240, 12),
            nn.BatchNorm1d(12, momentum=None), nn.Linear(12, 3),
        )  # fmt: skip

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        found: Tensor = self.layers(x)
        return found


LOGIC = {"num_neurons": 120, "num_layers": 2}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "CNN with dropout": ("CNN", {}),
    "CNN with batch normalisation and dropout": ("CNN", {}),
    "MLP with dropout": ("MLP", {}),
    "SNN with batch normalisation and dropout": ("SNN", {"architecture": "4C3-BN-MP2-FC3", "dropout": 0.2}),
    "SNN recomputed": ("SNN", {"architecture": "4C3-BN-MP2-DP0.3-FC3"}),
    "DiffLogic": ("DiffLogic", LOGIC),
    "DiffLogic in plain torch": ("DiffLogic", LOGIC | {"backend": "eager"}),
    "DiffLogic with gates drawn": ("DiffLogic", LOGIC | {"estimator": "gumbel"}),
    "DiffLogic with wiring and gates drawn": (
        "DiffLogic", LOGIC | {"estimator": "gumbel", "wiring": "learnable", "parametrization": "light"}
    ),
    "DiffLogic of trees": ("DiffLogic", LOGIC | {"architecture": "conv"}),
    "DiffLogic with a memory": ("DiffLogic", {"num_neurons": 900, "num_layers": 2, "architecture": "recurrent"}),
}  # fmt: skip


def made(workshop: Any, case: str, **train: Any) -> tuple[TrainingState, Plan]:
    model_type, section = CASES[case]
    config = workshop.config(model_type, epochs=100, optimizer="sgd", **train)
    name = model_type.lower()
    values = getattr(config.model, name).model_copy(update=section)
    config = config.model_copy(update={"model": config.model.model_copy(update={name: values})})
    state = workshop.state(config)
    if case.startswith("CNN with batch"):
        torch.manual_seed(0)
        state.model = Normalised()
        state.optimizer = build_optimizer(config.training, state.model)
    if case == "SNN recomputed":
        assert isinstance(state.model, SpikingModel)
        state.model.recompute = Recompute()
    plan = workshop.plan(config, state)
    return state, dataclasses.replace(plan, seed=3)


def shared(state: TrainingState, plan: Plan, ranks: Ranks) -> Plan:
    """`plan` for one of several processes; from here on their model shares its statistics."""
    share_batch_norm(state.model)
    parts = {name: PartsOf(batches, ranks.rank, ranks.world) for name, batches in plan.evaluated.items()}
    return dataclasses.replace(
        plan, ranks=ranks, train=PartsOf(plan.train, ranks.rank, ranks.world), evaluated=parts
    )  # fmt: skip


def trained(state: TrainingState, plan: Plan, steps: int = STEPS, accumulate: int = 1) -> dict[str, Any]:
    """Losses, counts, the gradients of the first step and the state after the last."""
    torch.set_num_threads(1)
    seed_everything(0)
    state.model.train()
    losses: list[float] = []
    gradients: list[Tensor] = []
    counts: list[tuple[int, int]] = []
    epoch = 0
    while len(losses) < steps:
        batches = list(plan.train.iterate(epoch))
        epoch += 1
        for at in range(0, len(batches), accumulate):
            result = train_step(
                *(state.model, state.optimizer, batches[at : at + accumulate], state.precision, plan.loss),
                *(plan.config, len(losses) + 1, plan.seed, plan.ranks),
            )
            gradients = gradients or [
                parameter.grad.clone() for parameter in state.model.parameters() if parameter.grad is not None
            ]
            losses.append(result.loss_sum / result.n_samples)
            counts.append((result.n_correct, result.n_samples))
    return {
        "losses": losses[:steps],
        "counts": counts[:steps],
        "gradients": gradients,
        "model": {name: value.clone() for name, value in state.model.state_dict().items()},
    }


def together(workshop: Any, case: str, folder: Path, world: int, **train: Any) -> list[dict[str, Any]]:
    def work(ranks: Ranks) -> dict[str, Any]:
        state, plan = made(workshop, case, **train)
        plan = shared(state, plan, ranks)
        return trained(state, plan, accumulate=plan.config.accumulate)

    return in_ranks(work, folder, world)


def assert_same(alone: dict[str, Any], shares: list[dict[str, Any]]) -> None:
    for share in shares:
        for before, now in zip(alone["gradients"], share["gradients"], strict=True):
            torch.testing.assert_close(now, before, rtol=0, atol=1e-5)
        torch.testing.assert_close(share["losses"], alone["losses"], rtol=0, atol=1e-3)
        assert [n for _, n in share["counts"]] == [n for _, n in alone["counts"]]
    for name, value in shares[0]["model"].items():
        assert all(torch.equal(value, share["model"][name]) for share in shares[1:]), name
        torch.testing.assert_close(value, alone["model"][name], rtol=0, atol=2e-3)


@pytest.mark.parametrize("case", CASES)
def test_two_processes_step_as_one_does(case: str, workshop: Any, tmp_path: Path) -> None:
    state, plan = made(workshop, case)
    assert_same(trained(state, plan), together(workshop, case, tmp_path, 2))


@pytest.mark.parametrize(
    "case", ["CNN with batch normalisation and dropout", "SNN with batch normalisation and dropout"]
)
def test_a_last_batch_of_fewer_samples_than_processes_counts_each_once(
    case: str, workshop: Any, tmp_path: Path
) -> None:
    size = 6 if case.startswith("SNN") else 19  # two samples are left of 20 recordings, or of 40 frames
    state, plan = made(workshop, case, batch_size=size)
    assert len(list(plan.train.iterate(0))[-1]) == 2
    assert_same(trained(state, plan), together(workshop, case, tmp_path, 3, batch_size=size))


def test_accumulated_batches_and_a_clipped_gradient_are_those_of_one_process(workshop: Any, tmp_path: Path) -> None:
    case, options = "CNN with batch normalisation and dropout", {"accumulate": 2, "gradient_clip": 0.5}
    state, plan = made(workshop, case, **options)
    assert_same(trained(state, plan, accumulate=2), together(workshop, case, tmp_path, 2, **options))


def test_an_evaluation_counts_every_sample_once_and_every_process_knows_the_result(
    workshop: Any, tmp_path: Path
) -> None:
    def counted(ranks: Ranks | None) -> Tally:
        state, plan = made(workshop, "DiffLogic", batch_size=5)  # of 16 frames, the last batch has one
        if ranks is not None:
            plan = shared(state, plan, ranks)
        tally = Tally.empty(8, 3)
        for _ in evaluate(
            *(state.model, plan.evaluated["test"], tally, False, plan.device, plan.evaluation_loss, None, ranks)
        ):
            pass
        return tally

    alone = counted(None)
    assert alone.n_samples == 16
    for share in in_ranks(counted, tmp_path, 3):
        assert (share.n_batches, share.n_samples) == (alone.n_batches, 16)
        assert (share.n_correct, share.n_top) == (alone.n_correct, alone.n_top)
        assert torch.equal(share.labels, alone.labels)
        torch.testing.assert_close(share.probabilities, alone.probabilities, rtol=0, atol=1e-6)
        assert share.loss_sum == pytest.approx(alone.loss_sum, abs=1e-5)


def test_spikes_are_counted_as_in_one_process(workshop: Any, tmp_path: Path) -> None:
    def measured(ranks: Ranks | None) -> dict[str, Any]:
        state, plan = made(workshop, "SNN with batch normalisation and dropout", measure_spikes=1, batch_size=5)
        plan = dataclasses.replace(plan, config=plan.config.model_copy(update={"epochs": 1}))
        if ranks is not None:
            plan = shared(state, plan, ranks)
        state.optimizer.param_groups[0]["lr"] = 0.0
        plan = dataclasses.replace(plan, config=plan.config.model_copy(update={"learning_rate": 1e-12}))
        assert fit(state, plan, NoRows(), OnlyStops(ranks.stop if ranks else workshop_stop()))
        return {name: value for name, value in state.progress.measured.items() if "spikes" in name or "ops" in name}

    alone = measured(None)
    assert alone["test_spikes_samples"] == 8
    for share in in_ranks(measured, tmp_path):
        assert share == alone


def workshop_stop() -> Any:
    from difflogic_tonic.runs.signals import StopRequest

    return StopRequest()


def test_only_torchs_own_batch_normalisation_is_replaced_and_its_state_stays() -> None:
    class Special(nn.BatchNorm2d):
        pass

    model = nn.Sequential(nn.BatchNorm2d(3), Special(3), nn.ModuleDict({"inner": nn.BatchNorm1d(2)}))
    parameters, keys = list(model.parameters()), list(model.state_dict())
    share_batch_norm(model)
    assert [type(part) for part in model][:2] == [SharedBatchNorm, Special]
    assert all(now is before for now, before in zip(model.parameters(), parameters, strict=True))
    assert list(model.state_dict()) == keys
    x = torch.randn(4, 3, 2, 2)
    plain = nn.BatchNorm2d(3)
    assert torch.equal(model[0](x), plain(x))  # outside of a shared step it is torch's own
    assert torch.equal(model[0].running_var, plain.running_var)
