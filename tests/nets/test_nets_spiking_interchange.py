"""Weights from and for other libraries. What torchvision's ResNets are is written out here: it is not installed."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from difflogic_tonic.errors import ConfigError
from difflogic_tonic.nets.spiking.catalogue import build_network
from difflogic_tonic.nets.spiking.interchange import from_peer, to_spikingjelly, to_torchvision
from difflogic_tonic.nets.spiking.neurons import Neuron
from difflogic_tonic.nets.spiking.rule import NeuronRule
from difflogic_tonic.nets.spiking.steps import PackedSteps, pack_steps
from difflogic_tonic.nets.spiking.stepwise import StepModule

NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
TORCHVISION = {  # depth: blocks, convolutions of a block, tensors of the state, trainable parameters
    18: ((2, 2, 2, 2), 2, 122, 11_689_512),
    34: ((3, 4, 6, 3), 2, 218, 21_797_672),
    50: ((3, 4, 6, 3), 3, 320, 25_557_032),
    101: ((3, 4, 23, 3), 3, 626, 44_549_160),
}


def torchvision_keys(depth: int) -> list[str]:
    """In the order in which they are saved."""
    blocks, convolutions, _, _ = TORCHVISION[depth]

    def norm(name: str) -> list[str]:
        return [f"{name}.{part}" for part in NORM]

    keys = ["conv1.weight", *norm("bn1")]
    for stage, count in enumerate(blocks, start=1):
        for block in range(count):
            name = f"layer{stage}.{block}"
            for place in range(1, convolutions + 1):
                keys += [f"{name}.conv{place}.weight", *norm(f"{name}.bn{place}")]
            if block == 0 and (stage > 1 or convolutions == 3):
                keys += [f"{name}.downsample.0.weight", *norm(f"{name}.downsample.1")]
    return [*keys, "fc.weight", "fc.bias"]


def build(name: str, channels: int = 3, classes: int = 5, kind: str = "if", **keys) -> nn.Module:
    rule = NeuronRule(kind=kind, tau=2.0)
    frame = (channels, 64, 64)
    return build_network(name, frame, classes, lambda: Neuron(rule, "reference"), spiking=False, seed=0, **keys)


@pytest.mark.parametrize("family", ["spiking", "sew"])
@pytest.mark.parametrize("depth", TORCHVISION)
def test_resnets_have_the_keys_and_sizes_of_torchvision(family, depth):
    with torch.device("meta"):
        network = build(f"{family}_resnet{depth}", classes=1000)
    keys = torchvision_keys(depth)
    assert list(network.state_dict()) == keys
    assert len(keys) == TORCHVISION[depth][2]
    assert sum(parameter.numel() for parameter in network.parameters()) == TORCHVISION[depth][3]


def conv_fc_keys(blocks: int, dense: tuple[int, int]) -> list[str]:
    """Of SpikingJelly's parametric-LIF networks since 0.0.0.0.14, one convolution to a block."""
    keys = []
    for place in range(0, 4 * blocks, 4):
        keys += [f"conv_fc.{place}.weight", *(f"conv_fc.{place + 1}.{part}" for part in NORM), f"conv_fc.{place + 2}.w"]
    for place in dense:
        keys += [f"conv_fc.{place}.weight", f"conv_fc.{place}.bias", f"conv_fc.{place + 1}.w"]
    return keys


@pytest.mark.parametrize(
    ("name", "frame", "classes", "keys", "parameters"),
    [
        ("plif_dvsgesture", (2, 128, 128), 11, conv_fc_keys(5, (22, 25)), 1_698_926 + 7),
        ("plif_nmnist", (2, 34, 34), 10, conv_fc_keys(2, (10, 13)), None),
    ],
)
def test_networks_with_votes_have_the_keys_of_spikingjelly(name, frame, classes, keys, parameters):
    with torch.device("meta"):
        rule = NeuronRule(kind="plif", tau=2.0)
        network = build_network(name, frame, classes, lambda: Neuron(rule), spiking=True, seed=0)
    assert list(network.state_dict()) == keys
    assert parameters in (None, sum(parameter.numel() for parameter in network.parameters()))


class ReLU(StepModule):
    """What an ordinary network has where a spiking one has neurons."""

    def forward(self, x: Tensor, steps: PackedSteps) -> Tensor:
        return F.relu(x)


def resnet18(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """He et al. 2016 by hand, in evaluation."""

    def conv(x: Tensor, name: str, stride: int = 1) -> Tensor:
        weight = state[f"{name}.weight"]
        return F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)

    def norm(x: Tensor, name: str) -> Tensor:
        mean, var, weight, bias = (
            state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(x, mean, var, weight, bias)

    x = F.max_pool2d(F.relu(norm(conv(x, "conv1", 2), "bn1")), 3, 2, 1)
    for stage in (1, 2, 3, 4):
        for block in (0, 1):
            name, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            out = F.relu(norm(conv(x, f"{name}.conv1", stride), f"{name}.bn1"))
            out = norm(conv(out, f"{name}.conv2"), f"{name}.bn2")
            shortcut = f"{name}.downsample"
            x = F.relu(out + (norm(conv(x, f"{shortcut}.0", stride), f"{shortcut}.1") if stride == 2 else x))
    return F.linear(x.mean((2, 3)), state["fc.weight"], state["fc.bias"])


def test_the_weights_of_an_ordinary_resnet_compute_in_ours_what_they_compute_there():
    state = build("spiking_resnet18").state_dict()
    torch.manual_seed(0)
    for key, value in state.items():
        if "running" in key or key.endswith("bias"):
            value.uniform_(0.1, 0.5)
    ordinary = build_network("spiking_resnet18", (3, 64, 64), 5, ReLU, spiking=False, seed=1).eval()
    given, notes = from_peer(ordinary, state)
    ordinary.load_state_dict(given)
    x = torch.rand(2, 3, 40, 33)
    found = ordinary(x, pack_steps(1, 2, None, x.device))
    torch.testing.assert_close(found, resnet18(state, x), rtol=1e-5, atol=1e-5)
    assert notes == []


def test_weights_of_a_thousand_classes_are_taken_up_to_the_last_layer():
    theirs, ours = build("spiking_resnet18", classes=7, channels=3).state_dict(), build("spiking_resnet18")
    theirs = {key: torch.ones_like(value) for key, value in theirs.items()}
    state, notes = from_peer(ours, theirs)
    assert notes == ["its last layer is for 7 classes; that for 5 keeps its start"]
    ours.load_state_dict(state)
    assert (ours.layer4[1].conv2.weight == 1).all()
    assert (ours.fc.weight != 1).all()


def test_a_first_convolution_for_colours_gives_the_same_for_grey_frames_of_events():
    colours, events = build("sew_resnet18"), build("sew_resnet18", channels=2)
    state, notes = from_peer(events, colours.state_dict())
    assert notes == ["its first convolution is for 3 channels; its mean is used for each of 2"]
    events.load_state_dict(state)
    grey = torch.rand(1, 1, 20, 16)
    torch.testing.assert_close(events.conv1(grey.expand(1, 2, 20, 16)), colours.conv1(grey.expand(1, 3, 20, 16)))


def test_another_stem_is_refused_with_the_key_to_set():
    large, small = build("spiking_resnet18", channels=3, stem="imagenet"), build("spiking_resnet18", stem="small")
    with pytest.raises(ConfigError, match=r"7×7 kernels, the network 3×3; use model\.snn\.stem: imagenet"):
        from_peer(small, large.state_dict())
    with pytest.raises(ConfigError, match=r"3×3 kernels, the network 7×7; use model\.snn\.stem: small"):
        from_peer(large, small.state_dict())


def test_parametric_neurons_keep_their_start_beside_weights_that_have_none():
    ours = build("sew_resnet18", kind="plif")
    state, notes = from_peer(ours, build("sew_resnet18").state_dict())
    assert notes == ["20 time constants of neurons are not in it and keep their start"]
    ours.load_state_dict(state)


def test_weights_of_parametric_neurons_name_the_key_that_makes_them_fit():
    for name in ("csnn", "sew_resnet18"):
        with pytest.raises(ConfigError, match=r"learn their time constant \(.*\.w\); use model\.snn\.neuron: plif"):
            from_peer(build(name, channels=3), build(name, kind="plif").state_dict())
    filters, plain = build("synapse_net"), build("plain_net")
    assert "fc.2.w" in from_peer(plain, filters.state_dict())[0]


def test_prefixes_of_parallel_training_are_taken_off_and_counters_that_are_missing_begin_at_zero():
    ours = build("csnn", channels=2)
    theirs = {f"module.{key}": value for key, value in ours.state_dict().items() if "batches" not in key}
    state, notes = from_peer(ours, theirs)
    ours.load_state_dict(state)
    assert notes == []


def test_what_does_not_fit_is_left_for_the_loader_to_name():
    state, _ = from_peer(build("csnn", channels=2), {"other": torch.zeros(1)})
    assert "other" in state


def test_states_go_back_under_the_keys_of_the_others():
    ours = build("sew_resnet18", kind="plif")
    of_a_model = {f"network.{key}": value for key, value in ours.state_dict().items()}
    assert list(to_spikingjelly(of_a_model)) == list(ours.state_dict())
    assert list(to_torchvision(of_a_model)) == torchvision_keys(18)
    with pytest.raises(ConfigError, match=r"no ResNet, which has layer1\.0\.conv1\.weight: conv_fc\.0\.weight"):
        to_torchvision(build("csnn", channels=2).state_dict())
