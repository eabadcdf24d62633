"""A loss that stands still names its cause: frames of 1 × 2 × 3, four classes."""

import logging
import math

import pytest
import torch
from torch import nn

from difflogic_tonic.config.training import Train
from difflogic_tonic.data import Batch
from difflogic_tonic.nets.spiking.heads import Head
from difflogic_tonic.nets.spiking.inputs import Inputs
from difflogic_tonic.nets.spiking.model import SpikingModel
from difflogic_tonic.nets.spiking.neurons import Neuron
from difflogic_tonic.nets.spiking.rule import NeuronRule
from difflogic_tonic.nets.spiking.stepwise import StepSequential
from difflogic_tonic.train.flat import FLAT_STEPS, count_flat_steps
from difflogic_tonic.train.losses import Loss
from difflogic_tonic.train.optimizer import build_optimizer
from difflogic_tonic.train.precision import Precision
from difflogic_tonic.train.state import Progress
from difflogic_tonic.train.step import StepResult, train_step

CLASSES = 4
UNREACHED = NeuronRule(threshold=1e6)
ONE_SAMPLE = torch.tensor([0]), torch.tensor([3]), torch.tensor([0])


def network(readout: str, hidden: NeuronRule, last: NeuronRule) -> SpikingModel:
    torch.manual_seed(1)
    layers: list[nn.Module] = [nn.Flatten(), nn.Linear(6, 8), Neuron(hidden), nn.Linear(8, CLASSES)]
    return SpikingModel(
        Inputs(), StepSequential(*layers, *([Neuron(last)] if readout == "rate" else [])), Head(readout)
    )


def train(model: SpikingModel, loss: Loss, steps: int) -> tuple[Progress, float]:
    """Progress, and the mean loss of the last step."""
    inputs = torch.randint(0, 5, (6, 3, 6), generator=torch.Generator().manual_seed(2)).to(torch.uint8)
    batch = Batch(inputs, torch.arange(6) % 4, torch.full((6,), 3), torch.arange(6), False, (1, 2, 3), "sequence")
    settings, progress = Train(learning_rate=0.001), Progress()
    optimizer = build_optimizer(settings, model)
    for step in range(1, steps + 1):
        progress.step = step
        result = train_step(model, optimizer, [batch], Precision("off", torch.device("cpu")), loss, settings, step)
        count_flat_steps(progress, result, loss, CLASSES)
    return progress, result.loss_sum / result.n_samples


@pytest.mark.parametrize(
    ("loss", "stands_at", "said"),
    [
        (Loss("mse", gain=10.0), 1 / CLASSES, "the loss stands at 0.25 (silence is 1/4 = 0.25)"),
        (Loss("cross_entropy", gain=10.0), math.log(CLASSES), "the loss stands at 1.386 (guessing is ln 4 = 1.386)"),
    ],
)
def test_a_silent_output_layer_is_named_once_with_remedies(
    loss: Loss, stands_at: float, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        progress, last = train(network("rate", NeuronRule(), UNREACHED), loss, FLAT_STEPS + 10)
    assert last == pytest.approx(stands_at)
    (record,) = caplog.records
    assert record.message.startswith(f"step {FLAT_STEPS}: the output layer has been silent for {FLAT_STEPS} steps")
    for part in (said, "model.snn.threshold", "BN", "train.learning_rate", "readout: membrane"):
        assert part in record.message
    assert progress.flat == FLAT_STEPS + 10


def test_scores_that_tell_no_samples_apart_are_named(caplog: pytest.LogCaptureFixture) -> None:
    """Hidden neurons that never fire: the last layer's bias is all that arrives."""
    with caplog.at_level(logging.WARNING):
        train(network("membrane", UNREACHED, UNREACHED), Loss(), FLAT_STEPS)
    (record,) = caplog.records
    assert "the class scores have been the same for every sample for 50 steps" in record.message
    assert "a layer passes nothing on" in record.message


def test_a_network_that_learns_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        progress, _ = train(network("membrane", NeuronRule(), UNREACHED), Loss(), FLAT_STEPS + 1)
    assert not caplog.records
    assert progress.flat == 0


def test_one_step_that_says_something_begins_the_count_anew(caplog: pytest.LogCaptureFixture) -> None:
    progress = Progress()
    silent = StepResult(0.25, 0, 1, True, says_nothing=True, silent=True)
    loud = StepResult(0.25, 0, 1, True, says_nothing=False, silent=False)
    for result in [silent] * 49 + [loud] + [silent] * 49:
        count_flat_steps(progress, result, Loss(), CLASSES)
    assert progress.flat == 49
    assert not caplog.records


def test_a_batch_of_one_sample_has_nobody_to_tell_it_from() -> None:
    model = network("membrane", NeuronRule(), UNREACHED)
    batch = Batch(torch.full((1, 3, 6), 4).to(torch.uint8), *ONE_SAMPLE, False, (1, 2, 3), "sequence")
    settings = Train(learning_rate=0.001)
    optimizer = build_optimizer(settings, model)
    result = train_step(model, optimizer, [batch, batch], Precision("off", torch.device("cpu")), Loss(), settings, 1)
    assert not result.says_nothing
