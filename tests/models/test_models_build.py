import pytest
import torch

from difflogic_tonic import models
from difflogic_tonic.config.networks import Model
from difflogic_tonic.errors import ConfigError
from difflogic_tonic.nets.spiking.neurons import Neuron

FRAME = (2, 9, 8)
SMALL: dict[str, dict] = {
    "DiffLogic": {"difflogic": {"num_neurons": 80, "num_layers": 2}},
    "CNN": {"cnn": {"hidden": 8}},
    "MLP": {"mlp": {"hidden": [8]}},
    "SNN": {"snn": {"architecture": "3C3-MP2-4C2-FC4", "threshold": 0.2}},
}


def build(model_type: str, seed: int = 0, **sections) -> torch.nn.Module:
    return models.build(Model(model_type=model_type, **(sections or SMALL[model_type])), FRAME, 4, seed)


def some_frames(view: str) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    shape = (5, 3, *FRAME) if view == "sequence" else (3, *FRAME)
    return torch.randint(0, 4, shape, generator=generator).float()


@pytest.mark.parametrize("model_type", models.TABLE)
def test_every_model_takes_its_view_and_learns(model_type):
    model = build(model_type)
    assert model.view == models.default_view(model_type)
    logits = model(some_frames(model.view), torch.tensor([5, 1, 3]))
    assert logits.shape == (3, 4)
    assert logits.dtype == torch.float32
    torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1, 2])).backward()
    assert all(p.grad.abs().max() > 0 for p in model.parameters())


def test_only_the_spiking_network_sees_sequences():
    views = {model_type: models.default_view(model_type) for model_type in models.TABLE}
    assert views == {"DiffLogic": "frames", "CNN": "frames", "MLP": "frames", "SNN": "sequence"}


@pytest.mark.parametrize("model_type", models.TABLE)
def test_the_whole_state_depends_on_the_seed_only(model_type):
    torch.manual_seed(1)
    first = build(model_type, seed=7).state_dict()
    torch.manual_seed(2)
    again, other = build(model_type, seed=7).state_dict(), build(model_type, seed=8).state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


def test_a_logic_network_sees_only_whether_an_event_fell():
    model = build("DiffLogic")
    x = some_frames("frames")
    assert torch.equal(model(x), model((x > 0).float()))
    assert not torch.equal(model(x), model(1 - (x > 0).float()))


def test_settings_of_the_config_reach_the_network():
    snn = {"architecture": "FC4", "tau": 3.0, "threshold": 0.5, "surrogate": "triangle", "reset": "soft"}
    model = build("SNN", snn=snn | {"detach_reset": False, "readout": "rate"})
    rule = next(module.rule for module in model.modules() if isinstance(module, Neuron))
    assert (rule.tau, rule.threshold, rule.surrogate, rule.reset, rule.detach_reset) == (
        3.0, 0.5, "triangle", "soft", False,
    )  # fmt: skip
    dropout = next(m for m in build("CNN", cnn={"dropout": 0.3}).modules() if isinstance(m, torch.nn.Dropout))
    assert dropout.p == 0.3
    assert build("DiffLogic", difflogic={"num_neurons": 80, "tau": 3.5}).network.head.tau == 3.5


def test_an_architecture_that_does_not_fit_is_a_config_error_naming_the_token():
    with pytest.raises(ConfigError, match=r"model\.snn: architecture '3C3-99FC4': token 2, '99FC4': 99 inputs"):
        build("SNN", snn={"architecture": "3C3-99FC4"})


def test_a_cost_that_a_model_does_not_have_is_absent():
    logic = models.describe(build("DiffLogic"), FRAME)
    assert logic == {"parameters": 2 * 80 * 16, "gates": 160}
    assert "gates" not in models.describe(build("MLP"), FRAME)


def test_multiplications_are_counted_by_hand():
    assert models.describe(build("MLP"), FRAME)["macs"] == 144 * 8 + 8 * 4
    # 3C3 on 9×8: 7×6 places, 2*9 each, 3 maps; pooled to 3×3; 4C2: 2×2 places, 3*4 each, 4 maps; FC 16 to 4
    assert models.describe(build("SNN"), FRAME)["macs"] == 7 * 6 * 18 * 3 + 2 * 2 * 12 * 4 + 16 * 4


def test_multiplications_of_a_spiking_network_are_those_of_one_step():
    feedback = build("SNN", snn={"architecture": "feedback_net", "encoding": "columns"})
    # 2 polarities of 9 rows to 32, 32 and their 32 spikes to 32, 32 to 4, at each of 8 columns
    assert models.describe(feedback, FRAME)["macs"] == 18 * 32 + 64 * 32 + 32 * 4


def test_multiplications_of_named_networks_are_counted_by_hand():
    # 3×3 kernels at 9×8 places from 2 channels to 4, at 4×4 from 4 to 4; 4 * 2×2 to 64, 64 to 4
    csnn = build("SNN", snn={"architecture": "csnn", "channels": 4})
    assert models.describe(csnn, FRAME)["macs"] == 72 * 18 * 4 + 16 * 36 * 4 + 16 * 64 + 64 * 4
    # two blocks to a stage of 2, 4, 8 and 16 channels on 9×8, 5×4, 3×2 and 2×1 pixels; 3×3 stem; 1×1 shortcuts
    resnet = build("SNN", snn={"architecture": "spiking_resnet18", "channels": 2})
    stages = [(72, 2, 2), (20, 2, 4), (6, 4, 8), (2, 8, 16)]
    blocks = sum(places * 9 * (arriving * width + 3 * width * width) for places, arriving, width in stages)
    shortcuts = sum(places * arriving * width for places, arriving, width in stages[1:])
    assert models.describe(resnet, FRAME)["macs"] == 72 * 18 * 2 + blocks + shortcuts + 16 * 4


def test_describing_leaves_the_model_as_it_was():
    model = build("SNN", snn={"architecture": "3C3-BN-MP2-FC4"})
    before = {key: value.clone() for key, value in model.state_dict().items()}
    models.describe(model, FRAME)
    assert model.training
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_a_logic_network_learns_and_is_wired_as_the_config_says():
    network = build(
        "DiffLogic", difflogic={"num_neurons": 80, "parametrization": "light", "wiring": "structured"}
    ).network
    layer = network.layers[0]
    assert layer.weight.shape == (80, 4)
    plain = build("DiffLogic", difflogic={"num_neurons": 80, "wiring": "random"}).network
    assert not torch.equal(layer.wiring, plain.layers[0].wiring)
