"""The launches of the Triton kernels: one forward and backward pass of a logic network."""

import torch
from torch import Tensor

from difflogic_tonic.nets.logic.gpu_stack import WARPS, Stack, tiling_of

_PIECE = 16  # columns: rows of any storage then are whole 16-byte pieces
_EDGES = 2  # loaded together; the mean of a network of one width
_NEURONS = 64  # per program where logits and coefficients are converted
_SUMMED_PROGRAMS = 1024  # about how many programs the last layer is split into; the fewer, the less is written


class Call:
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
            self.kernels.mix_gates[grid](weight, target, n, inverse_temperature, NEURONS=_NEURONS, num_warps=WARPS)
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
            num_warps=WARPS,
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
        # classes first: only the first axis of a grid may be longer than 65,535, and a recurrent network has one class
        # for each neuron of its last layer
        self.kernels.forward_groups[(classes, splits, self.chunks)](
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
            partial,
            logits,
            self.batch,
            classes,
            splits,
            self.stride,
            1 / stack.tau,
            SPLITS=16,
            COLUMNS=64,
            num_warps=WARPS,
        )
        return logits

    def gradients(
        self, values: list[Tensor], coefficients: Tensor, grad_logits: Tensor, with_input: bool
    ) -> tuple[Tensor | None, Tensor]:
        """Gradient of the input, float32[in_features, stride], and of the coefficients, [chunks, all neurons, 4]."""
        gy, unscale = self._spread(grad_logits.to(torch.float32).contiguous())
        partial = self.empty(self.chunks, self.stack.neurons, 4)
        numbers, partials = self.stack.split(coefficients), self.stack.split(partial)
        for layer in reversed(range(len(values))):
            if layer or with_input:
                gy = self._backward_layer(layer, values[layer], gy, numbers[layer], partials[layer], unscale)
            else:
                self._backward_weights(values[0], gy, partials[0], unscale)
        return gy if with_input else None, partial

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
            num_warps=WARPS,
        )
        return rows, unscale

    def _backward_layer(
        self, layer: int, x: Tensor, gy: Tensor, coefficients: Tensor, partial: Tensor, unscale: Tensor
    ) -> Tensor:
        edges, width = self.stack.edges[layer], x.shape[0]
        gx = self.empty(width, self.stride, dtype=self.storage if layer else torch.float32)
        self.kernels.backward_layer[(-(-width // self.tiling.rows), self.chunks)](
            x,
            gy,
            gx,
            edges.starts,
            edges.readers,
            edges.others,
            coefficients,
            partial,
            unscale,
            width,
            self.stack.neurons,
            self.stack.group,
            self.stride,
            GROUPED=self._is_last(layer),
            UNSCALE=layer == 0,
            EDGES=_EDGES,
            COLUMNS=self.tiling.columns,
            **self.row_tile,
        )
        return gx

    def _backward_weights(self, x: Tensor, gy: Tensor, partial: Tensor, unscale: Tensor) -> None:
        """The first layer, where nobody asks for the gradient of its input."""
        stack, n = self.stack, self.stack.widths[0]
        self.kernels.backward_weights[(-(-n // self.tiling.rows), self.chunks)](
            x,
            gy,
            stack.wirings[0],
            partial,
            unscale,
            n,
            stack.neurons,
            stack.group,
            self.stride,
            GROUPED=self._is_last(0),
            BITS=x.dtype == torch.uint8,
            **self.octet_tile,
        )

    def _is_last(self, layer: int) -> bool:
        return layer == len(self.stack.widths) - 1

    def mix_backward(self, weights: list[Tensor], partial: Tensor, inverse_temperature: float) -> list[Tensor]:
        """Gradient of the logits of each layer."""
        grads = [torch.empty_like(weight) for weight in weights]
        for weight, grad, part in zip(weights, grads, self.stack.split(partial), strict=True):
            n = weight.shape[0]
            self.kernels.mix_gates_backward[(-(-n // _NEURONS),)](
                weight,
                part,
                grad,
                n,
                self.stack.neurons,
                self.chunks,
                inverse_temperature,
                NEURONS=_NEURONS,
                num_warps=WARPS,
            )
        return grads
