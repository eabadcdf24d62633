"""The spiking networks that have a name: the facts that they are built from, and that their sizes are checked by."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ConvFC:
    """Blocks of {3×3 convolution - BN - neurons} that end in 2×2 max pooling, then two dense layers with neurons.

    `csnn`: the Fashion-MNIST example of SpikingJelly. `plif_…`: Fang et al. 2021, Incorporating Learnable Membrane Time
    Constant to Enhance Learning of Spiking Neural Networks, table 1.
    """

    blocks: tuple[int, ...]
    """Convolutions of each block."""

    channels: int = 128
    """Of every convolution."""

    hidden: int = 2048
    """Neurons of the first dense layer."""

    hidden_per_channel: int = 0
    """The same in multiples of `channels`, if it is not 0."""

    votes: int = 10
    """Neurons for each class in the last layer; the score of a class is their mean."""

    dropout: float = 0.5
    """In front of both dense layers."""

    bias: bool = True
    """Whether the dense layers have one; the convolutions, in front of a BN, have none."""

    def check_frames(self, frame_shape: tuple[int, int, int]) -> None:
        """`ValueError` for frames that the poolings leave nothing of."""
        smallest = 1 << len(self.blocks)
        if min(frame_shape[1:]) < smallest:
            raise ValueError(
                f"{frame_shape[1]}×{frame_shape[2]} pixels arrive, and {len(self.blocks)} poolings halve them; "
                f"expected at least {smallest}×{smallest}"
            )


@dataclass(frozen=True)
class ResNet:
    """Four stages of residual blocks: He et al. 2016, as in torchvision.

    With neurons in place of ReLU, or `sew`: neurons in front of the sum (Fang et al. 2021, Deep Residual Learning in
    Spiking Neural Networks).
    """

    blocks: tuple[int, int, int, int]
    bottleneck: bool
    sew: bool


@dataclass(frozen=True)
class Dense:
    """Two dense layers for sequences of vectors: the comparison on sequential Fashion-MNIST of SpikingJelly."""

    memory: Literal["none", "synapse", "feedback"]
    """What the hidden neurons have besides their membranes: a filter with a learned time constant behind them, or a
    dense layer from their spikes back to their inputs."""

    hidden: int = 32


_DEPTHS: dict[int, tuple[tuple[int, int, int, int], bool]] = {
    18: ((2, 2, 2, 2), False),
    34: ((3, 4, 6, 3), False),
    50: ((3, 4, 6, 3), True),
    101: ((3, 4, 23, 3), True),
}

NETWORKS: dict[str, ConvFC | ResNet | Dense] = {
    "csnn": ConvFC(blocks=(1, 1), hidden_per_channel=16, votes=1, dropout=0.0, bias=False),
    "plif_mnist": ConvFC(blocks=(1, 1)),
    "plif_fashionmnist": ConvFC(blocks=(1, 1)),
    "plif_nmnist": ConvFC(blocks=(1, 1)),
    "plif_cifar10": ConvFC(blocks=(3, 3), channels=256),
    "plif_cifar10dvs": ConvFC(blocks=(1,) * 4, hidden=512),
    "plif_dvsgesture": ConvFC(blocks=(1,) * 5, hidden=512),
    **{
        f"{kind}_resnet{depth}": ResNet(blocks, bottleneck, kind == "sew")
        for kind in ("spiking", "sew")
        for depth, (blocks, bottleneck) in _DEPTHS.items()
    },
    "plain_net": Dense("none"),
    "synapse_net": Dense("synapse"),
    "feedback_net": Dense("feedback"),
}


def stem_for(frame_shape: tuple[int, int, int]) -> Literal["small", "imagenet"]:
    """The stem of a ResNet where the config does not say: `imagenet` leaves one pixel in 32, of each side."""
    return "small" if min(frame_shape[1:]) < 64 else "imagenet"
