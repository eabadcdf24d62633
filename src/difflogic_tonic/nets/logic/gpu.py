"""The whole logic network as one autograd function on Triton kernels (triton_kernels.py), for CUDA devices.

The counterpart of cpu.py. A step reads no number back to the host and allocates by shapes only, so forward, loss and
backward can be captured in a CUDA graph, after a first call outside of it (kernels are compiled then).
"""

import logging
import subprocess
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

log = logging.getLogger(__name__)

STORAGES: tuple[torch.dtype, ...] = (torch.float32, torch.bfloat16, torch.float16)
"""What values and gradients between layers may be stored as. float16 is closer than bfloat16 at the same speed:
values are in [0, 1], and gradients are scaled into its range."""

_OLDEST_GPU = (8, 0)  # older than this, Triton promises nothing
_WARPS = 4
_PIECE = 16  # columns: rows of any storage then are whole 16-byte pieces
_EDGES = 2  # loaded together; the mean of a network of one width
_NEURONS = 64  # per program where logits and coefficients are converted
_SUMMED_PROGRAMS = 1024  # about how many programs the last layer is split into; the fewer, the less is written


@dataclass(frozen=True)
class Edges:
    """Who reads each of `in_features` rows, sorted by row, then by neuron: int32 starts[in_features + 1], and per edge
    readers[2n] (2 * neuron, + 1 where it reads the row as b) and others[2n] (the row it reads with its other input)."""

    starts: Tensor
    readers: Tensor
    others: Tensor


@dataclass(frozen=True)
class Tiling:
    """What one program covers: `rows` rows (of `warps` warps together) by `columns` samples, all powers of two."""

    rows: int
    columns: int
    warps: int = _WARPS


def edges_of(wiring: Tensor, in_features: int) -> Edges:
    """Derived from a wiring int32[2, n], on its device."""
    rows, order = torch.sort(wiring.t().flatten(), stable=True)  # position 2 * neuron + side
    bounds = torch.arange(in_features + 1, dtype=rows.dtype, device=rows.device)
    others = wiring.flip(0).t().flatten()[order]
    return Edges(torch.searchsorted(rows, bounds, out_int32=True), order.to(torch.int32), others)


def tiling_of(stride: int, storage: torch.dtype) -> Tiling:
    """One warp moves 16 bytes per thread: a row of that many columns, or several shorter rows."""
    per_warp = 32 * 16 // storage.itemsize
    columns = min(1 << (stride - 1).bit_length(), per_warp)
    return Tiling(_WARPS * (per_warp // columns), columns)


class Stack:
    """What the kernels need to know besides numbers that are trained; built once and used for many calls.

    `kernels`: from `find_kernels`. `wirings`: per layer int32[2, n], contiguous, indices checked, all on the device of
    the calls. `packed`: inputs are uint8[batch, ceil(in_features / 8)], first feature in the lowest bit. `tiling` None
    is chosen by batch and storage. The edges are derived here: `nbytes` of them stay on the device.
    """

    def __init__(
        self,
        kernels: ModuleType,
        in_features: int,
        wirings: list[Tensor],
        classes: int,
        tau: float,
        *,
        packed: bool = False,
        tiling: Tiling | None = None,
    ) -> None:
        for wiring in wirings:
            assert wiring.is_contiguous()
            assert wiring.dtype == torch.int32, wiring.dtype
        self.kernels = kernels
        self.in_features = in_features
        self.wirings = wirings
        self.classes = classes
        self.tau = tau
        self.packed = packed
        self.tiling = tiling
        self.columns = (in_features + 7) // 8 if packed else in_features
        self.widths = [wiring.shape[1] for wiring in wirings]
        self.ins = [in_features, *self.widths[:-1]]
        self.neurons = sum(self.widths)
        assert self.widths[-1] % classes == 0, (self.widths[-1], classes)
        self.edges = [edges_of(wiring, before) for wiring, before in zip(wirings, self.ins, strict=True)]

    @property
    def group(self) -> int:
        """Neurons per class."""
        return self.widths[-1] // self.classes

    @property
    def nbytes(self) -> int:
        return sum(part.nbytes for edges in self.edges for part in (edges.starts, edges.readers, edges.others))

    def split(self, numbers: Tensor) -> list[Tensor]:
        """[..., all neurons, 4] by layer; views."""
        return list(numbers.split(self.widths, -2))


def find_kernels(device: torch.device) -> ModuleType | str:
    """The kernels, or why they cannot run on `device`. Logs one line in that case; asks once per process and device.

    With TRITON_INTERPRET=1 they run on a CPU too, thousands of times slower: that is for tests.
    """
    return _find_kernels(device.type, device.index)


@cache
def _find_kernels(kind: str, index: int | None) -> ModuleType | str:
    found = _import_kernels(kind, index)
    if isinstance(found, str):
        log.warning("logic networks on %s run in plain torch, which is several times slower: %s", kind, found)
    return found


def _import_kernels(kind: str, index: int | None) -> ModuleType | str:
    try:
        import triton
    except ImportError as error:
        return f"triton cannot be imported: {error}"
    if not triton.knobs.runtime.interpret:
        if kind != "cuda":
            return f"Triton kernels need a CUDA device, not {kind}"
        capability = torch.cuda.get_device_capability(index)
        if capability < _OLDEST_GPU:
            return f"Triton needs compute capability 8.0, {torch.cuda.get_device_name(index)} has {capability}"
        try:
            triton.runtime.driver.active.get_current_target()  # builds its driver with the C compiler, which may lack
        except (RuntimeError, OSError, subprocess.CalledProcessError) as error:
            return f"Triton does not start: {' '.join(str(error).split())}"
    from difflogic_tonic.nets.logic import triton_kernels

    return triton_kernels


def run_with_coefficients(
    stack: Stack, x: Tensor, coefficients: Tensor, *, storage: torch.dtype = torch.float32
) -> Tensor:
    """Logits float32[batch, classes] from float32 coefficients [all neurons, 4]; differentiable once, in both.

    x: floating (rounded to `storage`), uint8 or bool [batch, in_features] (uint8 above zero is 1), or packed; at least
    one sample. Bytes and bits are read as bits, 1/16 of the bytes of float16; they have no gradient.
    """
    logits: Tensor = _StackFunction.apply(stack, None, storage, x, coefficients)
    return logits


def run_with_logits(
    stack: Stack, x: Tensor, weights: list[Tensor], temperature: float, *, storage: torch.dtype = torch.float32
) -> Tensor:
    """The same from the sixteen gate logits float32[n, 16] of each layer: softmax and its gradient in the kernels."""
    logits: Tensor = _StackFunction.apply(stack, 1 / temperature, storage, x, *weights)
    return logits


class _StackFunction(torch.autograd.Function):
    """`inverse_temperature` None: one trained tensor, the coefficients; else one of logits per layer."""

    @staticmethod
    def forward(
        ctx: Any, stack: Stack, inverse_temperature: float | None, storage: torch.dtype, x: Tensor, *trained: Tensor
    ) -> Tensor:
        assert storage in STORAGES, storage
        assert x.shape[1:] == (stack.columns,), (x.shape, stack.columns)
        assert x.shape[0] > 0
        trained = tuple(tensor.detach().contiguous() for tensor in trained)
        for tensor in trained:
            assert tensor.dtype == torch.float32, tensor.dtype
            assert tensor.device == x.device, (tensor.device, x.device)
        call = _Call(stack, x.shape[0], storage, x.device)
        with torch.cuda.device_of(x):
            coefficients = trained[0] if inverse_temperature is None else call.mix(trained, inverse_temperature)
            assert coefficients.shape == (stack.neurons, 4), coefficients.shape
            values = call.hidden(call.first(x.detach()), coefficients)
            logits = call.logits(values[-1], coefficients)
        ctx.save_for_backward(coefficients, *values, *trained)
        ctx.call, ctx.inverse_temperature, ctx.input_dtype = call, inverse_temperature, x.dtype
        return logits

    @staticmethod
    def backward(ctx: Any, grad_logits: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError("the Triton kernels have no second derivative; LogicNetwork(backend='eager') has")
        call: _Call = ctx.call
        layers = len(call.stack.widths)
        coefficients, *rest = ctx.saved_tensors
        values, trained = rest[:layers], rest[layers:]
        with torch.cuda.device_of(grad_logits):
            grad_x, partial = call.gradients(values, coefficients, grad_logits, ctx.needs_input_grad[3])
            if ctx.inverse_temperature is None:
                grads = [partial[0] if call.chunks == 1 else partial.sum(0)]
            else:
                grads = call.mix_backward(trained, partial, ctx.inverse_temperature)
        if grad_x is not None:
            grad_x = grad_x[:, : call.batch].t().to(ctx.input_dtype)
        return None, None, None, grad_x, *grads


class _Call:
    """The launches of one forward and backward pass: shapes, tiles and storage, worked out once."""

    def __init__(self, stack: Stack, batch: int, storage: torch.dtype, device: torch.device) -> None:
        self.stack = stack
        self.kernels = stack.kernels
        self.batch = batch
        self.storage = storage
        self.device = device
        self.stride = -(-batch // _PIECE) * _PIECE
        self.tiling = stack.tiling or tiling_of(self.stride, storage)
        self.chunks = -(-self.stride // self.tiling.columns)
        self.row_tile = {"ROWS": self.tiling.rows, "num_warps": self.tiling.warps}
        self.octet_tile = {**self.row_tile, "OCTETS": self.tiling.columns // 8}

    def empty(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.empty(shape, dtype=dtype, device=self.device)

    def mix(self, weights: tuple[Tensor, ...], inverse_temperature: float) -> Tensor:
        """Coefficients [all neurons, 4] of logits."""
        coefficients = self.empty(self.stack.neurons, 4)
        for weight, target in zip(weights, self.stack.split(coefficients), strict=True):
            n = weight.shape[0]
            assert weight.shape == (target.shape[0], 16), (weight.shape, target.shape)
            grid = (-(-n // _NEURONS),)
            self.kernels.mix_gates[grid](weight, target, n, inverse_temperature, NEURONS=_NEURONS, num_warps=_WARPS)
        return coefficients

    def first(self, x: Tensor) -> Tensor:
        """Inputs by feature: bits uint8[in_features, stride / 8], or values of a floating x [in_features, stride]."""
        features = self.stack.in_features
        if x.is_floating_point():
            values = torch.zeros(features, self.stride, dtype=self.storage, device=self.device)
            values[:, : self.batch].copy_(x.t())
            return values
        assert x.dtype in (torch.uint8, torch.bool), x.dtype
        octets = self.stride // 8
        bits = self.empty(features, octets, dtype=torch.uint8)
        self.kernels.pack_inputs[(-(-features // 64), -(-octets // 4))](
            x.contiguous().view(torch.uint8),
            bits,
            self.batch,
            features,
            self.stack.columns,
            octets,
            PACKED=self.stack.packed,
            OCTETS=4,
            FEATURES=64,
            num_warps=_WARPS,
        )
        return bits

    def hidden(self, first: Tensor, coefficients: Tensor) -> list[Tensor]:
        """What each layer reads: `first`, then the outputs of all layers but the last."""
        values = [first]
        numbers = self.stack.split(coefficients)
        for wiring, c, n in zip(self.stack.wirings, numbers, self.stack.widths[:-1], strict=False):
            y = self.empty(n, self.stride, dtype=self.storage)
            grid = (-(-n // self.tiling.rows), self.chunks)
            bits = values[-1].dtype == torch.uint8
            self.kernels.forward_layer[grid](values[-1], y, wiring, c, n, self.stride, BITS=bits, **self.octet_tile)
            values.append(y)
        return values

    def logits(self, x: Tensor, coefficients: Tensor) -> Tensor:
        """The last layer and GroupSum: float32[batch, classes]; the outputs of the layer are nowhere written."""
        stack, classes, group = self.stack, self.stack.classes, self.stack.group
        blocks = -(-group // self.tiling.rows)
        steps = max(1, blocks * classes * self.chunks // _SUMMED_PROGRAMS)
        splits = -(-blocks // steps)
        partial = self.empty(classes, splits, self.stride)
        self.kernels.forward_groups[(splits, classes, self.chunks)](
            x,
            partial,
            stack.wirings[-1],
            stack.split(coefficients)[-1],
            stack.widths[-1],
            group,
            splits,
            steps,
            self.stride,
            BITS=x.dtype == torch.uint8,
            **self.octet_tile,
        )
        logits = self.empty(self.batch, classes)
        self.kernels.sum_groups[(classes, -(-self.batch // 64))](
            partial, logits, self.batch, classes, splits, self.stride, 1 / stack.tau, SPLITS=16, COLUMNS=64, num_warps=4
        )
        return logits

    def gradients(
        self, values: list[Tensor], coefficients: Tensor, grad_logits: Tensor, with_input: bool
    ) -> tuple[Tensor | None, Tensor]:
        """Gradient of the input, float32[in_features, stride], and of the coefficients, [chunks, all neurons, 4]."""
        stack = self.stack
        gy, unscale = self._spread(grad_logits.to(torch.float32).contiguous())
        partials = [self.empty(self.chunks, n, 4) for n in stack.widths]
        numbers = stack.split(coefficients)
        for layer in reversed(range(len(stack.widths))):
            is_last = layer == len(stack.widths) - 1
            if layer or with_input:
                gy = self._backward_layer(layer, values[layer], gy, numbers[layer], partials[layer], unscale, is_last)
            else:
                self._backward_weights(values[0], gy, partials[0], unscale, is_last)
        return gy if with_input else None, partials

    def _spread(self, grad_logits: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient rows of the classes, scaled, and the number that takes the scale back."""
        classes = self.stack.classes
        largest = torch.linalg.vector_norm(grad_logits, torch.inf)
        rows, unscale = self.empty(classes, self.stride), self.empty(1)
        self.kernels.spread_gradient[(classes, -(-self.stride // 128))](
            grad_logits,
            largest,
            unscale,
            rows,
            self.batch,
            classes,
            self.stride,
            1 / self.stack.tau,
            COLUMNS=128,
            num_warps=_WARPS,
        )
        return rows, unscale
