"""Mixed precision: what `auto` is, and fp16 that does not work.

There may be no GPU here, so fp16 is computed on the CPU and the loss scaler is torch's own for the CPU: a stand-in for
what `Precision` builds on a GPU, whose fp16 it refuses elsewhere. `NanInHalf` stands for a GPU that computes NaN.
"""

import logging
import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from difflogic_tonic.config.training import Train
from difflogic_tonic.data import Batch
from difflogic_tonic.errors import ConfigError, TrainingDiverged
from difflogic_tonic.nets.spiking.heads import Head
from difflogic_tonic.nets.spiking.inputs import Inputs
from difflogic_tonic.nets.spiking.model import SpikingModel
from difflogic_tonic.nets.spiking.neurons import Neuron
from difflogic_tonic.nets.spiking.rule import NeuronRule
from difflogic_tonic.nets.spiking.stepwise import StepSequential
from difflogic_tonic.train import precision as precision_module
from difflogic_tonic.train.losses import Loss
from difflogic_tonic.train.optimizer import build_optimizer
from difflogic_tonic.train.precision import STOP_SKIPPED, WARN_SKIPPED, Precision, choose_amp
from difflogic_tonic.train.probe import refuse_fp16
from difflogic_tonic.train.session import probe_fp16
from difflogic_tonic.train.step import train_step

CPU = torch.device("cpu")
CLASSES = 11


def half_on_a_cpu() -> Precision:
    """As `Precision("fp16", cuda)` would be."""
    precision = Precision("off", CPU)
    precision.amp, precision.dtype, precision.scaler = "fp16", torch.float16, torch.amp.GradScaler("cpu")
    return precision


class NanInHalf(nn.Conv2d):
    """A convolution that gives NaN in fp16, as on a GeForce GTX 16xx; `after` calls it begins to."""

    after = 0

    def forward(self, x: Tensor) -> Tensor:
        out = super().forward(x)
        self.after -= 1
        return out * math.nan if out.dtype == torch.float16 and self.after < 0 else out


def gesture_net(convolution: type[nn.Conv2d] = nn.Conv2d) -> SpikingModel:
    """A convolution and a dense layer, both with neurons, read by the firing rate, for frames of 2 × 4 × 5."""
    torch.manual_seed(0)
    rule = NeuronRule()
    layers = StepSequential(convolution(2, 6, 3), Neuron(rule), nn.Flatten(), nn.Linear(36, CLASSES), Neuron(rule))
    return SpikingModel(Inputs(), layers, Head("rate"))


def recordings(n: int = 6, brightest: int = 9) -> Batch:
    generator = torch.Generator().manual_seed(3)
    inputs = torch.randint(0, brightest, (n, 4, 40), generator=generator).to(torch.uint8)
    return Batch(inputs, torch.arange(n) % CLASSES, torch.full((n,), 4), torch.arange(n), False, (2, 4, 5), "sequence")


RATE_MSE = Loss("mse", gain=10.0)


def steps(model: nn.Module, precision: Precision, n: int) -> list[Any]:
    settings = Train(optimizer="adam", learning_rate=0.1)
    optimizer = build_optimizer(settings, model)
    return [
        train_step(model, optimizer, [recordings()], precision, RATE_MSE, settings, step) for step in range(1, n + 1)
    ]


def test_fp16_is_refused_without_a_gpu_and_says_why() -> None:
    with pytest.raises(ConfigError, match=r"train\.amp: fp16 needs a CUDA device, this is cpu, where .* slower"):
        Precision("fp16", CPU)


@pytest.mark.parametrize(
    ("wanted", "model_type", "fast", "before", "expected"),
    [
        ("auto", "SNN", True, None, "bf16"),
        ("auto", "CNN", True, None, "bf16"),
        ("auto", "MLP", False, None, "off"),
        ("auto", "DiffLogic", True, None, "off"),
        ("auto", "SNN", True, "bf16", "bf16"),
        ("auto", "SNN", True, "off", "off"),  # a run keeps what it began with
        ("auto", "SNN", False, "bf16", "off"),
        ("bf16", "DiffLogic", False, "off", "bf16"),
        ("off", "SNN", True, "bf16", "off"),
    ],
)
def test_what_auto_means(
    wanted: str, model_type: str, fast: bool, before: Any, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision_module, "is_fast_at_bf16", lambda device: fast)
    assert choose_amp(wanted, model_type, CPU, before) == expected


def test_a_run_that_loses_its_bf16_says_so(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(precision_module, "_cpu_flags", lambda: {"avx512f"})
    assert choose_amp("auto", "SNN", CPU, "bf16") == "off"
    assert "auto was bf16 when this run was last started, which is slow on this cpu: it goes on in fp32" in caplog.text


@pytest.mark.parametrize(
    ("flags", "fast"), [({"fpu", "avx512_bf16"}, True), ({"amx_bf16"}, True), ({"avx512_vnni"}, False), (set(), False)]
)
def test_a_cpu_is_fast_at_bf16_if_it_has_instructions_for_it(
    flags: set[str], fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision_module, "_cpu_flags", lambda: flags)
    assert precision_module.is_fast_at_bf16(CPU) == fast


def test_fp16_that_works_trains_and_skips_nothing_for_good() -> None:
    results = steps(gesture_net(), half_on_a_cpu(), 40)
    assert sum(result.stepped for result in results) >= 38  # the first scale may be too large
    assert results[-1].loss_sum < 0.7 * results[0].loss_sum


def test_fp16_that_computes_nan_learns_nothing_and_is_stopped_with_the_cause(caplog: pytest.LogCaptureFixture) -> None:
    """The loss is exactly 1/11 all along: NaN currents reach no threshold, so nothing ever fires."""
    model, precision = gesture_net(NanInHalf), half_on_a_cpu()
    before = [parameter.clone() for parameter in model.parameters()]
    with caplog.at_level(logging.WARNING):
        results = steps(model, precision, WARN_SKIPPED)
        assert not any(result.stepped for result in results)
        assert {round(result.loss_sum / result.n_samples, 7) for result in results} == {round(1 / 11, 7)}
        assert "step 20: 20 steps in a row had infinite gradients in fp16 (or NaN) and were skipped" in caplog.text
        with pytest.raises(TrainingDiverged) as error:
            steps(model, precision, STOP_SKIPPED - WARN_SKIPPED)
    assert "the last 50 steps were skipped" in str(error.value)
    assert "the loss stood still; use train.amp: bf16 or off (GeForce GTX 16xx" in str(error.value)
    assert all(torch.equal(one, other) for one, other in zip(before, model.parameters(), strict=True))


def test_the_scale_does_not_fall_below_one_and_a_recovered_run_stays_finite() -> None:
    """After 30 halvings 65,536 would be 6e-5."""
    model, precision = gesture_net(NanInHalf), half_on_a_cpu()
    steps(model, precision, 30)
    assert precision.scaler is not None
    assert precision.scaler.get_scale() == 1
    model.network[0].after = 10**9
    results = steps(model, precision, 3)
    assert all(result.stepped for result in results)
    assert precision.skipped_in_a_row == 0
    assert all(bool(parameter.isfinite().all()) for parameter in model.parameters())


def test_the_probe_passes_where_fp16_works_and_changes_nothing() -> None:
    model = gesture_net()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.get_rng_state()
    assert refuse_fp16(model, recordings(), half_on_a_cpu(), RATE_MSE) is None
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_probe_names_the_layer_that_gives_nan() -> None:
    refused = refuse_fp16(gesture_net(NanInHalf), recordings(), half_on_a_cpu(), RATE_MSE)
    assert refused is not None
    assert "network.0 (NanInHalf) gives values that are not finite; training in fp32" in refused
    assert "GTX 16xx" in refused


class WrongInHalf(nn.Linear):
    """Finite numbers that are not the product."""

    def forward(self, x: Tensor) -> Tensor:
        out = super().forward(x)
        return out + 50 if out.dtype == torch.float16 else out


def test_the_probe_compares_the_loss_with_that_of_fp32() -> None:
    model = gesture_net()
    torch.manual_seed(0)
    model.network[3] = WrongInHalf(36, CLASSES)
    refused = refuse_fp16(model, recordings(), half_on_a_cpu(), RATE_MSE)
    assert refused is not None
    assert "the loss of the first batch is 0.909, in fp32" in refused.replace("0.9091", "0.909")


class NanBackwards(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0] * math.nan


class NanGradients(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = NanBackwards.apply(super().forward(x))
        return result


def test_the_probe_wants_gradients_that_are_finite_at_some_scale() -> None:
    model = gesture_net()
    model.network[3] = NanGradients(36, CLASSES)
    refused = refuse_fp16(model, recordings(), half_on_a_cpu(), RATE_MSE)
    assert refused is not None
    assert "the gradients of the first batch are not finite at any scale" in refused


def test_a_loss_that_is_not_finite_names_the_layer_where_it_begins() -> None:
    """Without neurons behind it NaN reaches the loss."""
    model = gesture_net(NanInHalf)
    model.network[1] = nn.Identity()
    model.network[4] = nn.Identity()
    with pytest.raises(TrainingDiverged, match=r"It begins at network\.0 \(NanInHalf\)\. Try a smaller"):
        steps(model, half_on_a_cpu(), 1)


def test_the_loss_is_computed_in_fp32() -> None:
    """In fp16 the sum of 6 squared errors of scores near 300 would be infinite."""
    seen = []

    class Watching(Loss):
        def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
            seen.append((logits.dtype, torch.is_autocast_enabled("cpu")))
            return super().__call__(logits, targets)

    settings = Train(optimizer="sgd", learning_rate=0.1)
    model = gesture_net()
    loss = Watching("mse", gain=10.0)
    train_step(model, build_optimizer(settings, model), [recordings()], half_on_a_cpu(), loss, settings, 1)
    assert seen == [(torch.float32, False)]


def halved(workshop: Any, init_scale: float = 2.0**36) -> Any:
    """A workshop that trains in fp16, with a first scale that is too large for a few steps."""
    build = workshop.state

    def state(config: Any) -> Any:
        made = build(config)
        made.precision = half_on_a_cpu()
        made.precision.scaler = torch.amp.GradScaler("cpu", init_scale=init_scale)
        return made

    workshop.state = state
    return workshop


def test_skipped_steps_are_counted_and_do_not_move_the_schedule(
    workshop: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        outcome = halved(workshop).train(workshop.config("SNN", learning_rate=0.01, warmup_epochs=1.0))
    rows = [row for row in outcome.rows if row["kind"] == "step"]
    skipped = [row["amp_skipped"] for row in rows]
    n_skipped = skipped[-1]
    assert skipped[:3] == [1, 2, 3]
    assert 3 < n_skipped <= STOP_SKIPPED
    steps_per_epoch = 3  # 20 recordings in batches of 7
    assert [row["learning_rate"] for row in rows[:n_skipped]] == [pytest.approx(0.01 / (steps_per_epoch + 1))] * min(
        n_skipped, len(rows)
    )
    epochs = [row for row in outcome.rows if row["kind"] == "epoch"]
    assert epochs[-1]["amp_skipped"] == outcome.state.progress.skipped == n_skipped
    assert f"skipped {n_skipped} steps in fp16" in caplog.text


def test_a_run_in_fp16_resumes_with_its_scale(workshop: Any, another_workshop: Any) -> None:
    config = workshop.config("SNN", epochs=4)
    whole = halved(workshop).train(config)
    halved(another_workshop).train(config, 5)
    resumed = another_workshop.train(config, resume=True)
    for name, value in whole.state.model.state_dict().items():
        assert torch.equal(value, resumed.state.model.state_dict()[name])
    for outcome in (whole, resumed):
        assert outcome.state.progress.skipped == whole.state.progress.skipped > 3
        assert outcome.state.precision.scaler.get_scale() == whole.state.precision.scaler.get_scale()


def test_a_run_goes_on_in_fp32_where_fp16_does_not_work(workshop: Any) -> None:
    config = workshop.config("SNN")
    state = halved(workshop, 2.0**16).state(config)
    inputs = SimpleNamespace(train=workshop.plan(config, state).train)
    assert probe_fp16(state, inputs, config) is None
    assert state.precision.amp == "fp16"
    torch.manual_seed(0)
    state.model.network[0] = NanInHalf(2, 4, 3)
    refused = probe_fp16(state, inputs, config)
    assert refused is not None
    assert "fp16 does not work here: network.0 (NanInHalf)" in refused
    assert (state.precision.amp, state.precision.scaler) == ("off", None)
