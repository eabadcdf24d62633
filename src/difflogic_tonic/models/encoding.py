"""What a logic network sees of a batch: bits."""

from torch import Tensor, nn

from difflogic_tonic.config.networks import DiffLogic
from difflogic_tonic.nets.logic import LogicNetwork, Thermometer, fixed_thresholds, listed_thresholds

FrameShape = tuple[int, int, int]


class BinaryFrames(nn.Module):
    """A logic network behind the code of its inputs.

    `encoder` None: a bit is 1 where at least one event fell. `planes` (channels, rows, columns): the network takes
    bits [B, channels, rows, columns], those of a level side by side; None: [B, features]. `sequence`: samples are
    sequences of frames, [T, B, ...].
    """

    def __init__(
        self,
        network: nn.Module,
        encoder: Thermometer | None = None,
        planes: FrameShape | None = None,
        sequence: bool = False,
    ) -> None:
        super().__init__()
        self.network = network
        self.encoder = encoder
        self.planes = planes
        self.sequence = sequence

    @property
    def reads_packed(self) -> bool:
        """Whether frames that are stored as bits can be taken as they are."""
        takes_bits = isinstance(self.network, LogicNetwork) or getattr(self.network, "readout", None) == "frame"
        return self.encoder is None and takes_bits

    def forward(self, x: Tensor, lengths: Tensor | None = None, *, packed: bool = False) -> Tensor:
        """Counts [B, P, H, W] ([T, B, P, H, W] in a sequence), bytes or floats, to logits f32[B, classes].

        `packed`: x is u8[B, ceil(P*H*W / 8)], eight bits to a byte; only where `reads_packed`. Bytes are the fastest.
        """
        logits: Tensor
        if packed:
            logits = self.network(x, lengths, packed=True)
            return logits
        bits = self._bits(x.flatten(0, 1) if self.sequence else x)
        if self.sequence:
            bits = bits.unflatten(0, x.shape[:2])
        elif self.planes is not None:
            bits = bits.reshape(-1, *self.planes)
        logits = self.network(bits, lengths)
        return logits

    def _bits(self, x: Tensor) -> Tensor:
        if self.encoder is not None:
            bits: Tensor = self.encoder(x)
            return bits
        x = x.flatten(1)
        return x > 0 if x.is_floating_point() else x  # the networks take whole numbers for whether they are above 0


def build_encoder(logic: DiffLogic, features: int) -> Thermometer | None:
    """The encoder of a new network for `features` values a sample; None for one bit a value: whether it is above zero.

    Thresholds that come from data (`train.thresholds`) have their shape here and, as long as they are not found, count
    up from one event.
    """
    if logic.thresholds is not None:
        return Thermometer(listed_thresholds(logic.thresholds))
    match logic.encoding:
        case "binary":
            return None
        case "thermometer":
            return Thermometer(fixed_thresholds(logic.levels))
        case "distributive":
            return Thermometer(fixed_thresholds(logic.levels).unsqueeze(1).repeat(1, features))
