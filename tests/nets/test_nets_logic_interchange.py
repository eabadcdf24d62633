import pytest
import torch
from torch import Tensor, nn

from difflogic_tonic.errors import ConfigError
from difflogic_tonic.models.encoding import BinaryFrames
from difflogic_tonic.nets.logic import LogicNetwork
from difflogic_tonic.nets.logic.interchange import (
    from_difflogic,
    from_torchlogix,
    sizes_of,
    to_difflogic,
    to_torchlogix,
)

# value of each of the sixteen gates on real a and b, in the order of both libraries
GATES = [
    lambda a, b: 0 * a,
    lambda a, b: a * b,
    lambda a, b: a - a * b,
    lambda a, b: a,
    lambda a, b: b - a * b,
    lambda a, b: b,
    lambda a, b: a + b - 2 * a * b,
    lambda a, b: a + b - a * b,
    lambda a, b: 1 - (a + b - a * b),
    lambda a, b: 1 - (a + b - 2 * a * b),
    lambda a, b: 1 - b,
    lambda a, b: 1 - b + a * b,
    lambda a, b: 1 - a,
    lambda a, b: 1 - a + a * b,
    lambda a, b: 1 - a * b,
    lambda a, b: 0 * a + 1,
]


class PeerLayer(nn.Module):
    """A layer as difflogic has it: [batch, features], wiring that is not in the state."""

    def __init__(self, in_features: int, neurons: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.randn(neurons, 16))
        self.indices = (torch.randint(in_features, (neurons,)), torch.randint(in_features, (neurons,)))

    def forward(self, x: Tensor) -> Tensor:
        a, b = x[:, self.indices[0]], x[:, self.indices[1]]
        share = torch.softmax(self.weights, -1)
        return sum(share[:, gate] * GATES[gate](a, b) for gate in range(16))


def peer() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), PeerLayer(9, 12), PeerLayer(12, 8))


def head(x: Tensor) -> Tensor:
    return x.reshape(len(x), 2, 4).sum(-1) / 3.0


def ours(seed: int = 0) -> LogicNetwork:
    return LogicNetwork(9, [12, 8], 2, 2, tau=3.0, seed=seed)


def test_a_difflogic_network_predicts_the_same_here_and_back_there():
    model = peer()
    network = ours()
    network.load_state_dict(from_difflogic(model.state_dict(), [model[1].indices, model[2].indices]))
    x = torch.rand(5, 9)
    torch.testing.assert_close(network(x), head(model(x)))

    other = ours(seed=1)
    state, indices = to_difflogic(other.state_dict(), first=1)
    model.load_state_dict(state)
    model[1].indices, model[2].indices = indices
    torch.testing.assert_close(other(x), head(model(x)))


def test_a_torchlogix_state_goes_there_and_back():
    state = ours(seed=3).state_dict()
    theirs = to_torchlogix(state, first=1)
    assert list(theirs) == ["1.weight", "1.connections.indices", "2.weight", "2.connections.indices"]
    assert theirs["1.connections.indices"].dtype == torch.int64
    back = from_torchlogix(theirs)
    assert all(torch.equal(back[key], state[key]) for key in state)
    assert sizes_of(back) == (9, [12, 8])


def test_the_state_in_the_file_of_a_trained_model_is_taken_and_made():
    trained = BinaryFrames(ours(seed=3)).state_dict()
    assert all(key.startswith("network.") for key in trained)
    back = from_torchlogix(to_torchlogix(trained), prefix="network.")
    assert all(torch.equal(back[key], trained[key]) for key in trained)
    weights, indices = to_difflogic(trained)
    assert from_difflogic(weights, indices, prefix="network.").keys() == trained.keys()
    BinaryFrames(ours()).load_state_dict(back)


def test_layers_are_ordered_by_number_not_by_spelling():
    theirs = {f"{layer}.weight": torch.full((4, 16), float(layer)) for layer in (10, 9, 2)}
    theirs |= {f"{layer}.connections.indices": torch.zeros(2, 4, dtype=torch.int64) for layer in (10, 9, 2)}
    assert [from_torchlogix(theirs)[f"layers.{layer}.weight"][0, 0].item() for layer in range(3)] == [2, 9, 10]


def test_a_difflogic_state_without_its_indices_is_refused():
    with pytest.raises(ConfigError, match="2 logic layers, but the indices of 0"):
        from_difflogic(peer().state_dict(), [])


def test_other_parametrizations_and_other_states_are_refused():
    light = LogicNetwork(9, [12, 8], 2, 2, parametrization="light").state_dict()
    with pytest.raises(ConfigError, match="parametrization raw"):
        to_torchlogix(light)
    with pytest.raises(ConfigError, match="freeze_wiring"):
        to_difflogic(LogicNetwork(9, [12, 8], 2, 2, wiring="learnable").state_dict())
    with pytest.raises(ConfigError, match=r"layer 0: weights \(12, 4\)"):
        from_torchlogix({"0.weight": torch.zeros(12, 4), "0.connections.indices": torch.zeros(2, 12)})
    with pytest.raises(ConfigError, match=r"no NUMBER\.weights among the keys 0\.bias"):
        from_difflogic({"0.bias": torch.zeros(1)}, [])
