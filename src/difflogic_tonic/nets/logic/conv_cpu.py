"""Layers of convolutional logic trees as one autograd function on the C kernel (kernel/conv.c)."""

import ctypes
from collections.abc import Sequence
from ctypes import POINTER, c_int, c_int32, c_int64, c_void_p
from dataclasses import dataclass
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from difflogic_tonic.errors import ConfigError
from difflogic_tonic.nets.logic import cpu
from difflogic_tonic.nets.logic.conv import LogicConv
from difflogic_tonic.nets.logic.cpu_build import load_library

_TILE = 16
_CELLS = 4


class _Trees(ctypes.Structure):
    """`struct trees` of kernel/conv.c, field by field."""

    _fields_ = [
        *((name, c_int64) for name in ("channels", "leaves", "cells", "outputs", "in_floats")),
        *((name, c_int64) for name in ("out_rows", "out_columns", "out_padding", "out_plane")),
        *((name, c_void_p) for name in ("taps", "places", "out_places")),
        ("cell_places", c_int32 * _CELLS),
    ]


class _Plan(ctypes.Structure):
    """`struct conv_plan` of kernel/conv.c, field by field."""

    _fields_ = [
        *((name, c_int64) for name in ("variant", "threads", "batch", "layers", "input_bytes")),
        *((name, c_int64) for name in ("channels", "rows", "columns", "padding", "features")),
        ("trees", POINTER(_Trees)),
        *((name, c_void_p) for name in ("coefficients", "input", "kept", "winners", "output")),
        *((name, c_void_p) for name in ("grad_output", "grad_coefficients", "grad_input")),
    ]


@dataclass(frozen=True)
class Kernel:
    """The loaded library, and the instruction set (index into cpu.VARIANTS) that this processor runs best."""

    forward: Any
    backward: Any
    best_variant: int


@cache
def find_kernel() -> Kernel | str:
    """The kernel, or why there is none; that is logged once, together with the dense layers."""
    dense = cpu.find_kernel()
    if isinstance(dense, str):
        return dense
    library = load_library()
    for name in ("conv_forward", "conv_backward"):
        getattr(library, name).argtypes = [POINTER(_Plan)]
        getattr(library, name).restype = c_int
    assert library.conv_plan_size() == ctypes.sizeof(_Plan), (library.conv_plan_size(), ctypes.sizeof(_Plan))
    assert library.conv_trees_size() == ctypes.sizeof(_Trees), (library.conv_trees_size(), ctypes.sizeof(_Trees))
    return Kernel(library.conv_forward, library.conv_backward, dense.best_variant)


class ConvStack:
    """What the kernel needs to know of layers that follow each other, besides numbers that are trained.

    `variant` None is the processor's best. The taps are copied: a stack does not see later changes.
    """

    def __init__(self, kernel: Kernel, layers: Sequence[LogicConv], variant: int | None = None) -> None:
        self.kernel = kernel
        self.variant = kernel.best_variant if variant is None else variant
        self.neurons = sum(layer.neurons for layer in layers)
        self.input_shape, self.output_shape = layers[0].input_shape, layers[-1].output_shape
        self.padding = layers[0].padding
        self._tensors: list[Tensor] = []  # what the structures point to has to live as long as they do
        paddings = [layer.padding for layer in layers[1:]] + [0]
        trees = [self._trees(layer, after) for layer, after in zip(layers, paddings, strict=True)]
        self._trees_array = (_Trees * len(trees))(*trees)
        self.kept_floats = sum(one.channels * one.out_plane for one in trees[:-1])
        self.winner_bytes = sum(one.channels * one.outputs * _TILE for one in trees if one.cells == _CELLS)

    def _trees(self, layer: LogicConv, padding_after: int) -> _Trees:
        channels, rows, columns = layer.input_shape
        wide, high = columns + 2 * layer.padding, rows + 2 * layer.padding
        step = 2 if layer.pool else 1
        _, out_rows, out_columns = layer.output_shape
        out_wide, out_high = out_columns + 2 * padding_after, out_rows + 2 * padding_after
        in_floats, out_plane = channels * high * wide * _TILE, out_high * out_wide * _TILE
        if max(in_floats, layer.out_channels * out_plane) >= 2**31:
            raise ConfigError(f"backend cpu: images of {layer.input_shape} are too large; backend eager takes them")
        channel, y, x = layer.taps.long().unbind(2)
        taps = self._keep((channel * high + y) * wide + x)
        places = self._keep(step * _grid(out_rows, out_columns, wide))
        out_places = self._keep(_grid(out_rows, out_columns, out_wide) + padding_after * (out_wide + 1))
        cells = (c_int32 * _CELLS)(0, _TILE, wide * _TILE, (wide + 1) * _TILE)
        outputs = out_rows * out_columns
        sizes = (layer.out_channels, 2**layer.tree_depth, step * step, outputs, in_floats)
        out_sizes = (out_rows, out_columns, padding_after, out_plane)
        return _Trees(*sizes, *out_sizes, taps, places, out_places, cells)

    def _keep(self, rows: Tensor) -> int:
        tensor = (rows * _TILE).to(torch.int32).contiguous()
        self._tensors.append(tensor)
        return tensor.data_ptr()

    def plan(self, x: Tensor, coefficients: Tensor, kept: Tensor | None, winners: Tensor | None) -> _Plan:
        """One call's plan; the arguments and self have to outlive the call."""
        plan = _Plan(self.variant, torch.get_num_threads(), x.shape[0], len(self._trees_array))
        plan.input_bytes = x.dtype != torch.float32
        plan.channels, plan.rows, plan.columns = self.input_shape
        plan.padding, plan.features = self.padding, torch.Size(self.output_shape).numel()
        plan.trees = self._trees_array
        plan.input, plan.coefficients = x.data_ptr(), coefficients.data_ptr()
        if kept is not None and winners is not None:
            plan.kept, plan.winners = kept.data_ptr(), winners.data_ptr()
        return plan


def _grid(rows: int, columns: int, wide: int) -> Tensor:
    return (torch.arange(rows)[:, None] * wide + torch.arange(columns)).flatten()


# beside the networks, not in them: what ctypes points to can be neither copied nor pickled
_STACKS: WeakKeyDictionary[nn.Module, tuple[tuple[object, ...], ConvStack, list[Tensor]]] = WeakKeyDictionary()


def run_trees(owner: nn.Module, layers: Sequence[LogicConv], x: Tensor) -> Tensor:
    """Images [batch, *input_shape] through all `layers`: float32[batch, *output_shape]. Differentiable once.

    x: floating, or integer/bool (above zero is 1), at least one sample. `owner`: what the layers belong to.
    """
    if x.is_floating_point():
        x = x.to(torch.float32)
    elif x.dtype not in (torch.uint8, torch.bool):
        x = x > 0
    assert x.shape[1:] == layers[0].input_shape, (x.shape, layers[0].input_shape)
    kernel = find_kernel()
    assert isinstance(kernel, Kernel), kernel
    coefficients = torch.cat([layer.coefficients() for layer in layers])
    output: Tensor = _TreesFunction.apply(_stack_of(kernel, owner, layers), x, coefficients)
    return output.unflatten(1, layers[-1].output_shape)


def _stack_of(kernel: Kernel, owner: nn.Module, layers: Sequence[LogicConv]) -> ConvStack:
    """The kernel's view of the taps: made anew, and checked, whenever one of the buffers was written to.

    The kernel does not look where a tap points, and a loaded state may hold anything.
    """
    stamp = (kernel, *((layer.taps.data_ptr(), layer.taps._version) for layer in layers))
    known = _STACKS.get(owner)
    if known is None or known[0] != stamp:
        for layer in layers:
            layer.check_inputs()
        # the taps are kept alive, so that no others can come to lie where these are
        known = (stamp, ConvStack(kernel, layers), [layer.taps for layer in layers])
        _STACKS[owner] = known
    return known[1]


class _TreesFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, stack: ConvStack, x: Tensor, coefficients: Tensor) -> Tensor:
        x, coefficients = x.detach().contiguous(), coefficients.detach().contiguous()
        for tensor in (x, coefficients):
            assert tensor.is_cpu, tensor.device
        assert coefficients.shape == (stack.neurons, 4), coefficients.shape
        assert coefficients.dtype == torch.float32, coefficients.dtype
        kept = winners = None
        if any(ctx.needs_input_grad):
            tiles = -(-x.shape[0] // _TILE)
            kept = torch.empty(tiles * stack.kept_floats)
            winners = torch.empty(tiles * stack.winner_bytes, dtype=torch.uint8)
        plan = stack.plan(x, coefficients, kept, winners)
        output = torch.empty(x.shape[0], plan.features)
        plan.output = output.data_ptr()
        _call(stack.kernel.forward, plan)
        ctx.save_for_backward(x, coefficients, kept, winners)
        ctx.stack = stack
        return output

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError("the CPU kernel has no second derivative; ConvLogicNetwork(backend='eager') has")
        x, coefficients, kept, winners = ctx.saved_tensors
        grad_output = grad_output.to(torch.float32).contiguous()
        plan = ctx.stack.plan(x, coefficients, kept, winners)
        plan.grad_output = grad_output.data_ptr()
        grad_coefficients = torch.empty_like(coefficients)
        plan.grad_coefficients = grad_coefficients.data_ptr()
        grad_x = torch.empty_like(x) if ctx.needs_input_grad[1] else None
        if grad_x is not None:
            plan.grad_input = grad_x.data_ptr()
        _call(ctx.stack.kernel.backward, plan)
        return None, grad_x, grad_coefficients


def _call(function: Any, plan: _Plan) -> None:
    if function(ctypes.byref(plan)):
        raise MemoryError("no memory for one tile of logic trees per thread")
