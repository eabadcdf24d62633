"""Views of prepared frames for training: single frames, sequences, frames stacked as channels.

| module     | what it holds                                                                      |
|------------|------------------------------------------------------------------------------------|
| `order`    | which samples, in which order: a pure function of seed and epoch                   |
| `batch`    | a batch as it travels to the device, and its expansion to numbers there            |
| `prefetch` | reading ahead in threads: in order, bounded, stopped when the reader stops         |
| `draws`    | random numbers that are a function of their key                                    |
| `augment`  | what changes about each training sample, drawn from seed, epoch and sample; done   |
|            | in `augment_kernels` by reader threads, or in `augment_device`                     |
| `loader`   | `Batches`: one split, one view, one order, resumable at any batch                  |
"""

from difflogic_tonic.data.batch import Batch, expand
from difflogic_tonic.data.loader import Batches, View

__all__ = ["Batch", "Batches", "View", "expand"]
