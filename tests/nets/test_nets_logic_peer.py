"""`backend: difflogic`: the layers of that package, where it is installed, on our weights and wiring."""

import sys
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

from difflogic_tonic.errors import ConfigError
from difflogic_tonic.nets.logic import LogicNetwork, hard_mode, peer, set_temperature

IN_FEATURES, BATCH = 15, 6


@pytest.fixture
def package() -> None:
    pytest.importorskip("difflogic", reason="the package difflogic is not installed; it is no dependency")


def network(backend: str, **settings) -> LogicNetwork:
    return LogicNetwork(IN_FEATURES, [11, 12], 2, 3, tau=2.0, seed=5, backend=backend, wiring="unique", **settings)


def inputs() -> torch.Tensor:
    return torch.rand(BATCH, IN_FEATURES, generator=torch.Generator().manual_seed(1))


def loss_and_gradients(model: LogicNetwork, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    model.zero_grad()
    loss = F.cross_entropy(model(x), torch.arange(BATCH) % 3)
    loss.backward()
    return loss.detach(), [parameter.grad for parameter in model.parameters()]


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize("temperature", [1.0, 0.4])
def test_loss_and_gradients_are_those_of_plain_torch(temperature: float) -> None:
    theirs, ours = network("difflogic"), network("eager")
    for model in (theirs, ours):
        set_temperature(model, temperature)
    torch.testing.assert_close(loss_and_gradients(theirs, inputs()), loss_and_gradients(ours, inputs()))


@pytest.mark.usefixtures("package")
def test_weights_trained_with_one_backend_go_on_with_another() -> None:
    trained, other = network("difflogic"), network("eager")
    optimizer = torch.optim.Adam(trained.parameters(), lr=0.1)
    for _ in range(3):
        loss_and_gradients(trained, inputs())
        optimizer.step()
    assert not torch.equal(trained.layers[0].weight, other.layers[0].weight)
    other.load_state_dict(trained.state_dict())
    torch.testing.assert_close(other(inputs()), trained(inputs()))


@pytest.mark.usefixtures("package")
def test_bytes_packed_bits_and_hard_evaluation_are_those_of_plain_torch() -> None:
    theirs, ours = network("difflogic").eval(), network("eager").eval()
    counts = torch.randint(3, (BATCH, IN_FEATURES), generator=torch.Generator().manual_seed(2)).to(torch.uint8)
    places = 2 ** torch.arange(8)
    bits = (F.pad(counts, (0, 1)) > 0).reshape(BATCH, 2, 8)
    packed = (bits * places).sum(-1).to(torch.uint8)
    torch.testing.assert_close(theirs(counts), ours(counts))
    torch.testing.assert_close(theirs(packed, packed=True), ours(counts))
    with hard_mode(theirs), hard_mode(ours):
        assert torch.equal(theirs(counts), ours(counts))


@pytest.mark.usefixtures("package")
def test_it_neither_reads_nor_moves_the_global_generator_and_prints_nothing(capsys: pytest.CaptureFixture) -> None:
    before = torch.get_rng_state()
    network("difflogic")(inputs())
    assert torch.equal(torch.get_rng_state(), before)
    assert capsys.readouterr().out == ""


def test_without_the_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "difflogic", None)
    with pytest.raises(ConfigError, match=r"backend difflogic: the package difflogic cannot be .* `pip install diff"):
        network("difflogic")(inputs())


@pytest.mark.parametrize("settings", [{"parametrization": "light"}, {"estimator": "gumbel"}])
def test_what_its_layers_do_not_compute_is_refused(settings: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="backend difflogic computes parametrization raw with estimator soft, not"):
        network("difflogic", **settings)


def test_its_cuda_kernels_get_the_neurons_that_read_each_input() -> None:
    class LogicLayer:
        implementation = "cuda"
        weights = None

        def __init__(self, *sizes: int, device: str) -> None:
            self.weights = torch.zeros(1)

    layer = peer._layer(SimpleNamespace(LogicLayer=LogicLayer), 4, torch.tensor([[3, 0, 1], [0, 3, 3]]).int())
    # input 0 is read by neurons 0 and 1, input 1 by neuron 2, input 2 by none, input 3 by all three
    assert layer.given_x_indices_of_y_start.tolist() == [0, 2, 3, 3, 6]
    assert layer.given_x_indices_of_y.tolist() == [0, 1, 2, 0, 1, 2]
    assert [part.tolist() for part in layer.indices] == [[3, 0, 1], [0, 3, 3]]
    assert layer.indices[0].dtype == torch.int64
