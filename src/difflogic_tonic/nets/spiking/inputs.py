"""What a spiking network sees at each step of its time.

Events are seen frame by frame, as log(1 + count). An image has no time: it is shown for a number of steps, and
`encoding` says how its brightness x = value / 255 becomes that many frames.

direct   x at every step; the first layer turns it into spikes
rate     a spike with probability x at every step (Poisson coding: Adrian and Zotterman 1926; drawn as in SpikingJelly)
latency  one spike, the earlier the brighter: at step round((T - 1) · (1 - x)); a pixel of 0 never fires
delta    +1 or -1 where x is at least a level above or below what the spikes so far add up to (send on delta,
         Miskowicz 2006); also for frames of events
rows     one row of the image at each step, [P, 1, W]: the network has to remember the others
columns  the same with columns, [P, H, 1]
counts   frames of events as they are, without the logarithm: what most published weights were trained on
"""

import math

import torch
from torch import Tensor, nn

from difflogic_tonic.data.draws import sixteen_bits
from difflogic_tonic.nets.initial import compress_counts
from difflogic_tonic.nets.spiking.steps import Memory, PackedSteps, pack_steps

LINES = {"rows": 2, "columns": 3}
SHOWN = ("rate", "latency")
ENCODINGS = ("direct", "delta", "counts", *SHOWN, *LINES)
BRIGHTEST = 255


class Inputs(nn.Module):
    """Frames of counts, or an image of bytes, to packed steps; no parameters.

    `image_steps`: T, how many steps an image is shown; None: the samples are sequences of frames of events, or images
    whose rows or columns are the steps.
    `level` of `delta`: default for images 1 / T, so that the brightest pixel spikes at every step; for events log 2,
    the value of one event. Raises `ValueError` for an encoding that is unknown or needs images.
    """

    def __init__(self, image_steps: int | None = None, encoding: str = "direct", level: float | None = None) -> None:
        super().__init__()
        if encoding not in ENCODINGS:
            raise ValueError(f"encoding {encoding!r}: expected one of {', '.join(ENCODINGS)}")
        if image_steps is None and encoding in SHOWN:
            raise ValueError(f"encoding {encoding!r} is for images; events come in time already: expected direct")
        if image_steps is not None and encoding in ("counts", *LINES):
            raise ValueError(f"encoding {encoding!r} has no number of steps")
        self.image_steps = image_steps
        self.encoding = encoding
        self.level = level or (1 / image_steps if image_steps else math.log(2))

    def forward(
        self,
        x: Tensor,
        lengths: Tensor | None = None,
        keys: Tensor | None = None,
        memory: Memory | None = None,
    ) -> tuple[Tensor, PackedSteps]:
        """[T, B, P, H, W] (an image: [1, B, P, H, W]) to frames f32[sum(counts), P, H, W] and how they are packed.

        An image that is the same at every step is given once, [B, P, H, W]: `PackedSteps.is_static`.
        `keys` i64[B] decide what `rate` draws, sample by sample; None: the places in the batch. `memory`: what came
        before these frames of events; an image has no such thing, `ValueError`.
        """
        if memory is not None and (self.image_steps is not None or self.encoding in LINES):
            raise ValueError("a memory is for frames of events that arrive in several calls, not for images")
        if self.encoding in LINES:
            return _lines(x, LINES[self.encoding])
        if self.image_steps is None:
            steps = pack_steps(x.shape[0], x.shape[1], lengths, x.device, memory)
            frames = steps.pack(x) if self.encoding == "counts" else compress_counts(steps.pack(x))
            return (self._deltas(frames, steps) if self.encoding == "delta" else frames), steps
        n_samples = x.shape[1]
        image = _image(x)
        steps = pack_steps(self.image_steps, n_samples, None, x.device)
        match self.encoding:
            case "rate":
                keys = torch.arange(n_samples, device=x.device) if keys is None else keys
                return poisson_spikes(image, self.image_steps, keys).flatten(0, 1), steps
            case "latency":
                return latency_spikes(image, self.image_steps).flatten(0, 1), steps
            case "delta":
                return self._deltas(steps.repeat(image), steps), steps
        return image, steps

    def _deltas(self, frames: Tensor, steps: PackedSteps) -> Tensor:
        spikes, told = deltas(frames, steps, self.level, steps.recall(self))
        steps.keep(self, told)
        return spikes

    def extra_repr(self) -> str:
        return f"image_steps={self.image_steps}, encoding={self.encoding!r}, level={self.level:g}"


def _image(x: Tensor) -> Tensor:
    """Brightness [B, P, H, W] of the one frame in x."""
    if x.shape[0] != 1:
        raise ValueError(f"{x.shape[0]} frames of an image: expected one")
    return x[0] / BRIGHTEST


def _lines(x: Tensor, dim: int) -> tuple[Tensor, PackedSteps]:
    """An image [1, B, P, H, W] cut along `dim` of [B, P, H, W], one line for each step."""
    lines = torch.stack(_image(x).split(1, dim))
    return lines.flatten(0, 1), pack_steps(len(lines), x.shape[1], None, x.device)


def poisson_spikes(image: Tensor, n_steps: int, keys: Tensor) -> Tensor:
    """0 or 1 f32[n_steps, B, ...], 1 with probability `image` f32[B, ...] in [0, 1], to 2^-16.

    A pure function of its arguments: sample b is decided by keys[b] alone, on every machine and device.
    """
    draws = sixteen_bits(keys, n_steps, image[0].numel())
    likely = (image.flatten(1) * 2**16).round().to(torch.int32)
    return (draws < likely.unsqueeze(1)).transpose(0, 1).to(image.dtype).reshape(n_steps, *image.shape)


def latency_spikes(image: Tensor, n_steps: int) -> Tensor:
    """0 or 1 f32[n_steps, B, ...]: one spike of each pixel above 0 of `image` f32[B, ...] in [0, 1]."""
    at = ((n_steps - 1) * (1 - image)).round()
    at = at.where(image > 0, -1)
    times = torch.arange(n_steps, device=image.device).view(-1, *[1] * image.dim())
    return (at == times).to(image.dtype)


def deltas(frames: Tensor, steps: PackedSteps, level: float, told: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """-1, 0 or 1 like `frames` f32[sum(counts), ...]; the spikes so far, times `level`, follow the values.

    `told` [counts[0], ...]: what they add up to before the first step, None for 0; the second result: after the last.
    """

    def advance(values: Tensor, told: Tensor) -> tuple[Tensor, Tensor]:
        # what is a level away but for rounding is a level away
        change = ((values - told) / level).mul(1 + 1e-5).clamp(-1, 1).trunc()
        return change, told + level * change

    return steps.scan(frames, torch.zeros_like(frames[: steps.counts[0]]) if told is None else told, advance)
