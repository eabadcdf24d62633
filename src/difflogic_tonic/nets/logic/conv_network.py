"""Layers of convolutional logic trees, then a dense logic network, as one module."""

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from difflogic_tonic.errors import ConfigError
from difflogic_tonic.nets.logic import cpu
from difflogic_tonic.nets.logic.backend import find_engine
from difflogic_tonic.nets.logic.conv import LogicConv, Shape
from difflogic_tonic.nets.logic.conv_cpu import run_trees
from difflogic_tonic.nets.logic.network import LogicNetwork


class ConvLogicNetwork(nn.Module):
    """Images [batch, *input_shape], values in [0, 1] -> logits float32[batch, classes] (arXiv 2411.04732).

    `channels`: trees of each convolutional layer, every one followed by 2x2 OR-pooling. Then come `num_layers` dense
    logic layers of `num_neurons` and the group sum, see `LogicNetwork`. `tau` None is `default_tau`, `init` None is
    residual, which trees need. All randomness of the start comes from `seed`: the global generator is neither read nor
    moved. ConfigError for sizes that do not fit together.
    """

    def __init__(
        self,
        input_shape: Shape,
        classes: int,
        *,
        channels: Sequence[int] = (32, 64, 128),
        tree_depth: int = 3,
        kernel_size: int = 3,
        padding: int = 1,
        tree_channels: int = 2,
        num_neurons: int | Sequence[int] = 4000,
        num_layers: int = 4,
        tau: float | None = None,
        seed: int = 0,
        parametrization: str = "raw",
        estimator: str = "soft",
        init: str | None = None,
        wiring: str = "random",
        wiring_candidates: int = 8,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        if not channels:
            raise ConfigError("channels: a convolutional logic network needs at least one layer of trees")
        generator = torch.Generator().manual_seed(seed)
        window: dict[str, Any] = {"tree_depth": tree_depth, "kernel_size": kernel_size, "padding": padding}
        init = "residual" if init is None else init
        neurons: dict[str, Any] = {"parametrization": parametrization, "estimator": estimator, "init": init}
        self.input_shape = input_shape
        self.backend = backend
        self.trees = nn.ModuleList()
        shape = input_shape
        for count in channels:
            layer = LogicConv(shape, count, **window, tree_channels=tree_channels, **neurons, generator=generator)
            self.trees.append(layer)
            shape = layer.output_shape
        self.dense = LogicNetwork(
            prod(shape),
            num_neurons,
            num_layers,
            classes,
            tau,
            int(torch.randint(2**31, (), generator=generator)),
            backend=backend,
            wiring=wiring,
            wiring_candidates=wiring_candidates,
            input_shape=shape,
            **neurons,
        )

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """x [batch, *input_shape], floating (taken as it is) or integer/bool (above zero is 1); `lengths` is unused."""
        # products of many gates and sums over thousands of them need more digits than autocast would leave them
        with torch.autocast(x.device.type, enabled=False):
            layers = self._layers()
            engine = find_engine(self.backend, x, layers[0].weight)
            if engine is not None and engine.module is cpu:
                x = run_trees(self, layers, x)
            else:  # there are no kernels for trees on a GPU
                for layer in layers:
                    x = layer(x)
        logits: Tensor = self.dense(x.flatten(1))
        return logits

    def _layers(self) -> list[LogicConv]:
        return list(self.trees)  # type: ignore[arg-type]  # a ModuleList does not say of what
