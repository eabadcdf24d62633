"""Every named network against SpikingJelly's, with the same weights: outputs, gradients and batch statistics."""

import copy
import sys
import types

import pytest
import torch
from torch import Tensor, nn

from difflogic_tonic.config.catalogue import ResNet
from difflogic_tonic.nets.spiking.catalogue import build_network
from difflogic_tonic.nets.spiking.neurons import Neuron
from difflogic_tonic.nets.spiking.resnet import SpikingResNet
from difflogic_tonic.nets.spiking.rule import NeuronRule
from difflogic_tonic.nets.spiking.steps import pack_steps

neuron = pytest.importorskip("spikingjelly.activation_based.neuron")
from spikingjelly.activation_based import functional, layer, surrogate  # noqa: E402

STEPS, SAMPLES = 3, 2
PLIF_FRAMES = {  # network: its class there, and the frames that it is for
    "plif_mnist": ("MNISTNet", (1, 28, 28), 10),
    "plif_fashionmnist": ("FashionMNISTNet", (1, 28, 28), 10),
    "plif_nmnist": ("NMNISTNet", (2, 34, 34), 10),
    "plif_cifar10": ("CIFAR10Net", (3, 32, 32), 10),
    "plif_cifar10dvs": ("CIFAR10DVSNet", (2, 128, 128), 10),
    "plif_dvsgesture": ("DVSGestureNet", (2, 128, 128), 11),
}
KINDS = {
    "if": (NeuronRule(kind="if", detach_reset=False), neuron.IFNode, {"detach_reset": False}),
    "lif": (NeuronRule(tau=2.0, reset="soft"), neuron.LIFNode, {"tau": 2.0, "v_reset": None}),
    "plif": (
        NeuronRule(kind="plif", tau=2.0, decay_input=False),
        neuron.ParametricLIFNode,
        {"init_tau": 2.0, "decay_input": False},
    ),
}


def ours_and_theirs(kind: str):
    """A maker of our neurons, and the arguments that make SpikingJelly's networks have the same."""
    rule, node, constants = KINDS[kind]
    arguments = {"spiking_neuron": node, "surrogate_function": surrogate.ATan(), "detach_reset": True, **constants}
    return (lambda: Neuron(rule, "reference")), arguments


@pytest.fixture
def their_resnets(monkeypatch):
    """Their modules import torchvision, which is no dependency, for a download that is not used."""
    for name in ("torchvision", "torchvision.models", "torchvision.models.utils"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setattr(sys.modules["torchvision.models.utils"], "load_state_dict_from_url", None, raising=False)
    from spikingjelly.activation_based.model import sew_resnet, spiking_resnet

    return types.SimpleNamespace(
        spiking_resnet=spiking_resnet,
        sew_resnet=sew_resnet,
        **{
            name: make for name, make in [*vars(spiking_resnet).items(), *vars(sew_resnet).items()] if "_resnet" in name
        },
    )


def lively(network: nn.Module) -> nn.Module:
    """Weights that make every layer spike now and then; random statistics of batch normalisations."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 1, 2)
            nn.init.uniform_(module.bias, 0.5, 1.2)
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.2, 0.5)
        elif isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight)
            module.weight.data.mul_(6)
    return network


def their_steps(network: nn.Module, x: Tensor, mode: str) -> Tensor:
    functional.reset_net(network)
    functional.set_step_mode(network, mode)
    for module in network.modules():
        if isinstance(module, layer.LinearRecurrentContainer):
            functional.set_step_mode(module.sub_module, "s")
    return network(x) if mode == "m" else torch.stack([network(frame) for frame in x])


def assert_equal(ours: nn.Module, theirs: nn.Module, frame: tuple[int, int, int]) -> None:
    """In training many steps at once; in evaluation step by step too, where their batch statistics are the same."""
    torch.manual_seed(0)
    lively(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(copy.deepcopy(theirs.state_dict()))
    x = torch.rand(STEPS, SAMPLES, *frame)
    steps = pack_steps(STEPS, SAMPLES, None, x.device)
    for training, modes in ((True, "m"), (False, "ms")):
        ours.train(training).zero_grad()
        found = ours(steps.pack(x), steps).unflatten(0, (STEPS, SAMPLES))
        factors = torch.randn(found.shape)
        (found * factors).sum().backward()
        assert found.abs().mean() > 0.01
        for mode in modes:
            theirs.train(training).zero_grad()
            expected = their_steps(theirs, x, mode)
            (expected * factors).sum().backward()
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
            for (name, mine), (_, their) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
                scale = their.grad.abs().max()
                assert (mine.grad - their.grad).abs().max() <= 1e-4 * scale + 1e-7, name
        for (name, mine), (_, their) in zip(ours.named_buffers(), theirs.named_buffers(), strict=True):
            torch.testing.assert_close(mine, their, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("name", PLIF_FRAMES)
def test_parametric_lif_networks_are_theirs(name):
    from spikingjelly.activation_based.model import parametric_lif_net

    their_name, frame, classes = PLIF_FRAMES[name]
    new, arguments = ours_and_theirs("plif")
    theirs = getattr(parametric_lif_net, their_name)(3, **arguments)
    for module in theirs.modules():
        if isinstance(module, layer.Dropout):
            module.p = 0.0
    ours = build_network(name, frame, classes, new, spiking=True, channels=3, dropout=0.0, seed=0)
    assert_equal(ours, theirs, frame)


def test_the_fashion_mnist_network_is_theirs():
    new, arguments = ours_and_theirs("if")
    node = arguments.pop("spiking_neuron")
    channels = 3

    class CSNN(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv_fc = nn.Sequential(
                layer.Conv2d(1, channels, kernel_size=3, padding=1, bias=False),
                layer.BatchNorm2d(channels),
                node(**arguments),
                layer.MaxPool2d(2, 2),
                layer.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False),
                layer.BatchNorm2d(channels),
                node(**arguments),
                layer.MaxPool2d(2, 2),
                layer.Flatten(),
                layer.Linear(channels * 7 * 7, channels * 4 * 4, bias=False),
                node(**arguments),
                layer.Linear(channels * 4 * 4, 10, bias=False),
                node(**arguments),
            )

        def forward(self, x):
            return self.conv_fc(x)

    ours = build_network("csnn", (1, 28, 28), 10, new, spiking=True, channels=channels, seed=0)
    assert_equal(ours, CSNN(), (1, 28, 28))


@pytest.mark.parametrize("depth", [18, 34, 50, 101])
@pytest.mark.parametrize("family", ["spiking", "sew"])
def test_resnets_have_their_weights(their_resnets, family, depth):
    name = f"{family}_resnet{depth}"
    new, arguments = ours_and_theirs("plif")
    with torch.device("meta"):
        theirs = getattr(their_resnets, name)(num_classes=5, **arguments)
        ours = build_network(name, (3, 64, 64), 5, new, spiking=False, seed=0)
    assert [(key, value.shape) for key, value in ours.state_dict().items()] == [
        (key, value.shape) for key, value in theirs.state_dict().items()
    ]


@pytest.mark.parametrize("bottleneck", [False, True])
@pytest.mark.parametrize("connect", [None, "ADD", "AND", "IAND"])
def test_short_resnets_compute_what_theirs_do(their_resnets, connect, bottleneck):
    """One block and two: each kind of block and of shortcut is there."""
    new, arguments = ours_and_theirs("lif" if bottleneck else "if")
    blocks = (1, 2, 0, 0)
    if connect is None:
        module, family, extra = their_resnets.spiking_resnet, "SpikingResNet", {}
    else:
        module, family, extra = their_resnets.sew_resnet, "SEWResNet", {"cnf": connect}
    block = module.Bottleneck if bottleneck else module.BasicBlock
    theirs = getattr(module, family)(block, [1, 2, 1, 1], num_classes=5, **extra, **arguments)
    theirs.layer3 = theirs.layer4 = nn.Sequential()  # wide, and slow
    theirs.fc = layer.Linear(128 * block.expansion, 5)
    facts = ResNet(blocks, bottleneck, sew=connect is not None)
    ours = SpikingResNet(facts, 3, 5, new, connect=connect or "ADD")
    assert_equal(ours, theirs, (3, 24, 33))


@pytest.mark.parametrize("name", ["plain_net", "synapse_net", "feedback_net"])
def test_networks_for_sequential_fashion_mnist_are_theirs(name):
    new, arguments = ours_and_theirs("if")
    node = arguments.pop("spiking_neuron")
    hidden = {
        "plain_net": [node(**arguments)],
        "synapse_net": [node(**arguments), layer.SynapseFilter(tau=2.0, learnable=True)],
        "feedback_net": [layer.LinearRecurrentContainer(node(**arguments), 32, 32)],
    }

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Sequential(layer.Linear(28, 32), *hidden[name], layer.Linear(32, 10), node(**arguments))

        def forward(self, x):
            return self.fc(x.flatten(-3))

    ours = build_network(name, (1, 28, 1), 10, new, spiking=True, seed=0)
    assert_equal(ours, Net(), (1, 28, 1))
