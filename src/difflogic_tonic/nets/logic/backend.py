"""Which kernel takes a logic network's batch: the C kernel on a CPU, the Triton kernels on CUDA, or plain torch; or, if
asked for, the layers of the difflogic package."""

from types import ModuleType
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from difflogic_tonic.errors import ConfigError
from difflogic_tonic.nets.logic import cpu, gpu, peer
from difflogic_tonic.nets.logic.layer import LogicLayer

BACKENDS: tuple[str, ...] = ("auto", "eager", "cpu", "triton", "difflogic")


class Engine(NamedTuple):
    """cpu, gpu or peer, a module with `Stack`, `run_with_logits`, `run_with_coefficients`; and what its Stack wants."""

    module: ModuleType
    kernel: Any


# beside the networks, not in them: what ctypes points to can be neither copied nor pickled
_STACKS: WeakKeyDictionary[nn.Module, tuple[tuple[object, ...], Any, list[Tensor]]] = WeakKeyDictionary()


def find_engine(backend: str, x: Tensor, weight: Tensor) -> Engine | None:
    """The kernels for batch x, None for plain torch. ConfigError where `backend` names kernels that cannot take it.

    `auto` is the kernels of the device that x is on, and plain torch where there are none, for float64 and for an empty
    batch.
    """
    if backend == "eager":
        return None
    module = {"cpu": cpu, "triton": gpu, "difflogic": peer}.get(backend) or (
        cpu if x.is_cpu else gpu if x.is_cuda else None
    )
    fits = weight.dtype == torch.float32 and weight.device == x.device and x.shape[0] > 0 and module is not None
    if fits and module is cpu:
        fits = x.is_cpu
    if not fits:
        if backend == "auto":
            return None
        raise ConfigError(
            f"backend {backend}: weights {weight.dtype} on {weight.device} and a batch of {x.shape[0]} on {x.device};"
            " float32 weights and a batch on one device of that kind are needed, auto takes any"
        )
    assert module is not None
    found = cpu.find_kernel() if module is cpu else module.find_kernel(x.device)
    if isinstance(found, str):
        if backend == "auto":
            return None
        raise ConfigError(f"backend {backend}: {found}; backend auto falls back to plain torch")
    return Engine(module, found)


def run_on(
    engine: Engine,
    network: nn.Module,
    layers: list[LogicLayer],
    x: Tensor,
    head: Any,
    packed: bool,
    coefficients: Tensor | None = None,
    storage: str = "float32",
) -> Tensor:
    """Logits float32[batch, classes] of the layers and the group sum `head` of `network`.

    `coefficients`: float32[all neurons, 4] instead of what the layers would compute now. `storage`: of cpu.STORAGES.
    ConfigError for float16 in training by kernels other than those of the CPU; in evaluation it means nothing to them.
    """
    if storage != "float32" and network.training and engine.module is not cpu:
        raise ConfigError(f"storage {storage} is of the C kernel for CPUs, and the batch is on {x.device}; use float32")
    if x.is_floating_point():
        x = x.to(torch.float32)
    elif x.dtype not in (torch.uint8, torch.bool):
        x = x > 0
    stack = _stack_of(engine, network, layers, head, packed, storage)
    if coefficients is not None:
        return _tensor(engine.module.run_with_coefficients(stack, x, coefficients))
    temperature = layers[0].temperature
    if all(layer.temperature == temperature for layer in layers):
        weights: list[Tensor] = [layer.weight for layer in layers]
        if all(layer.mixes_logits for layer in layers):
            return _tensor(engine.module.run_with_logits(stack, x, weights, temperature))
        if engine.module is cpu and all(layer.chooses_logits for layer in layers):
            return _tensor(cpu.run_with_logits(stack, x, weights, temperature, straight=True))
    with torch.autocast(x.device.type, enabled=False):
        coefficients = torch.cat([layer.coefficients() for layer in layers])
    return _tensor(engine.module.run_with_coefficients(stack, x, coefficients))


def _tensor(result: Any) -> Tensor:
    assert isinstance(result, Tensor)
    return result


def _stack_of(
    engine: Engine, network: nn.Module, layers: list[LogicLayer], head: Any, packed: bool, storage: str
) -> Any:
    """The kernel's view of the wiring: made anew, and checked, whenever one of the buffers was written to.

    Kernels do not look where an index points, and a loaded state may hold anything.
    """
    wirings = [layer.wiring for layer in layers]
    stamp = (engine.kernel, packed, storage, head.classes, head.tau, *((w.data_ptr(), w._version) for w in wirings))
    known = _STACKS.get(network)
    if known is not None and known[0] == stamp:
        return known[1]
    for layer in layers:
        layer.check_inputs()
    stack = engine.module.Stack(
        engine.kernel,
        layers[0].in_features,
        [wiring.contiguous() for wiring in wirings],
        head.classes,
        head.tau,
        packed=packed,
        **({"storage": storage} if engine.module is cpu else {}),
    )
    _STACKS[network] = (stamp, stack, wirings)  # kept alive, so that no other wiring can come to lie where these are
    return stack
