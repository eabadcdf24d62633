"""A batch as its reader made it, into a network."""

import torch
from torch import Tensor, nn

from difflogic_tonic.data import Batch, expand
from difflogic_tonic.models.encoding import BinaryFrames


def logits(model: nn.Module, batch: Batch) -> Tensor:
    """Logits [B, classes] of `batch`, which is on the device of `model`.

    Logic networks take the bytes as they are stored; all others get numbers.
    """
    found: Tensor
    if getattr(model, "reads_keys", False):
        found = model(expand(batch), batch.lengths, batch.keys)
    elif not isinstance(model, BinaryFrames):
        found = model(expand(batch), batch.lengths)
    elif batch.packed and model.reads_packed and _whole_bytes(batch):
        found = model(batch.inputs.flatten(1), batch.lengths, packed=True)
    else:
        found = model(expand(batch, torch.uint8), batch.lengths)
    return found


def _whole_bytes(batch: Batch) -> bool:
    """Whether the bits of a sample follow each other without a gap at the end of a frame."""
    polarities, height, width = batch.frame_shape
    return batch.view == "frames" or polarities * height * width % 8 == 0
