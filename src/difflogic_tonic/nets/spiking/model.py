"""A spiking network as a model: frames in, class scores out."""

from dataclasses import replace

from torch import Tensor, nn

from difflogic_tonic.nets.spiking.heads import Head
from difflogic_tonic.nets.spiking.inputs import Inputs
from difflogic_tonic.nets.spiking.recompute import Recompute
from difflogic_tonic.nets.spiking.steps import Memory
from difflogic_tonic.nets.spiking.stepwise import StepModule, call_layer


class SpikingModel(nn.Module):
    """`network`, which turns packed steps of frames into outputs [sum(counts), classes], between its input and head.

    Padded steps have no influence on anything.
    """

    def __init__(self, inputs: Inputs, network: StepModule, head: Head) -> None:
        super().__init__()
        self.inputs = inputs
        self.network = network
        self.head = head
        self.recompute: Recompute | None = None
        """Set to have activations computed again in the backward pass, not kept."""

    @property
    def reads_keys(self) -> bool:
        """Whether the input draws random numbers, and so wants the keys of the samples."""
        return self.inputs.encoding == "rate"

    def forward(
        self,
        x: Tensor,
        lengths: Tensor | None = None,
        keys: Tensor | None = None,
        memory: Memory | None = None,
    ) -> Tensor:
        """Counts [T, B, P, H, W], of an image [1, B, P, H, W], to logits f32[B, classes].

        `lengths` i64[B]: true frames of each sample; `keys` i64[B]: what decides the random numbers of each.
        `memory`: of a batch of streams whose frames come in several calls; logits are then of all frames so far.
        """
        frames, steps = self.inputs(x, lengths, keys, memory)
        outputs = call_layer(self.network, frames, replace(steps, recompute=self.recompute))
        logits: Tensor = self.head(steps.spread(outputs), steps)
        return logits
