"""The shipped configs of spiking networks: each builds its network and takes a training step on two samples."""

from pathlib import Path

import pytest
import torch

from difflogic_tonic import models
from difflogic_tonic.config import DATASETS, load_train_config
from difflogic_tonic.data import Batch
from difflogic_tonic.train.losses import training_loss
from difflogic_tonic.train.optimizer import build_optimizer
from difflogic_tonic.train.precision import Precision
from difflogic_tonic.train.step import train_step

pytestmark = pytest.mark.integration
CONFIGS = sorted(path.stem for path in (Path(__file__).parents[2] / "configs").glob("*_snn*.yaml"))
PARAMETERS = {
    "mnist_snn": 12 * 25 + 12 + 64 * 12 * 25 + 64 + 1024 * 10 + 10,
    "nmnist_snn_csnn": 12 * 2 * 25 + 12 + 64 * 12 * 25 + 64 + 1600 * 10 + 10,
    # SpikingJelly's network with 128 channels has 1,698,926 with neurons that learn nothing; here 7 layers learn one
    "dvsgesture_snn_plif": 1_698_926 + 7,
    "fashionmnist_snn": 9 * 128 + 2 * 128 + 128 * 128 * 9 + 2 * 128 + 128 * 49 * 128 * 16 + 128 * 16 * 10,
    "fashionmnist_snn_rows_plain": 28 * 32 + 32 + 32 * 10 + 10,
}
"""Weights of networks that are known by their number."""


def test_they_are_all_there() -> None:
    assert len(CONFIGS) >= 20


@pytest.mark.parametrize("name", CONFIGS)
def test_it_takes_a_step(name: str, repository: Path) -> None:
    config = load_train_config(repository / "configs" / f"{name}.yaml")
    if config.model.snn.steps is not None:  # as many as the config says would only take longer
        config = load_train_config(config.source, ["model.snn.steps=2"])
    facts = DATASETS[config.data.name]
    shape = config.sample_shape
    assert shape is not None
    classes = facts.n_classes or 0
    torch.set_num_threads(1)
    model = models.build(config.network, shape, classes, config.base.seed)
    if name in PARAMETERS:
        assert models.describe(model, shape)["parameters"] == PARAMETERS[name]
    lengths = torch.ones(2, dtype=torch.int64) if facts.kind == "images" else torch.tensor([2, 1])
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randint(4, (2, int(lengths.max()), shape[0] * shape[1] * shape[2]), generator=generator)
    batch = Batch(
        inputs.to(torch.uint8) * (80 if facts.kind == "images" else 1),
        torch.tensor([0, classes - 1]),
        lengths,
        torch.tensor([0, 1]),
        False,
        shape,
        "sequence",
    )
    before = [weight.clone() for weight in model.parameters()]
    result = train_step(
        model,
        build_optimizer(config.training, model),
        [batch],
        Precision("off", torch.device("cpu")),
        training_loss(config),
        config.training,
        1,
    )
    assert result.n_samples == 2
    assert any(not torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))
