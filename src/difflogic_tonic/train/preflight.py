"""Memory and disk that a run will need, estimated before its first step."""

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.hooks import RemovableHandle

from difflogic_tonic.config.networks import Model
from difflogic_tonic.config.training import Train
from difflogic_tonic.data import Batch
from difflogic_tonic.errors import OutOfMemory
from difflogic_tonic.models import logits
from difflogic_tonic.nets.spiking.model import SpikingModel
from difflogic_tonic.runs.checkpoint import KEEP, Checkpoints
from difflogic_tonic.storage import Storage, check_space, free_bytes
from difflogic_tonic.train import lines
from difflogic_tonic.train.precision import Precision

MOMENTS = {"adam": 2, "adamw": 2, "sgd": 1}
"""Copies of the weights that an optimizer keeps; one of one's own is taken for such as Adam."""

_GROUP_FILES = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
"""Limit and use of the control group that this process sees as its own: version 2, version 1."""

_OUT_OF_MEMORY_TEXTS = ("can't allocate memory", "out of memory", "not enough memory")
_VAST_TEXTS = ("overflow", "Overflow")
"""In what PyTorch says of a tensor with more bytes than a 64-bit number counts."""


@dataclass(frozen=True)
class Estimate:
    """Bytes. `activations` is what backward keeps of one batch; `free` is of the device."""

    weights: int
    optimizer: int
    activations: int
    free: int
    checkpoint: int

    @property
    def memory(self) -> int:
        """At the peak of a step: weights, optimizer, activations, and gradients of weights and activations."""
        return 2 * self.weights + self.optimizer + 2 * self.activations


def estimate(
    model: nn.Module,
    sample: Batch,
    config: Train,
    device: torch.device,
    precision: Precision | None = None,
    samples: int | None = None,
) -> Estimate:
    """Measured where it is cheap: a forward pass of up to two samples counts what backward would keep.

    `samples` that are in memory at once, if that is not a whole batch.

    What a spiking network computes again (`train.recompute`) is not kept, and so not counted.

    An estimate: temporary buffers of single operations, the allocator's reserve and the reading threads are not in it.
    Neither weights nor random state change.
    """
    weights = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    moments = MOMENTS.get(config.optimizer, MOMENTS["adam"]) * weights
    few = _first(sample, min(2, len(sample))).to(device)
    activations = math.ceil(
        _kept_for_backward(model, few, precision) / len(few) * (samples or config.dataloader.batch_size)
    )
    # Weights, moments, and the best weights so far.
    checkpoint = 2 * weights + moments
    return Estimate(weights, moments, activations, free_memory(device), checkpoint)


def report(found: Estimate, storage: Storage, device: torch.device, checkpoints: Checkpoints) -> list[str]:
    """Lines to print. Raises `StorageFull` if the checkpoints of the run cannot fit."""
    places = []
    for place in storage.places:
        # One more than is kept: the new one is written before the oldest goes. Those of a resumed run are there.
        needed = max(0, (KEEP + 1) * found.checkpoint - checkpoints.n_bytes(place))
        check_space(place.root, needed, f"checkpoints in {place.name} storage")
        places.append(f"{lines.size(needed)} of {lines.size(free_bytes(place.root))} free in {place.name} storage")
    said = [
        f"needs about {lines.size(found.memory)} of {lines.size(found.free)} free {device.type} memory "
        f"(weights {lines.size(found.weights)}, activations {lines.size(found.activations)}), " + ", ".join(places)
    ]
    if found.memory > found.free:
        said.append(f"warning: this may not fit in memory; {ADVICE}")
    return said


ADVICE = (
    "try a smaller train.dataloader.batch_size with train.accumulate to keep the effective batch, train.amp: bf16, "
    "or for a spiking network train.recompute: true"
)


@contextmanager
def network_memory(model: Model) -> Iterator[None]:
    """Inside, a network is made or moved; if memory cannot hold its weights, `OutOfMemory` says that in one line."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error) and not any(part in str(error) for part in _VAST_TEXTS):
            raise
        sizes = "" if model.is_own else f": its sizes are under model.{model.model_type.lower()}"
        raise OutOfMemory(
            f"there is no memory for the weights of the {model.model_type} network; make it smaller{sizes}"
        ) from error


@contextmanager
def memory_errors(config: Train) -> Iterator[None]:
    """Inside, an allocation that fails is `OutOfMemory`: one line that says what to make smaller."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        told = out_of_memory(error, config)
        if told is None:
            raise
        raise told from error


def out_of_memory(error: BaseException, config: Train) -> OutOfMemory | None:
    """The one line for an allocation that failed, on a GPU or a CPU; None if `error` is something else."""
    if not is_out_of_memory(error):
        return None
    return OutOfMemory(
        f"out of memory with train.dataloader.batch_size {config.dataloader.batch_size}, train.accumulate "
        f"{config.accumulate}, train.amp {config.amp}; {ADVICE}, and start anew with --fresh "
        f"(another train.amp or train.recompute may also go on with --resume)"
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` is an allocation that failed; on a CPU only its text tells."""
    text = str(error)
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(part in text for part in _OUT_OF_MEMORY_TEXTS)


def free_memory(device: torch.device) -> int:
    """Bytes that can still be allocated: of the GPU, or the smaller of the machine's and the control group's."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free
    return min(_machine_free(), _group_free())


def _machine_free() -> int:
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 2**62


def _group_free() -> int:
    for limit, used in _GROUP_FILES:
        try:
            return int(Path(limit).read_text(encoding="ascii")) - int(Path(used).read_text(encoding="ascii"))
        except (OSError, ValueError):
            continue  # another version of control groups, or `max`: no limit
    return 2**62


def _kept_for_backward(model: nn.Module, batch: Batch, precision: Precision | None) -> int:
    kept: dict[int, int] = {}
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}

    def count(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    def enter(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        count(inputs[0])

    hooks: list[RemovableHandle] = []
    if isinstance(model, SpikingModel) and model.recompute is not None:
        # What is computed again keeps only the input of every layer with weights, and shows it to nobody.
        layers = [layer for layer in model.modules() if any(part.dim() > 1 for part in layer.parameters(recurse=False))]
        hooks = [layer.register_forward_pre_hook(enter) for layer in layers]
    buffers = [buffer.clone() for buffer in model.buffers()]
    devices = [batch.inputs.device] if batch.inputs.is_cuda else []
    with torch.random.fork_rng(devices), torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        model.train()
        with nullcontext() if precision is None else precision.autocast():
            scores = logits(model, batch)
        for hook in hooks:
            hook.remove()
        loss = F.cross_entropy(scores.float(), batch.labels)
        del loss
    with torch.no_grad():
        for buffer, before in zip(model.buffers(), buffers, strict=True):
            buffer.copy_(before)
    return sum(kept.values())


def _first(batch: Batch, n: int) -> Batch:
    return replace(
        batch,
        inputs=batch.inputs[:n],
        labels=batch.labels[:n],
        lengths=batch.lengths[:n],
        rows=batch.rows[:n],
        keys=None if batch.keys is None else batch.keys[:n],
        mixed=None,
        pending=None,
    )
