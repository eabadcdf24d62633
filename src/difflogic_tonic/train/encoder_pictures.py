"""What the encoder of a spiking network makes of a few samples, as pictures.

visualization/<i>/input.png            what sample i is
visualization/<i>/s_<t>.{png,pdf,svg}  the spikes of the first layer of neurons at step t, a square for each channel
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor, nn

from difflogic_tonic.data import Batch, expand
from difflogic_tonic.errors import ConfigError
from difflogic_tonic.models import logits
from difflogic_tonic.nets.spiking.spikes import first_spikes
from difflogic_tonic.storage import atomic_write, storage_errors

COLUMNS = 8
ENLARGED = 4
"""28 × 28 pixels are too small to read."""

FORMATS = ("png", "pdf", "svg")


@torch.no_grad()
def save_encoder_spikes(model: nn.Module, batch: Batch, folder: Path, samples: int) -> Path:
    """Write the pictures of the first `samples` of `batch`, on the device of `model`, into `folder`/visualization.

    Returns that folder. Raises `ConfigError` for a network without spiking neurons, and `StorageError`.
    """
    model.eval()
    try:
        with first_spikes(model) as found:
            logits(model, batch)
    except ValueError as error:
        raise ConfigError(f"pictures of spikes: {error}") from None
    packed, steps = found[0]
    frames = expand(batch)
    target = folder / "visualization"
    for place, sample in enumerate(steps.order.tolist()):
        if sample >= samples:
            continue
        into = target / str(sample)
        with storage_errors(into):
            into.mkdir(parents=True, exist_ok=True)
        save_input(into / "input.png", frames[:, sample] if batch.view == "sequence" else frames[sample : sample + 1])
        for t, step in enumerate(packed.split(steps.counts)):
            if place < len(step):
                save_maps(into, t, channel_maps(step[place]))
    return target


def save_input(path: Path, frames: Tensor) -> None:
    """Frames [T, P, H, W]: an image as it is, events as where they fell, all polarities and steps together."""
    shown = frames.float().sum(0).cpu()
    grey = shown if shown.shape[0] == 3 else shown.sum(0, keepdim=True)
    pixels = (255 * grey / grey.max().clamp(min=1)).round().byte().numpy()
    image = Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    with atomic_write(path) as partial:
        image.resize((image.width * ENLARGED, image.height * ENLARGED), Image.Resampling.BILINEAR).save(partial, "PNG")


def channel_maps(spikes: Tensor) -> npt.NDArray[np.float32]:
    """Spikes [C, H, W] as one picture f32 of C squares in 8 columns with a line between them; [N] as one row."""
    maps = spikes.float().cpu().numpy()
    if maps.ndim != 3:
        return maps.reshape(1, -1)
    channels, height, width = maps.shape
    columns = min(COLUMNS, channels)
    rows = -(-channels // columns)
    picture = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1), 0.5, np.float32)
    for number, one in enumerate(maps):
        row, column = divmod(number, columns)
        top, left = row * (height + 1), column * (width + 1)
        picture[top : top + height, left : left + width] = one
    return picture


def save_maps(folder: Path, step: int, picture: npt.NDArray[np.float32]) -> None:
    """Write `picture`, values in [0, 1], as s_<step> in every format."""
    height, width = picture.shape
    figure = Figure(figsize=(8, max(1.0, 8 * height / width) + 0.4))
    axes = figure.add_axes((0.01, 0.01, 0.98, 0.9))
    axes.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_axis_off()
    axes.set_title(f"$S[{step}]$")
    for form in FORMATS:
        with atomic_write(folder / f"s_{step}.{form}") as partial:
            figure.savefig(partial, format=form)
