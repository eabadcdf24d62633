"""Residual networks of spiking neurons: ResNet-18/34/50/101 with neurons in place of ReLU, and their SEW variants.

Keys of a state are those of torchvision's ResNets and of SpikingJelly's spiking_resnet and sew_resnet: neurons have
none, except that a parametric one has its time constant (`layer1.0.sn1.w`).
"""

from collections.abc import Callable

from torch import Tensor, nn

from difflogic_tonic.config.catalogue import ResNet
from difflogic_tonic.nets.spiking.conv import SpikeConv2d
from difflogic_tonic.nets.spiking.layers import NewNeuron
from difflogic_tonic.nets.spiking.steps import PackedSteps
from difflogic_tonic.nets.spiking.stepwise import StepModule, StepSequential, call_layer, in_order

CONNECT: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "ADD": lambda shortcut, out: shortcut + out,
    "AND": lambda shortcut, out: shortcut * out,
    "IAND": lambda shortcut, out: shortcut * (1 - out),
}
"""How the spikes of a block and of its shortcut become one (Fang et al. 2021, equations 4 to 6)."""


class Block(StepModule):
    """Convolutions, each with a BN and neurons, and a shortcut around them.

    With `connect` neurons stand in front of the sum, and it takes spikes; without, behind it, and it takes currents.
    """

    resumable = True

    def __init__(
        self, convolutions: list[nn.Conv2d], shortcut: nn.Module | None, neuron: NewNeuron, connect: str | None
    ) -> None:
        super().__init__()
        self.depth = len(convolutions)
        for place, convolution in enumerate(convolutions, start=1):
            self.add_module(f"conv{place}", convolution)
            self.add_module(f"bn{place}", nn.BatchNorm2d(convolution.out_channels))
            self.add_module(f"sn{place}", neuron())
        self.downsample = shortcut
        self.downsample_sn = neuron() if connect and shortcut is not None else None
        self.connect = connect

    def forward(self, x: Tensor, steps: PackedSteps) -> Tensor:
        """Spikes [sum(counts), C, H, W] to spikes; with `connect: ADD` to sums of them."""
        out: Tensor = x
        for place in range(1, self.depth + 1):
            out = self.get_submodule(f"bn{place}")(self.get_submodule(f"conv{place}")(out))
            if place < self.depth or self.connect:
                out = self.get_submodule(f"sn{place}")(out, steps)
        shortcut = x if self.downsample is None else self.downsample(x)
        if self.connect is None:
            return call_layer(self.get_submodule(f"sn{self.depth}"), out + shortcut, steps)
        if self.downsample_sn is not None:
            shortcut = self.downsample_sn(shortcut, steps)
        connect = CONNECT[self.connect]
        # IAND is not symmetric. SpikingJelly's bottleneck takes it the other way round, and weights were trained so.
        return connect(out, shortcut) if self.depth == 3 else connect(shortcut, out)

    def extra_repr(self) -> str:
        return f"connect={self.connect}"


class SpikingResNet(StepModule):
    """The residual network that `facts` describe, for frames with `in_channels` channels.

    `stem`: `imagenet`, 7×7 convolution of stride 2 and 3×3 max pooling of stride 2; `small`, for small frames: 3×3
    convolution of stride 1 and no pooling. `channels` of the first stage; the others double them. `spiking`: neurons
    behind the last dense layer, whose currents are otherwise the output, as in SpikingJelly.
    """

    takes_static = True
    resumable = True

    def __init__(
        self,
        facts: ResNet,
        in_channels: int,
        classes: int,
        neuron: NewNeuron,
        *,
        channels: int | None = None,
        stem: str = "imagenet",
        connect: str = "ADD",
        spiking: bool = False,
    ) -> None:
        super().__init__()
        channels = channels or 64
        small = stem == "small"
        self.conv1 = (
            SpikeConv2d(in_channels, channels, 3, padding=1, bias=False)
            if small
            else SpikeConv2d(in_channels, channels, 7, stride=2, padding=3, bias=False)
        )
        self.bn1 = nn.BatchNorm2d(channels)
        self.sn1 = neuron()
        self.maxpool = nn.Identity() if small else nn.MaxPool2d(3, stride=2, padding=1)
        arriving = channels
        for stage, blocks in enumerate(facts.blocks):
            width = channels * 2**stage
            stride = 2 if stage else 1
            made = []
            for block in range(blocks):
                made.append(_block(facts, arriving, width, stride if block == 0 else 1, neuron, connect))
                arriving = width * (4 if facts.bottleneck else 1)
            self.add_module(f"layer{stage + 1}", StepSequential(*made))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(arriving, classes)
        self.sn_fc = neuron() if spiking else None
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor, steps: PackedSteps) -> Tensor:
        """Frames [sum(counts), P, H, W] to currents, or spikes, [sum(counts), classes]."""
        return in_order(self.children(), x, steps)


def _block(facts: ResNet, arriving: int, width: int, stride: int, neuron: NewNeuron, connect: str) -> Block:
    leaving = width * 4 if facts.bottleneck else width

    def convolution(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Conv2d:
        return SpikeConv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)

    if facts.bottleneck:  # the stride is that of the 3×3 convolution, as in torchvision
        convolutions = [
            convolution(arriving, width, 1),
            convolution(width, width, 3, stride),
            convolution(width, leaving, 1),
        ]
    else:
        convolutions = [convolution(arriving, width, 3, stride), convolution(width, width, 3)]
    shortcut = None
    if stride != 1 or arriving != leaving:
        shortcut = nn.Sequential(convolution(arriving, leaving, 1, stride), nn.BatchNorm2d(leaving))
    return Block(convolutions, shortcut, neuron, connect if facts.sew else None)
